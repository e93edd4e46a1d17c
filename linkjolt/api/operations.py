"""The operations of what both listeners mount: the registry, webhooks, conversions by their id."""

from linkjolt.api import api_keys, coupons
from linkjolt.api import registry_answers as answers
from linkjolt.api import registry_forms as forms
from linkjolt.api.commissions import RuleAnswer, RuleForm
from linkjolt.api.link_preview import LinkPreview
from linkjolt.api.links_bulk import BulkForm
from linkjolt.conversions.api import PATH, READ_SCOPES, SCOPE, Outcome
from linkjolt.conversions.forms import AdjustmentForm, AttributionForm
from linkjolt.conversions.history import AdjustmentAnswer, ConversionRead
from linkjolt.web.openapi import Body, Operation, of, page_of, paging, results_of
from linkjolt.webhooks import api as webhook_api
from linkjolt.webhooks import forms as webhook_forms

_LINKS = ("links:read", "links:write")
_KEYS = ("keys:write", "keys:write")
_HOOKS = (webhook_api.SCOPE, webhook_api.SCOPE)


def _collection(
    name: str, scopes: tuple[str, str], form: object, patch: object, answer: object, made: object
) -> list[Operation]:
    path, (read, write) = f"/v1/{name}", scopes
    return [
        Operation(
            method="GET",
            path=path,
            summary=f"Lists {name}.",
            scope=read,
            query=paging(),
            answers={200: page_of(answer)},
        ),
        Operation(
            method="POST",
            path=path,
            summary=f"Makes one of the {name}.",
            scope=write,
            bodies=[of(form)],
            answers={201: of(made)},
            refusals=(409,),
        ),
        *_entry(name, scopes, patch, answer),
    ]


def _entry(name: str, scopes: tuple[str, str], patch: object, answer: object) -> list[Operation]:
    one, (read, write) = f"/v1/{name}/{{id}}", scopes
    return [
        Operation(
            method="GET",
            path=one,
            summary=f"Shows one of the {name}.",
            scope=read,
            answers={200: of(answer)},
            refusals=(404,),
        ),
        Operation(
            method="PATCH",
            path=one,
            summary=f"Changes one of the {name}.",
            scope=write,
            bodies=[of(patch)],
            answers={200: of(answer)},
            refusals=(404, 409),
        ),
        Operation(
            method="DELETE",
            path=one,
            summary=f"Deletes one of the {name}.",
            scope=write,
            answers={204: None},
            refusals=(404, 409),
        ),
    ]


def _post(path: str, summary: str, scope: str, form: object, answer: dict[int, Body]) -> Operation:
    return Operation(
        method="POST",
        path=path,
        summary=summary,
        scope=scope,
        bodies=[of(form)] if form else (),
        answers=answer,
        refusals=(404, 409),
    )


def registry_operations() -> list[Operation]:
    """Those of `registry_api.routes`."""
    rules = "/v1/campaigns/{id}/commissions"
    return [
        Operation(
            method="GET",
            path="/v1/me",
            summary="What a key may know about itself.",
            scope="",
            answers={200: of(answers.MeAnswer)},
        ),
        _post(
            "/v1/links/bulk",
            "Makes up to 1,000 links, each with a result of its own.",
            "links:write",
            BulkForm,
            {200: results_of(answers.BulkCreated)},
        ),
        Operation(
            method="GET",
            path=rules,
            summary="Lists what a campaign pays, by version.",
            scope="links:read",
            answers={200: page_of(RuleAnswer)},
            refusals=(404,),
        ),
        Operation(
            method="GET",
            path="/v1/links/{id}/preview",
            summary="Where a click would lead, macros filled in; nothing is counted.",
            scope="links:read",
            answers={200: of(LinkPreview)},
            refusals=(404,),
        ),
        _post(rules, "Adds a version.", "links:write", RuleForm, {201: of(RuleAnswer)}),
        *_collections(),
        *_webhook_operations(),
    ]


def _collections() -> list[Operation]:
    f, a = forms, answers
    return [
        *_collection("campaigns", _LINKS, f.CampaignForm, f.CampaignPatch, *[a.CampaignAnswer] * 2),
        *_collection(
            "affiliates", _LINKS, f.AffiliateForm, f.AffiliatePatch, *[a.AffiliateAnswer] * 2
        ),
        *_collection("links", _LINKS, f.LinkForm, f.LinkPatch, *[a.LinkAnswer] * 2),
        *_collection(
            "keys", _KEYS, api_keys.KeyForm, api_keys.KeyPatch, a.KeyAnswer, a.NewKeyAnswer
        ),
        *_collection(
            "coupons",
            _LINKS,
            coupons.CouponForm,
            coupons.CouponPatch,
            *[coupons.CouponAnswer] * 2,
        ),
        *_collection(
            "webhooks",
            _HOOKS,
            webhook_forms.WebhookForm,
            webhook_forms.WebhookPatch,
            webhook_forms.WebhookAnswer,
            webhook_forms.NewWebhookAnswer,
        ),
    ]


def _webhook_operations() -> list[Operation]:
    one, scope = "/v1/webhooks/{id}", webhook_api.SCOPE
    queued = {202: of(webhook_api.Queued)}
    return [
        Operation(
            method="GET",
            path=f"{one}/deliveries",
            summary="Lists what was sent, the newest first, and what came of it.",
            scope=scope,
            query=paging(),
            answers={200: page_of(webhook_api.DeliveryAnswer)},
            refusals=(404,),
        ),
        _post(f"{one}/deliveries/{{webhook_id}}/resend", "Sends one again.", scope, None, queued),
        _post(
            f"{one}/replay",
            "Sends all again whose events came in a range.",
            scope,
            webhook_api.ReplayForm,
            queued,
        ),
        _post(
            f"{one}/test",
            "Sends a test.",
            scope,
            None,
            {202: of(webhook_api.DeliveryAnswer)},
        ),
        _post(
            f"{one}/rotate",
            "Makes another secret; the former one signs too for a while.",
            scope,
            webhook_forms.RotateForm,
            {200: of(webhook_forms.NewWebhookAnswer)},
        ),
    ]


def conversion_operations() -> list[Operation]:
    """Those of `conversions_api.Conversions`."""
    one = f"{PATH}/{{conversion_id}}"
    adjusted = {200: of(AdjustmentAnswer), 201: of(AdjustmentAnswer)}
    return [
        Operation(
            method="GET",
            path=one,
            summary="Shows a conversion as it stands, with its history.",
            scope=" or ".join(READ_SCOPES),
            answers={200: of(ConversionRead, Outcome)},
            refusals=(404,),
        ),
        _post(
            f"{one}/adjustments",
            "Approves, rejects, refunds, restates, or says that it is paid.",
            SCOPE,
            AdjustmentForm,
            adjusted,
        ),
        _post(
            f"{one}/attribute",
            "Gives a conversion that nothing attributed to an affiliate.",
            SCOPE,
            AttributionForm,
            adjusted,
        ),
    ]

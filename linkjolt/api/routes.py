"""The registry's routes (API §3), mounted by both listeners."""

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkjolt.api import commissions, coupons, link_preview
from linkjolt.api import registry_answers as answers
from linkjolt.api import registry_forms as forms
from linkjolt.api.api_keys import KeyForm, KeyPatch, new_key, patched_key
from linkjolt.api.links import create_links
from linkjolt.api.links_bulk import LIMITS, create_bulk
from linkjolt.auth.access import bearer, identify, require_scope
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Coupon, Link, Webhook
from linkjolt.registry.store import Registry
from linkjolt.settings import Shared
from linkjolt.web.collections import Actions, Call, Collection
from linkjolt.web.requests import json_response
from linkjolt.webhooks import api
from linkjolt.webhooks import forms as hooks


def routes(registry: Registry, directory: Directory, settings: Shared) -> list[BaseRoute]:
    """Every route of the registry."""
    edge_url, allow_private = settings.edge_url(), settings.webhook_allow_private

    def route(path: str, actions: Actions) -> Route:
        async def endpoint(request: Request) -> Response:
            # Starlette lets HEAD in wherever GET is.
            scope, action = actions["GET" if request.method == "HEAD" else request.method]
            key = await identify(bearer(request.scope), directory)
            if scope:
                require_scope(key, scope)
            now = datetime.now(UTC)
            return await action(Call(request, key, now, registry, edge_url, allow_private))

        return Route(path, endpoint, methods=list(actions))

    found: list[BaseRoute] = [
        route("/v1/me", {"GET": ("", _me)}),
        route("/v1/links/bulk", {"POST": ("links:write", create_bulk)}),
        route("/v1/campaigns/{id}/commissions", commissions.actions()),
        route("/v1/links/{id}/preview", link_preview.actions()),
    ]
    found += [route(path, actions) for path, actions in api.routes().items()]
    for name, collection in _COLLECTIONS.items():
        found.append(route(f"/v1/{name}", collection.actions()))
        found.append(route(f"/v1/{name}/{{id}}", collection.entry_actions()))
    return found


async def _create_campaign(call: Call, form: forms.CampaignForm) -> object:
    campaign = forms.new_campaign(form, call.account, call.now)
    return answers.campaign_answer(await call.registry.create(campaign), call.now)


async def _create_affiliate(call: Call, form: forms.AffiliateForm) -> object:
    affiliate = forms.new_affiliate(form, call.account, call.now)
    return answers.affiliate_answer(await call.registry.create(affiliate))


async def _create_link(call: Call, form: forms.LinkForm) -> object:
    outcome = (await create_links(call.registry, call.account, [form], call.now))[0]
    if isinstance(outcome, Rejected):
        raise outcome
    return answers.link_answer(outcome, call.edge_url)


async def _create_coupon(call: Call, form: coupons.CouponForm) -> object:
    coupon = coupons.new_coupon(form, call.account, call.now)
    await coupons.check_coupon(call.registry, coupon)
    return coupons.coupon_answer(await call.registry.create(coupon))


async def _create_webhook(call: Call, form: hooks.WebhookForm) -> object:
    allow = call.allow_private
    webhook = hooks.new_webhook(form, call.key.books, call.now, allow_private=allow)
    await hooks.check_filter(call.registry, webhook, call.account)
    return hooks.new_webhook_answer(await call.registry.create(webhook))


async def _create_key(call: Call, form: KeyForm) -> object:
    secret = api_key_secrets.make_secret(test=form.test)
    key = new_key(
        form, call.account, call.now, api_key_secrets.digest(secret), api_key_secrets.hint(secret)
    )
    _check_grant(call.key, key)
    if key.campaign and not await call.registry.existing(Campaign, call.account, {key.campaign}):
        raise forms.unknown_reference("campaign")
    return answers.new_key_answer(await call.registry.create(key), secret)


def _patch_key(call: Call, key: ApiKey, patch: KeyPatch) -> ApiKey:
    # A later expiry grants anew.
    _check_grant(call.key, key)
    return patched_key(key, patch, call.now)


def _check_grant(actor: ApiKey, key: ApiKey) -> None:
    if actor.test and not key.test:
        message = "a test key can make test keys only"
        raise Rejected(Reason.forbidden, message, field="test")
    for scope in key.scopes:
        if not actor.allows(scope):
            message = f"the API key cannot grant {scope}, which it lacks itself"
            raise Rejected(Reason.forbidden, message, field="scopes")


async def _me(call: Call) -> Response:
    account = answers.account_name(call.account)
    me = answers.MeAnswer(account=account, key=answers.key_answer(call.key), limits=LIMITS)
    return json_response(me)


_COLLECTIONS: dict[str, Collection[Any, Any, Any]] = {
    "campaigns": Collection(
        Campaign,
        forms.CampaignForm,
        forms.CampaignPatch,
        "links:read",
        "links:write",
        _create_campaign,
        lambda call, campaign, patch: forms.patched_campaign(campaign, patch, call.now),
        lambda call, campaign: answers.campaign_answer(campaign, call.now),
    ),
    "affiliates": Collection(
        Affiliate,
        forms.AffiliateForm,
        forms.AffiliatePatch,
        "links:read",
        "links:write",
        _create_affiliate,
        lambda _, affiliate, patch: forms.patched_affiliate(affiliate, patch),
        lambda _, affiliate: answers.affiliate_answer(affiliate),
    ),
    "links": Collection(
        Link,
        forms.LinkForm,
        forms.LinkPatch,
        "links:read",
        "links:write",
        _create_link,
        lambda _, link, patch: forms.patched_link(link, patch),
        lambda call, link: answers.link_answer(link, call.edge_url),
    ),
    "keys": Collection(
        ApiKey,
        KeyForm,
        KeyPatch,
        "keys:write",
        "keys:write",
        _create_key,
        _patch_key,
        lambda _, key: answers.key_answer(key),
    ),
    "coupons": Collection(
        Coupon,
        coupons.CouponForm,
        coupons.CouponPatch,
        "links:read",
        "links:write",
        _create_coupon,
        lambda _, coupon, patch: coupons.patched_coupon(coupon, patch),
        lambda _, coupon: coupons.coupon_answer(coupon),
        lambda call, coupon: coupons.check_coupon(call.registry, coupon),
    ),
    "webhooks": Collection(
        Webhook,
        hooks.WebhookForm,
        hooks.WebhookPatch,
        api.SCOPE,
        api.SCOPE,
        _create_webhook,
        lambda call, webhook, patch: hooks.patched_webhook(
            webhook, patch, allow_private=call.allow_private
        ),
        lambda _, webhook: hooks.webhook_answer(webhook),
        lambda call, webhook: hooks.check_filter(call.registry, webhook, call.account),
        # Those of a test key hear of test events.
        lambda call: call.key.books,
    ),
}

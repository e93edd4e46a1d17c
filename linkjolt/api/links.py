"""`/v1/links`: tracking links, checked by themselves, then against what they refer to."""

from collections.abc import Container, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from linkjolt.datasets import Account
from linkjolt.reasons import Rejected
from linkjolt.registry.checks import check_pass_params, check_plain_url, check_url
from linkjolt.registry.entries import Affiliate, Campaign, Link, public_id
from linkjolt.registry.own_address import check_leads_away
from linkjolt.registry.store import Registry
from linkjolt.registry.tracking_codes import check_tracking_code
from linkjolt.runtime.loop_slices import in_slices
from linkjolt.web.collections import Call, Collection, Described
from linkjolt.web.forms import Instant, given, reference, unknown_reference

LinkStatus = Literal["active", "disabled"]
PassParams = Literal["all", "none"] | tuple[str, ...]


class LinkForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tracking link to create; without `tracking_code`, one is made."""

    campaign_id: str
    affiliate_id: str
    destination: str
    tracking_code: str | None = None
    pass_params: PassParams = "all"
    status: LinkStatus = "active"
    fallback_url: str = ""


class LinkPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to a tracking link."""

    destination: str | UnsetType = UNSET
    pass_params: PassParams | UnsetType = UNSET
    status: LinkStatus | UnsetType = UNSET
    fallback_url: str | UnsetType = UNSET


class LinkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is what the affiliate publishes: the edge's address and the tracking code."""

    id: str
    url: str
    tracking_code: str
    campaign_id: str
    affiliate_id: str
    destination: str
    pass_params: PassParams
    status: LinkStatus
    fallback_url: str
    created_at: Instant


def _checked(link: Link) -> Link:
    check_url(link.destination, "destination")
    if link.fallback_url:
        check_plain_url(link.fallback_url, "fallback_url")
    check_pass_params(link.pass_params)
    return link


def new_link(form: LinkForm, account: Account, now: datetime, edge_url: str) -> Link:
    """The link of a form, its number 0 and a code to be made empty; Rejected, naming the field.

    `check_references` checks that campaign and affiliate exist.
    """
    if form.tracking_code is not None:
        check_tracking_code(form.tracking_code)
    link = _checked(
        Link(
            number=0,
            account=account,
            campaign=reference("campaign", form.campaign_id),
            affiliate=reference("affiliate", form.affiliate_id),
            tracking_code=form.tracking_code or "",
            destination=form.destination,
            pass_params=form.pass_params,
            status=form.status,
            fallback_url=form.fallback_url,
            created_at=now,
        )
    )
    _check_ring(link.destination, link.fallback_url, edge_url)
    return link


def _check_ring(destination: str, fallback_url: str, edge_url: str) -> None:
    if destination:
        check_leads_away(destination, "destination", edge_url)
    if fallback_url:
        check_leads_away(fallback_url, "fallback_url", edge_url)


def check_references(link: Link, campaigns: Container[int], affiliates: Container[int]) -> None:
    """Rejected where the link's campaign or affiliate is not among those that exist."""
    if link.campaign not in campaigns:
        raise unknown_reference("campaign")
    if link.affiliate not in affiliates:
        raise unknown_reference("affiliate")


def patched_link(link: Link, patch: LinkPatch, edge_url: str) -> Link:
    """Returns the link with what the patch sets; Rejected, naming the field."""
    changes = given(patch)
    patched = _checked(msgspec.structs.replace(link, **changes))
    # What an earlier release took, or another address of the edge, stays.
    _check_ring(changes.get("destination", ""), changes.get("fallback_url", ""), edge_url)
    return patched


def link_answer(link: Link, edge_url: str) -> LinkAnswer:
    return LinkAnswer(
        id=public_id("link", link.number),
        url=f"{edge_url}/{link.tracking_code}",
        tracking_code=link.tracking_code,
        campaign_id=public_id("campaign", link.campaign),
        affiliate_id=public_id("affiliate", link.affiliate),
        destination=link.destination,
        pass_params=link.pass_params,
        status=link.status,
        fallback_url=link.fallback_url,
        created_at=link.created_at,
    )


async def create_links(
    registry: Registry,
    account: Account,
    forms: Sequence[LinkForm | Rejected],
    now: datetime,
    edge_url: str,
) -> list[Link | Rejected]:
    """One outcome per form, in order; what is refused already stays so. RedisError passes."""
    drafts = [_draft(form, account, now, edge_url) async for form in in_slices(forms)]
    links = [draft for draft in drafts if isinstance(draft, Link)]
    campaigns = await registry.existing(Campaign, account, {link.campaign for link in links})
    affiliates = await registry.existing(Affiliate, account, {link.affiliate for link in links})
    drafts = [_referring(draft, campaigns, affiliates) for draft in drafts]
    good = [draft for draft in drafts if isinstance(draft, Link)]
    stored = iter(await registry.create_many(good))
    return [next(stored) if isinstance(draft, Link) else draft for draft in drafts]


def _draft(
    form: LinkForm | Rejected, account: Account, now: datetime, edge_url: str
) -> Link | Rejected:
    if isinstance(form, Rejected):
        return form
    try:
        return new_link(form, account, now, edge_url)
    except Rejected as error:
        return error


def _referring(
    draft: Link | Rejected, campaigns: set[int], affiliates: set[int]
) -> Link | Rejected:
    if isinstance(draft, Rejected):
        return draft
    try:
        check_references(draft, campaigns, affiliates)
    except Rejected as error:
        return error
    return draft


async def _create(call: Call, form: LinkForm) -> LinkAnswer:
    created = await create_links(call.registry, call.account, [form], call.now, call.edge_url)
    outcome = created[0]
    if isinstance(outcome, Rejected):
        raise outcome
    return link_answer(outcome, call.edge_url)


FORM_EXAMPLE: dict[str, Any] = {
    "campaign_id": "cmp_1",
    "affiliate_id": "aff_1",
    "destination": "https://shop.example/product?ref={affiliate_id}",
}
EXAMPLE: dict[str, Any] = {
    "id": "lnk_1",
    "url": "https://go.example/tc_7f3k9q2m",
    "tracking_code": "tc_7f3k9q2m",
    **FORM_EXAMPLE,
    "pass_params": "all",
    "status": "active",
    "fallback_url": "",
    "created_at": "2026-05-04T10:00:00Z",
}
LINKS = Collection(
    path="/v1/links",
    described=Described(
        id="Link",
        tag="Links",
        noun="link",
        note="Creates a tracking link to a destination, for one campaign and one affiliate.",
        answer=LinkAnswer,
        form_example=FORM_EXAMPLE,
        patch_example={"status": "disabled", "fallback_url": "https://shop.example/"},
        example=EXAMPLE,
    ),
    entry=Link,
    form=LinkForm,
    patch_form=LinkPatch,
    read_scope="links:read",
    write_scope="links:write",
    create=_create,
    patch=lambda call, link, patch: patched_link(link, patch, call.edge_url),
    answer=lambda call, link: link_answer(link, call.edge_url),
    is_visible=lambda key, link: link.affiliate == key.affiliate,
)

"""`GET /v1/links/{id}/preview`: where a click on the link would lead, without any click."""

import secrets

import msgspec
from starlette.responses import Response

from linkjolt.click_ids import ClickIds
from linkjolt.clicks.redirect import member, read_query, resolve_click
from linkjolt.clicks.route import Route
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Affiliate, Campaign, Link, read_id
from linkjolt.web.collections import Actions, Call
from linkjolt.web.requests import json_response


class LinkPreview(msgspec.Struct, frozen=True):
    """`url` is what is clicked, `location` where it leads; the click id is made up and unsigned."""

    url: str
    location: str
    destination: str
    click_id: str
    active: bool


def actions() -> Actions:
    """On one link."""
    return {"GET": ("links:read", _preview)}


async def _preview(call: Call) -> Response:
    """The query is that of the click; the browser and its language are the asker's."""
    route = await _route(call)
    request = call.request
    query = request.url.query
    # An id that no edge takes for its own.
    click_id = ClickIds(0, secrets.token_bytes(32)).make(route.link.number)
    said = {
        "user_agent": request.headers.get("user-agent", ""),
        "language": request.headers.get("accept-language", "").partition(",")[0][:16],
    }
    told = "".join(member(name, value) for name, value in said.items())
    location, _ = resolve_click(route, read_query(query), told, click_id)
    answer = LinkPreview(
        url=f"{call.edge_url}/{route.link.tracking_code}" + (f"?{query}" if query else ""),
        location=location,
        destination=route.link.destination,
        click_id=click_id,
        active=not route.closed,
    )
    return json_response(answer)


async def _route(call: Call) -> Route:
    number = read_id("link", call.request.path_params["id"])
    if number is None:
        raise Rejected(Reason.not_found, "there is no such link")
    link = await call.registry.get(Link, call.account, number)
    campaign = await call.registry.get(Campaign, call.account, link.campaign)
    affiliate = await call.registry.get(Affiliate, call.account, link.affiliate)
    return Route(link, campaign, affiliate)

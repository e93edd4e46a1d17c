"""`GET /v1/links/{id}/preview`: where a click on the link would lead, without any click."""

import secrets

import msgspec
from starlette.responses import Response

from linkjolt.click_ids import ClickIdGenerator
from linkjolt.clicks.redirect import json_member, parse_query, resolve_click
from linkjolt.clicks.route import Route
from linkjolt.registry.entries import Affiliate, Campaign, Link
from linkjolt.web.collections import Call, Endpoint, entry_number
from linkjolt.web.openapi import Operation, of
from linkjolt.web.requests import json_response


class ClickPreviewAnswer(msgspec.Struct, frozen=True):
    """`url` is the clicked URL, `location` where it leads; the click id is made up and unsigned."""

    url: str
    location: str
    destination: str
    click_id: str
    active: bool


async def _preview(call: Call) -> Response:
    """Answers where a click with the request's query, browser and language would lead."""
    route = await _route(call)
    request = call.request
    query = request.url.query
    # No edge accepts this id as its own.
    click_id = ClickIdGenerator(0, secrets.token_bytes(32)).make(route.link.number)
    headers = {
        "user_agent": request.headers.get("user-agent", ""),
        "language": request.headers.get("accept-language", "").partition(",")[0][:16],
    }
    visitor_json = "".join(json_member(name, value) for name, value in headers.items())
    location, _ = resolve_click(route, parse_query(query), visitor_json, click_id)
    answer = ClickPreviewAnswer(
        url=f"{call.edge_url}/{route.link.tracking_code}" + (f"?{query}" if query else ""),
        location=location,
        destination=route.link.destination,
        click_id=click_id,
        active=not route.closed,
    )
    return json_response(answer)


async def _route(call: Call) -> Route:
    link = await call.registry.get(Link, call.account, entry_number(call, "link"))
    campaign = await call.registry.get(Campaign, call.account, link.campaign)
    affiliate = await call.registry.get(Affiliate, call.account, link.affiliate)
    return Route(link, campaign, affiliate)


ENDPOINTS = [
    Endpoint(
        Operation(
            id="previewLink",
            tag="Links",
            method="GET",
            path="/v1/links/{id}/preview",
            summary="Preview a click on a link.",
            description="Returns where a click with this request's query would lead, its macros"
            " filled in; nothing is counted.",
            scope="links:read",
            answers={
                200: of(
                    ClickPreviewAnswer,
                    example={
                        "url": "https://go.example/tc_7f3k9q2m",
                        "location": "https://shop.example/product?ref=aff_1"
                        "&click_id=06EZ3GQ8N4T5W1Y7B2C9D0F6H8",
                        "destination": "https://shop.example/product?ref={affiliate_id}",
                        "click_id": "06EZ3GQ8N4T5W1Y7B2C9D0F6H8",
                        "active": True,
                    },
                )
            },
            refusals=(404,),
        ),
        _preview,
    )
]

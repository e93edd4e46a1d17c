"""A click redirects to its destination with macros, passed parameters and the click id."""

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from ingest.visitor_fields import json_member
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.clicks.redirect import parse_query, resolve_click
from linkjolt.clicks.route import Route
from linkjolt.datasets import Account
from linkjolt.events import RECORDED_PARAMETERS, Click
from linkjolt.money import Percentage
from linkjolt.registry.checks import MACROS
from linkjolt.registry.entries import Affiliate, Campaign, Link

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CLICK_ID = ClickIdGenerator(1, b"k" * 32, lambda: 1_767_312_000_123_000_000).make(5)
ROUTE = Route(
    Link(
        number=5,
        account=Account(1),
        campaign=2,
        affiliate=3,
        tracking_code="tc_A",
        destination="https://shop.example/p?a=1&b=2#top",
        created_at=NOW,
    ),
    Campaign(
        number=2,
        account=Account(1),
        name="Spring",
        currency="USD",
        commission=Percentage(rate=Decimal(30)),
        created_at=NOW,
    ),
    Affiliate(number=3, account=Account(1), name="Ann", created_at=NOW),
)


def route(destination: str, pass_params: object = "all", click_id_param: str = "click_id") -> Route:
    link = msgspec.structs.replace(ROUTE.link, destination=destination, pass_params=pass_params)
    campaign = msgspec.structs.replace(ROUTE.campaign, click_id_param=click_id_param)
    return Route(link, campaign, ROUTE.affiliate)


def location(made: Route, query: str = "", **visit: str) -> str:
    told = "".join(json_member(name, value) for name, value in visit.items())
    return resolve_click(made, parse_query(query), told, CLICK_ID)[0]


def test_the_click_id_is_appended_under_the_campaigns_name() -> None:
    made = route("https://s.example/p", click_id_param="lj")
    assert location(made) == f"https://s.example/p?lj={CLICK_ID}"


def test_the_fragment_stays_last() -> None:
    assert location(ROUTE) == f"https://shop.example/p?a=1&b=2&click_id={CLICK_ID}#top"


@pytest.mark.parametrize("macro", ["click_id", "clickid", "subid", "transaction_id"])
def test_a_macro_places_the_click_id_itself(macro: str) -> None:
    made = route(f"https://s.example/{{{macro}}}?x=1")
    assert location(made) == f"https://s.example/{CLICK_ID}?x=1"


def test_incoming_values_replace_those_of_the_destination() -> None:
    query = dict(parse_qsl(urlsplit(location(ROUTE, "b=9&c=3")).query))
    assert query == {"a": "1", "b": "9", "c": "3", "click_id": CLICK_ID}


@pytest.mark.parametrize(
    ("pass_params", "passed"),
    [("all", {"sub1", "x"}), ("none", set[str]()), (("x",), {"x"})],
)
def test_the_links_setting_selects_the_passed_parameters(
    pass_params: object, passed: set[str]
) -> None:
    made = route("https://s.example/", pass_params)
    query = dict(parse_qsl(urlsplit(location(made, "sub1=a&x=b&notrack=0")).query))
    assert query.keys() - {"click_id"} == passed


def test_a_stripped_parameter_is_still_recorded() -> None:
    made = route("https://s.example/", "none")
    _, line = resolve_click(made, parse_query("sub1=a"), "", CLICK_ID)
    assert msgspec.json.decode(line, type=Click).sub1 == "a"


@pytest.mark.parametrize("destination", ["https://s.example/", "https://s.example/?cid={click_id}"])
def test_nobody_outside_can_set_the_click_id(destination: str) -> None:
    made = location(route(destination), "click_id=FORGED&cid=FORGED")
    assert [v for _, v in parse_qsl(urlsplit(made).query) if v == CLICK_ID] == [CLICK_ID]
    assert "cid=FORGED" not in made or "{" not in destination


@pytest.mark.parametrize(
    ("macro", "filled"),
    [
        ("{tracking_code}", "tc_A"),
        ("{affiliate_id}", "aff_3"),
        ("{campaign_id}", "cmp_2"),
        ("{link_id}", "lnk_5"),
        ("{sub1}", "a%20%26%20b%2Fc"),
        ("{_sub1}", "a%20&%20b/c"),
        ("{sub2}", ""),
        ("{device}", "desktop"),
        ("{browser}", "Firefox"),
        ("{language}", "pt-BR"),
        ("{country}", "BR"),
        ("{timestamp}", "1767312000"),
        ("{referrer_host}", "blog.example"),
    ],
)
def test_macros_are_filled_in_and_encoded(macro: str, filled: str) -> None:
    made = route(f"https://s.example/?v={macro}&c={{click_id}}", "none")
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    visit = {
        "user_agent": firefox,
        "language": "pt-BR",
        "country": "BR",
        "referrer": "https://www.blog.example/post",
    }
    result = location(made, "sub1=a%20%26%20b/c", **visit)
    assert result == f"https://s.example/?v={filled}&c={CLICK_ID}"


def test_every_macro_that_may_be_registered_is_filled_in() -> None:
    recorded = "&".join(f"{name}=v" for name in sorted(MACROS & set(RECORDED_PARAMETERS)))
    visit = {
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "language": "pt-BR",
        "country": "BR",
        "referrer": "https://www.blog.example/post",
    }
    for macro in MACROS:
        made = route(f"https://s.example/?v={{{macro}}}&c={{click_id}}", "none")
        filled = location(made, recorded, **visit).removesuffix(f"&c={CLICK_ID}")
        assert filled != "https://s.example/?v=", macro


@pytest.mark.parametrize("attack", ["%0d%0aSet-Cookie:x=1", "%0aX:1", "%E2%80%A8", "\u20ac"])
def test_no_macro_breaks_out_of_the_header(attack: str) -> None:
    made = route("https://s.example/?v={_sub1}&c={click_id}")
    result = location(made, f"sub1={attack}")
    assert result.isascii()
    assert result.isprintable()
    assert " " not in result

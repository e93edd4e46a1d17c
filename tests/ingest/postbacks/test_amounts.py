"""An amount is read as it was meant, or refused by its name; never off by a factor."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from ingest.postbacks.amounts import read_amount, read_minor_amount
from ingest.postbacks.campaign_fit import fit_to_campaign, needs_campaign
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.money import Percentage, to_minor
from linkjolt.reasons import Rejected
from linkjolt.registry.entries import Campaign
from tests.ingest.postbacks.calls import CLICK, read

CAMPAIGN = Campaign(
    number=1,
    account=ACCOUNT_DEFAULT,
    name="Spring",
    currency="EUR",
    commission=Percentage(Decimal(30)),
    events=("deposit",),
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("12.34", "12.34"), ("12,34", "12.34"), ("1234", "1234"), ("12,3", "12.3"), (".5", ".5")),
        *(("5.", "5"), ("0,123", ".123"), ("12,3456", "12.3456"), ("1.234", "1.234")),
        *(("-20", "-20"), ("-12,34", "-12.34"), ("007", "7")),
    ],
)
def test_a_plain_amount_and_a_decimal_comma_are_read(text: str, value: str) -> None:
    assert read_amount(text, "payout") == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        *("1,234", "12,345", "-1,234", "1.234,56", "1,234.56", "1,234,567", "1.234.567", "1 234"),
        *("1_000", "$10", "10 USD", "1e3", "+5", "0x1F", "--5", ".", ",5", "5,", "(5)", "1'000"),
        # Full-width and Arabic digits, and a minus sign that is none of ASCII's.
        *("\uff11\uff12", "\u0661\u0662", "\u22125", "NaN", "Infinity"),
    ],
)
def test_any_other_text_is_no_amount(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_amount(text, "payout")
    assert refused.value.field == "payout"


def test_what_a_comma_may_mean_is_said() -> None:
    with pytest.raises(Rejected) as refused:
        read_amount("1,234", "sum")
    assert refused.value.message == "is ambiguous: send 1234 or 1.234, without a comma"


@pytest.mark.parametrize("text", ["9.5", "1,234", "x", "", "1" * 17])
def test_the_smallest_units_are_whole_numbers(text: str) -> None:
    with pytest.raises(Rejected):
        read_minor_amount(text, "amount")


@pytest.mark.parametrize(
    ("currency", "campaign", "value"),
    [
        *(("", "EUR", "14.37"), ("", "JPY", "1437"), ("", "KWD", "1.437")),
        *(("jpy", "EUR", "1437"), ("USD", "JPY", "14.37"), ("", None, "1437")),
    ],
)
def test_the_smallest_units_are_of_the_currency_that_is_stored(
    currency: str, campaign: str | None, value: str
) -> None:
    postback = read("dub", f"clickId={{c}}&amount=1437&currency={currency}")
    assert needs_campaign(postback)
    place = msgspec.structs.replace(CAMPAIGN, currency=campaign) if campaign else None
    fitted = fit_to_campaign(postback, place, "JPY")
    stored = currency.upper() or campaign or "JPY"
    assert fitted.post.order_value == Decimal(value)
    assert to_minor(Decimal(value), stored, "amount") == 1437
    assert not needs_campaign(fitted)


def test_a_refund_in_the_smallest_units_is_scaled_too() -> None:
    fitted = fit_to_campaign(read("dub", "clickId={c}&amount=-500&currency=EUR"), CAMPAIGN, "USD")
    assert (fitted.refunds, fitted.post.order_value) == (True, 5)


UNDECLARED = [
    ("redtrack", "clickid={c}&sum=50&type=FTD", f"{CLICK}/type=FTD"),
    ("redtrack", "clickid={c}&sum=50&type=Add+To+Cart&order_id=9", "9/type=Add To Cart"),
    ("redtrack", "clickid={c}&sum=50&type=FTD&rdtk_event_id=7", "7/type=FTD"),
    ("voluum", "cid={c}&payout=50&et=Install&txid=T1", "T1/et=Install"),
    ("voluum", "cid={c}&payout=50&et=9lives", f"{CLICK}/et=9lives"),
    ("voluum", "cid={c}&payout=50&et=%D0%94%D0%B5%D0%BF", f"{CLICK}/et=Деп"),
    ("keitaro", "subid={c}&payout=50&event=level_2&tid=3", "3/event=level_2"),
]


@pytest.mark.parametrize(("name", "query", "order"), UNDECLARED)
def test_an_undeclared_event_is_a_pending_sale_of_its_own(
    name: str, query: str, order: str
) -> None:
    for campaign in (CAMPAIGN, None):
        fitted = fit_to_campaign(read(name, query), campaign, "USD")
        post = fitted.post
        assert (post.event, post.order_id, post.order_value) == ("sale", order, 50)
        assert (post.status, fitted.status) == ("pending", None)
        assert fitted.notes == ("event_undeclared",)


def test_the_network_may_still_approve_an_undeclared_event() -> None:
    postback = read("redtrack", "clickid={c}&sum=50&type=FTD&status=approved")
    fitted = fit_to_campaign(postback, CAMPAIGN, "USD")
    assert (fitted.post.status, fitted.status) == ("approved", "approved")


def test_a_declared_event_is_stored_under_its_name() -> None:
    fitted = fit_to_campaign(read("voluum", "cid={c}&payout=50&et=Deposit"), CAMPAIGN, "USD")
    assert (fitted.post.event, fitted.post.order_id, fitted.notes) == ("deposit", CLICK, ())


@pytest.mark.parametrize("more", ["", "&sum=0", "&sum={sum}", "&status=approved"])
def test_an_undeclared_event_without_an_amount_is_refused_by_name(more: str) -> None:
    postback = read("redtrack", f"clickid={{c}}&type=ViewContent{more}")
    with pytest.raises(Rejected) as refused:
        fit_to_campaign(postback, CAMPAIGN, "USD")
    assert refused.value.field == "type"


@pytest.mark.parametrize("status", ["rejected", "refunded"])
def test_an_undeclared_event_is_taken_back_without_an_amount(status: str) -> None:
    postback = read("redtrack", f"clickid={{c}}&type=FTD&status={status}")
    assert fit_to_campaign(postback, CAMPAIGN, "USD").post.order_id == f"{CLICK}/type=FTD"


def test_our_own_dialect_leaves_an_undeclared_event_to_be_refused() -> None:
    postback = read("linkjolt", "click_id={c}&payout=5&event=deposits")
    assert not needs_campaign(postback)
    assert postback.post.event == "deposits"

"""An amount is read exactly in its currency's decimals, or refused by its field."""

import pytest

from tests.money.shop import Shop, money, refused_field, unique


def _body(shop: Shop, written: str, currency: str) -> str:
    """Writes a post with the amount's JSON as it is."""
    return (
        f'{{"tracking_code": "{shop.ann.code}", "order_id": "{unique()}",'
        f' "order_value": {written}, "currency": "{currency}"}}'
    )


@pytest.mark.parametrize(
    ("currency", "written", "value", "commission"),
    [
        ("JPY", "1000", 1000, 300),
        ("JPY", "1000.00", 1000, 300),
        ("JPY", '"1000"', 1000, 300),
        ("USD", "99.99", 99.99, 29.99),
        ("USD", '"99.990"', 99.99, 29.99),
        ("USD", "1e2", 100, 30),
        ("KWD", "1.999", 1.999, 0.599),
        ("CLF", "1.9999", 1.9999, 0.5999),
    ],
)
def test_an_amount_is_read_exactly_and_its_commission_truncated(
    shop: Shop, currency: str, written: str, value: float, commission: float
) -> None:
    answer = shop.post_text(_body(shop, written, currency))
    assert answer.status_code == 201, answer.text
    assert money(answer.json()) == (value, commission)


@pytest.mark.parametrize(
    ("currency", "written"),
    [
        pytest.param("JPY", "1000.5", id="a yen has no parts"),
        pytest.param("KWD", "1.9999", id="four decimals where there are three"),
        pytest.param("USD", "3.3000000000000003", id="a sum of floats"),
        pytest.param("USD", '"NaN"', id="not a number"),
        pytest.param("USD", "1e400", id="beyond a float"),
        pytest.param("USD", '"1e999999999999"', id="beyond any memory"),
        pytest.param("USD", "9" * 60_000, id="60,000 digits"),
        pytest.param("USD", '"1.234,56"', id="a decimal comma"),
        pytest.param("USD", '"1,234.56"', id="parted thousands"),
        pytest.param("USD", '"$10"', id="a currency's sign"),
        pytest.param("USD", '"1_000"', id="an underscore"),
        pytest.param("USD", '"１２"', id="full-width digits"),  # noqa: RUF001
        pytest.param("USD", '"١٢"', id="Arabic digits"),
        pytest.param("USD", "-1", id="less than nothing"),
    ],
)
def test_an_amount_that_is_no_plain_decimal_of_the_currency_is_refused(
    shop: Shop, currency: str, written: str
) -> None:
    answer = shop.post_text(_body(shop, written, currency))
    assert refused_field(answer) == "order_value"


def test_spaces_around_an_amount_change_no_digit(shop: Shop) -> None:
    answer = shop.post_text(_body(shop, '" 12 "', "USD"))
    if answer.status_code == 201:
        assert money(answer.json()) == (12, 3.6)
    else:
        assert refused_field(answer) == "order_value"

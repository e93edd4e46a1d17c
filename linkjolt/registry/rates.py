"""Finds the exchange rate that is valid at a time among an account's dated ones; pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from decimal import Decimal

from linkjolt.money import format_exchange_rate
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Rate


class RateTable:
    """Holds the rates of one account, those of a pair of currencies sorted by their start."""

    def __init__(self, rates: Iterable[Rate] = ()) -> None:
        # (start in milliseconds, number, rate): of equal starts the rate made last is valid.
        self._rates_of_pair: dict[tuple[str, str], list[tuple[int, int, Decimal]]] = {}
        for rate in rates:
            self.put(rate)

    def put(self, rate: Rate) -> None:
        """Adds a rate, or removes it if it is deleted."""
        rates = self._rates_of_pair.setdefault((rate.from_, rate.to), [])
        entry = int(rate.valid_from.timestamp() * 1000), rate.number, rate.rate
        at = bisect_left(rates, entry)
        is_held = rates[at : at + 1] == [entry]
        if rate.deleted_at is None and not is_held:
            rates.insert(at, entry)
        elif rate.deleted_at is not None and is_held:
            del rates[at]

    def find(self, currency: str, other: str, time_ms: int) -> str:
        """Returns the rate between two currencies at a time (`format_exchange_rate`), '' for none.

        A rate of `currency` in the other one is preferred to the inverse.
        """
        for base, quote in ((currency, other), (other, currency)):
            rates = self._rates_of_pair.get((base, quote), [])
            at = bisect_right(rates, time_ms, key=lambda entry: entry[0])
            if at:
                return format_exchange_rate(base, rates[at - 1][2], quote)
        return ""

    def require(self, currency: str, campaign_currency: str, time_ms: int) -> str:
        """As `find`, for the amounts of a campaign's rule; Rejected if there is no rate."""
        if rate := self.find(currency, campaign_currency, time_ms):
            return rate
        message = (
            f"must be {campaign_currency}, which the commission's amounts are in: the account has"
            f" no rate for {currency} at that time"
        )
        raise Rejected(Reason.invalid_field, message, field="currency")

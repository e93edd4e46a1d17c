"""Adds to a day what people dispute: pixels, claw-backs, foreign currencies, suspensions."""

import random
from collections.abc import Callable
from datetime import UTC, datetime

from tests.system import model
from tests.system.conftest import Instance, wait_for
from tests.system.day import Day, text_of
from tests.system.model import DIGITS, Order

# What one unit of the order's currency is worth in the campaign's.
_RATES = {("USD", "JPY"): "150", ("USD", "EUR"): "0.9", ("EUR", "JPY"): "163.25"}
_TIERS = (("0", "5"), ("100", "7.5"))


class DisputedDay(Day):
    """A day on which also strangers claim orders, and money goes back."""

    def __init__(self, instance: Instance, seed: int) -> None:
        super().__init__(instance, seed)
        self._instance = instance
        self._dice = random.Random(seed)
        # Early adjustments by order id.
        self._early: list[str] = []
        self._pixel_code = ""
        self._pixel_affiliate = ""

    def open(self) -> None:
        """Creates rates and a campaign that takes pixels, too."""
        super().open()
        for (base, quote), rate in _RATES.items():
            body = {"from": base, "to": quote, "rate": rate, "valid_from": "2020-01-01"}
            self._client.make("rates", body)
        commission = {"kind": "percentage", "rate": "30"}
        terms = {"name": "pixel", "currency": "USD", "commission": commission, "pixel": "on"}
        campaign = self._client.make("campaigns", terms)["id"]
        self._pixel_affiliate = self._links[0][1]
        self._pixel_code = self._link(campaign, self._pixel_affiliate)

    def kinds(self) -> dict[Callable[[], None], int]:
        return super().kinds() | {
            self._honest_pixel: 2,
            self._hostile_pixel: 2,
            self._early_adjustment: 3,
            self._pay: 4,
            self._foreign_sale: 3,
        }

    def suspend(self) -> None:
        """Suspends an affiliate, and waits until the edge pays nothing to it any more."""
        code, affiliate, *_ = self._links[-1]
        path = f"/v1/affiliates/{affiliate}"
        self._client.send("PATCH", path, (200,), json={"status": "suspended"})
        key = {"name": "probe", "scopes": ["conversions:write"], "test": True}
        secret = self._client.make("keys", key)["key"]

        def is_heard() -> bool:
            body = {"tracking_code": code, "order_id": self._order_id(), "order_value": "10"}
            headers = {"Authorization": f"Bearer {secret}"}
            path = "/v1/conversions"
            answer = self._client.send("POST", path, (201, 401), json=body, headers=headers)
            return answer.json().get("commission_reason") == "affiliate_suspended"

        wait_for("the edge hears of the suspension", is_heard)
        self.suspended = affiliate

    def _pixel(self, click: str, order_id: str, amount: str) -> None:
        parameters = {"click_id": click, "order_id": order_id, "amount": amount}
        self._client.send("GET", "/p.gif", (200,), params=parameters)

    def _pixel_order(self, minor: int) -> Order:
        rule = model.percentage("30")
        if self._pixel_affiliate == self.suspended:
            rule = model.nothing
        return Order("", self._pixel_affiliate, "USD", minor, "pending", rule)

    def _honest_pixel(self) -> None:
        """The shop's page and the shop's server report the same order, in either order."""
        text, minor = self._amount("USD")
        click, order_id = self._click(self._pixel_code), self._order_id()
        body = {"click_id": click, "order_id": order_id, "order_value": text}
        first = self._dice.random() < 0.5
        if first:
            self._pixel(click, order_id, text)
        self._post(body, self._pixel_order(minor))
        if not first:
            self._pixel(click, order_id, text)

    def _hostile_pixel(self) -> None:
        """Somebody claims the coming orders of others, with a click of his own."""
        text, minor = self._amount("USD")
        order_id, stranger = self._order_id(), self._click(self._pixel_code)
        for _ in range(3):
            self._pixel(stranger, order_id, "9999.99")
        click = self._click(self._pixel_code)
        if self._dice.random() < 0.5:
            body = {"click_id": click, "order_id": order_id, "order_value": text}
            self._post(body, self._pixel_order(minor))
            return
        parameters = {"click_id": click, "order_id": order_id, "payout": text, "key": self._key}
        self._client.send("GET", "/postback", (200,), params=parameters)
        self.postback_orders.append(self._pixel_order(minor))

    def _early_adjustment(self) -> None:
        """Refunds or approves an order before it is posted."""
        code, affiliate, currency, rule = self._dice.choice(self._current_links())
        text, minor = self._amount(currency)
        order_id = self._order_id()
        order = Order("", affiliate, currency, minor, "pending", rule)
        self._number += 1
        early = {"order_id": order_id, "adjustment_id": f"adj_{self._number}"}
        if self._dice.random() < 0.7:
            part = self._dice.randint(1, minor)
            early |= {"kind": "refund", "amount": text_of(part, DIGITS[currency])}
            order.refunds.append(part)
        else:
            early["kind"] = "approve"
            order.status = "approved"
        self._client.send("POST", "/v1/adjustments", (202,), json=early)
        self._early.append(order_id)
        body = {"click_id": self._click(code), "order_id": order_id, "order_value": text}
        self._post(body, order)

    def _pay(self) -> None:
        due = [one for one in self.orders if one.status == "approved" and one.paid is None]
        if due:
            order = self._dice.choice(due)
            self._adjust(order, (200, 201), kind="pay")
            order.paid = order.commission

    def _foreign_sale(self) -> None:
        """Sells in another currency than that of the rule's amounts."""
        (currency, campaigns), rate = self._dice.choice([*_RATES.items()])
        links = [link for link in self._current_links() if link[2] == campaigns]
        code, affiliate, _, rule = self._dice.choice(links)
        text, minor = self._amount(currency)
        if rule is not model.nothing:
            rule = (
                model.flat("120", rate) if campaigns == "JPY" else model.tiered(*_TIERS, rate=rate)
            )
        body = {
            "click_id": self._click(code),
            "order_id": self._order_id(),
            "order_value": text,
            "currency": currency,
            "timestamp": datetime.now(UTC).isoformat(),
        }
        self._post(body, Order("", affiliate, currency, minor, "pending", rule))

    def wait_for_early_ones(self) -> None:
        """Returns once no adjustment waits for its order any more."""

        def none_waits() -> bool:
            answers = [
                self._client.send("GET", "/v1/adjustments", (200,), params={"order_id": order_id})
                for order_id in self._early
            ]
            assert not any(
                one["status"] == "failed" for answer in answers for one in answer.json()["data"]
            )
            return not any(answer.json()["data"] for answer in answers)

        wait_for("early adjustments are applied", none_waits, 40)

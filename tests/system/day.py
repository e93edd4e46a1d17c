"""Sends a day of mixed traffic from a seed to an instance, and books it in the model."""

import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.system import model
from tests.system.conftest import Instance
from tests.system.dialects import DIALECTS
from tests.system.model import DIGITS, Order
from tests.system.retrying_client import RetryingClient, pass_millisecond

_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Day:
    """Sends random requests and checks every answer against the model."""

    def __init__(self, instance: Instance, seed: int) -> None:
        self._chance = random.Random(seed)
        self._client = RetryingClient(instance)
        self._key = instance.demo("key")
        # Orders of posts and of postbacks.
        self.orders: list[Order] = []
        self.postback_orders: list[Order] = []
        self._posts: list[tuple[dict[str, Any], Order]] = []
        self._links: list[tuple[str, str, str, model.Rule]] = []
        self._closed_window_code = ""
        self._own_rule_since = datetime.now(UTC)
        self._general_rule: model.Rule = model.nothing
        self._number = 0
        self.suspended = ""
        self.done = Counter[str]()

    def close(self) -> None:
        self._client.close()

    def open(self) -> None:
        """Creates campaigns, affiliates and links, each with the model's commission rule."""
        affiliates = [self._client.make("affiliates", {"name": f"A{n}"})["id"] for n in range(4)]
        tiers = [{"from": "0", "rate": "5"}, {"from": "100", "rate": "7.5"}]
        campaigns: list[tuple[str, dict[str, Any], model.Rule]] = [
            ("USD", {"kind": "percentage", "rate": "30"}, model.percentage("30")),
            ("EUR", {"kind": "tiered", "tiers": tiers}, model.tiered(("0", "5"), ("100", "7.5"))),
            ("JPY", {"kind": "flat", "amount": "120"}, model.flat("120")),
        ]
        for currency, commission, rule in campaigns:
            body = {"name": currency, "currency": currency, "commission": commission}
            campaign = self._client.make("campaigns", body)["id"]
            for affiliate in affiliates:
                paid_by = rule
                if affiliate == affiliates[1] and currency == "USD":
                    own = {"kind": "percentage", "rate": "40.5", "cap": "50"}
                    path = f"/v1/campaigns/{campaign}/commissions"
                    added = {"affiliate_id": affiliate, "commission": own}
                    self._client.send("POST", path, (201,), json=added)
                    # Orders from before this rule are paid by the general one.
                    self._own_rule_since, self._general_rule = datetime.now(UTC), rule
                    paid_by = model.percentage("40.5", cap="50")
                code = self._link(campaign, affiliate)
                self._links.append((code, affiliate, currency, paid_by))
        body = {"name": "late", "currency": "USD", "commission": campaigns[0][1], "window_days": 0}
        self._closed_window_code = self._link(
            self._client.make("campaigns", body)["id"], affiliates[0]
        )

    def _link(self, campaign: str, affiliate: str) -> str:
        body = {"campaign_id": campaign, "affiliate_id": affiliate}
        return self._client.make("links", body | {"destination": "https://shop.example/"})[
            "tracking_code"
        ]

    def run(self, actions: int, between: Callable[[int], None] = lambda _: None) -> None:
        """Performs random actions; `between` is called before each."""
        kinds = self.kinds()
        for number in range(actions):
            between(number)
            [act] = self._chance.choices([*kinds], [*kinds.values()])
            act()
            self.done[act.__name__] += 1

    def kinds(self) -> dict[Callable[[], None], int]:
        """Returns the actions, each with its share of them."""
        return {
            self._sale: 10,
            self._click_and_buy: 4,
            self._lost_sale: 2,
            self._repeat: 3,
            self._conflict: 2,
            self._refund: 4,
            self._approve_or_reject: 4,
            self._restate: 2,
            self._postbacks: 3,
            self._attribute: 1,
        }

    def _earning_links(self) -> list[tuple[str, str, str, model.Rule]]:
        """Returns the links of affiliates who are not suspended."""
        return [link for link in self._links if link[1] != self.suspended]

    def _current_links(self) -> list[tuple[str, str, str, model.Rule]]:
        """Returns all links, with the rules that pay now."""
        return [
            (code, affiliate, currency, model.nothing if affiliate == self.suspended else rule)
            for code, affiliate, currency, rule in self._links
        ]

    def _amount(self, currency: str) -> tuple[str, int]:
        """Draws an amount: in major units as text, and in minor units."""
        minor = self._chance.randint(1, 30_000)
        return text_of(minor, DIGITS[currency]), minor

    def _order_id(self) -> str:
        self._number += 1
        return f"order_{self._number}"

    def _post(self, body: dict[str, Any], order: Order) -> None:
        answer = self._client.send("POST", "/v1/conversions", (200, 201, 202), json=body).json()
        order.conversion_id = answer["conversion_id"]
        self.orders.append(order)
        self._posts.append((body, order))

    def _sale(self) -> None:
        code, affiliate, currency, rule = self._chance.choice(self._earning_links())
        text, minor = self._amount(currency)
        at = datetime.now(UTC) - timedelta(minutes=self._chance.randint(0, 1_200))
        if at < self._own_rule_since and currency == "USD":
            rule = self._general_rule
        status = self._chance.choice(["pending", "approved"])
        body = {
            "tracking_code": code,
            "order_id": self._order_id(),
            "order_value": text,
            "status": status,
            "timestamp": at.isoformat(),
        }
        self._post(body, Order("", affiliate, currency, minor, status, rule))

    def _click(self, code: str) -> str:
        """Clicks as a visitor and returns the click id."""
        headers = {"User-Agent": _BROWSER}
        location = self._client.send("GET", f"/{code}", (302,), headers=headers).headers["location"]
        found = re.search(r"click_id=([0-9A-Z]{26})", location)
        assert found
        return found[1]

    def _click_and_buy(self) -> None:
        code, affiliate, currency, rule = self._chance.choice(self._current_links())
        text, minor = self._amount(currency)
        body = {
            "click_id": self._click(code),
            "order_id": self._order_id(),
            "order_value": text,
        }
        self._post(body, Order("", affiliate, currency, minor, "pending", rule))

    def _lost_sale(self) -> None:
        """Posts a sale whose click is forged or expired: it is stored without an affiliate."""
        text, minor = self._amount("USD")
        late = self._chance.random() < 0.5
        click = self._click(self._closed_window_code if late else self._links[0][0])
        if late:
            # A window of no days lasts for the click's millisecond.
            pass_millisecond()
        else:
            click = click[:-1] + ("0" if click[-1] != "0" else "1")
        body = {"click_id": click, "order_id": self._order_id(), "order_value": text}
        self._post(body, Order("", None, "USD", minor, "pending"))

    def _repeat(self) -> None:
        if self._posts:
            body, order = self._chance.choice(self._posts)
            answer = self._client.send("POST", "/v1/conversions", (200, 202), json=body)
            if answer.status_code == 200:
                assert answer.json()["conversion_id"] == order.conversion_id

    def _conflict(self) -> None:
        if self._posts:
            body, _ = self._chance.choice(self._posts)
            other = body | {"order_value": "1", "adv1": "another"}
            self._client.send("POST", "/v1/conversions", (409, 202), json=other)

    def _adjust(self, order: Order, expected: tuple[int, ...], **body: Any) -> None:
        self._number += 1
        path = f"/v1/conversions/{order.conversion_id}/adjustments"
        adjustment = {"adjustment_id": f"adj_{self._number}", "reason": "so it is", **body}
        self._client.send("POST", path, expected, json=adjustment)

    def _any_order(self) -> Order | None:
        return self._chance.choice(self.orders) if self.orders else None

    def _refund(self) -> None:
        order = self._any_order()
        if order is None:
            return
        if order.status == "rejected" or not order.left:
            self._adjust(order, (409,), kind="refund")
        elif self._chance.random() < 0.3:
            self._adjust(order, (200, 201), kind="refund")
            order.refunds.append(order.left)
        else:
            part = self._chance.randint(1, order.left)
            digits = DIGITS[order.currency]
            self._adjust(order, (422,), kind="refund", amount=text_of(order.left + 1, digits))
            self._adjust(order, (200, 201), kind="refund", amount=text_of(part, digits))
            order.refunds.append(part)

    def _approve_or_reject(self) -> None:
        order = self._any_order()
        if order is None:
            return
        kind, status = self._chance.choice([("approve", "approved"), ("reject", "rejected")])
        if order.status == status:
            self._adjust(order, (409,), kind=kind)
        else:
            self._adjust(order, (200, 201), kind=kind)
            order.status = status

    def _restate(self) -> None:
        order = self._any_order()
        if order is None:
            return
        value = self._chance.randint(1, 30_000)
        body = {"kind": "restate", "order_value": text_of(value, DIGITS[order.currency])}
        if order.status == "rejected":
            self._adjust(order, (409,), **body)
        elif value < sum(order.refunds):
            self._adjust(order, (422,), **body)
        else:
            self._adjust(order, (200, 201), **body)
            order.value = value

    def _postbacks(self) -> None:
        """Sends a network's postbacks of a pending lead and its final status, each twice."""
        code, affiliate, currency, rule = self._chance.choice(self._current_links())
        text, minor = self._amount(currency)
        name = self._chance.choice([*DIALECTS])
        dialect = DIALECTS[name]
        parameters = {
            dialect.click: self._click(code),
            dialect.order: self._order_id(),
            dialect.currency: currency,
            dialect.amount: str(minor) if dialect.minor_units else text,
            "key": self._key,
        }
        final_status = self._chance.choice([*dialect.words])
        for status in ("pending", "pending", final_status, final_status):
            update = parameters | {dialect.status: dialect.words[status]}
            self._client.send("GET", f"/postback/{name}", (200,), params=update)
        # Its conversion id is unknown here: it is adjusted by postbacks only.
        self.postback_orders.append(Order("", affiliate, currency, minor, final_status, rule))

    def _attribute(self) -> None:
        lost = [order for order in self.orders if order.affiliate is None]
        if not lost:
            return
        order = self._chance.choice(lost)
        usd = [link for link in self._earning_links() if link[2] == "USD"]
        code, affiliate, _, rule = self._chance.choice(usd)
        self._number += 1
        path = f"/v1/conversions/{order.conversion_id}/attribute"
        body = {"adjustment_id": f"adj_{self._number}", "tracking_code": code}
        self._client.send("POST", path, (200, 201), json=body)
        order.affiliate, order.rule = affiliate, rule


def text_of(minor: int, digits: int) -> str:
    """Formats minor units as major ones."""
    return f"{minor // 10**digits}.{minor % 10**digits:0{digits}}" if digits else str(minor)

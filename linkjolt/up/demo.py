"""The demo: one campaign, affiliate, link and key, made once and ready to paste from."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.money import Percentage
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.instance import write_private

_DESTINATION = "https://example.com/?ref={affiliate_id}"
# A bare curl is a program, and so its click would be counted as a bot's.
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Demo(msgspec.Struct, frozen=True):
    """What can be pasted: the link's code and the key's secret; `key_number` finds the key."""

    tracking_code: str
    key: str
    key_number: int


async def open_demo(redis: Redis, data: str) -> Demo:
    """The demo of a data directory: the one kept there if Redis still knows it, else a new one.

    The API shows a key's secret once, so it is kept in demo.json, for this user only.
    """
    path = Path(data, "demo.json")
    registry = Registry(redis)
    kept = _read(path)
    if kept and await _exists(registry, kept):
        return kept
    demo = await _create(registry, datetime.now(UTC))
    write_private(path, msgspec.json.encode(demo))
    return demo


def _read(path: Path) -> Demo | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Demo)
    except (OSError, msgspec.DecodeError):
        return None


async def _exists(registry: Registry, demo: Demo) -> bool:
    try:
        await registry.link_by_code(redis_keys.ACCOUNT_DEFAULT, demo.tracking_code)
        key = await registry.get(ApiKey, redis_keys.ACCOUNT_DEFAULT, demo.key_number)
    except Rejected as error:
        if error.reason == Reason.not_found:
            return False
        raise
    return key.digest == api_key_secrets.digest(demo.key)


async def _create(registry: Registry, now: datetime) -> Demo:
    account = redis_keys.ACCOUNT_DEFAULT
    campaign = await registry.create(
        Campaign(
            number=0,
            account=account,
            name="Demo",
            currency="USD",
            commission=Percentage(Decimal(30)),
            created_at=now,
        )
    )
    affiliate = await registry.create(
        Affiliate(number=0, account=account, name="Blog of Ann", created_at=now)
    )
    link = await registry.create(
        Link(
            number=0,
            account=account,
            campaign=campaign.number,
            affiliate=affiliate.number,
            tracking_code="",
            destination=_DESTINATION,
            created_at=now,
        )
    )
    secret, key = _new_key(account, now)
    stored = await registry.create(key)
    return Demo(link.tracking_code, secret, stored.number)


def _new_key(account: int, now: datetime) -> tuple[str, ApiKey]:
    secret = api_key_secrets.make_secret()
    key = ApiKey(
        number=0,
        account=account,
        name="demo",
        scopes=("admin",),
        digest=api_key_secrets.digest(secret),
        hint=api_key_secrets.hint(secret),
        created_at=now,
    )
    return secret, key


def demo_lines(demo: Demo, edge_url: str, reports_url: str, order_id: str) -> str:
    """The link, the key, and curl lines for a click, a conversion and a report.

    `order_id` is one not used before, so that the conversion is new on every start.
    """
    link = f"{edge_url}/{demo.tracking_code}"
    bearer = f"-H 'Authorization: Bearer {demo.key}'"
    order = {"tracking_code": demo.tracking_code, "order_value": 99.99, "order_id": order_id}
    body = msgspec.json.encode(order).decode()
    return f"""\
Demo link:  {link}
Demo key:   {demo.key}

A click:
curl -i -A '{_BROWSER}' '{link}?sub1=demo'

A conversion:
curl -i '{edge_url}/v1/conversions' {bearer} -H 'Content-Type: application/json' -d '{body}'

A report, a second later:
curl -s {bearer} '{reports_url}/v1/reports?group_by=link'
"""

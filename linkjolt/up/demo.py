"""Makes the demo: one campaign, affiliate, link and key, ready to paste from."""

import shlex
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from redis.asyncio import Redis

from linkjolt import datasets
from linkjolt.auth.audit_sources import source_of_command
from linkjolt.datasets import Account
from linkjolt.money import Percentage
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.demo_file import Demo, demo_path, read_demo, write_demo

_DESTINATION = "https://example.com/?ref={affiliate_id}"
# A bare curl is a program: its click would count as a bot's.
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


async def open_demo(redis: Redis, data: str) -> Demo:
    """Opens the demo in demo.json if Redis still knows it, else makes a new one."""
    registry = Registry(redis, source=source_of_command("up --demo"))
    existing = read_demo(data)
    if existing and await _exists(registry, existing):
        return existing
    demo = await _create(registry, datetime.now(UTC))
    write_demo(data, demo)
    return demo


async def _exists(registry: Registry, demo: Demo) -> bool:
    try:
        await registry.link_by_code(datasets.ACCOUNT_DEFAULT, demo.tracking_code)
        key = await registry.get(ApiKey, datasets.ACCOUNT_DEFAULT, demo.key_number)
    except Rejected as error:
        if error.reason == Reason.not_found:
            return False
        raise
    return key.digest == api_key_secrets.digest(demo.key)


async def _create(registry: Registry, now: datetime) -> Demo:
    account = datasets.ACCOUNT_DEFAULT
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


def _new_key(account: Account, now: datetime) -> tuple[str, ApiKey]:
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


class DemoKeyShown(msgspec.Struct, frozen=True):
    """How the demo's key is shown: in words, and in a shell's command."""

    words: str
    command: str


def show_key(demo: Demo, data: str, *, on_terminal: bool) -> DemoKeyShown:
    """Shows the key itself only to a person: what is no terminal, such as a journal, keeps it."""
    if on_terminal:
        return DemoKeyShown(demo.key, f"'Authorization: Bearer {demo.key}'")
    path = str(demo_path(data))
    read = rf"""sed -n 's/.*"key":"\([^"]*\)".*/\1/p' {shlex.quote(path)}"""
    words = f"in {path}, which only this user can read"
    return DemoKeyShown(words, f'"Authorization: Bearer $({read})"')


def demo_lines(
    demo: Demo,
    shown: DemoKeyShown,
    edge_url: str,
    reports_url: str,
    order_id: str,
    tls_cert: str = "",
) -> str:
    """Writes the link, the key, and curl lines for a click, a conversion and a report.

    `order_id` is one not used before, so that the conversion is new on every start.
    """
    link = f"{edge_url}/{demo.tracking_code}"
    curl = f"curl --cacert {shlex.quote(tls_cert)}" if tls_cert else "curl"
    bearer = f"-H {shown.command}"
    order = {"tracking_code": demo.tracking_code, "order_value": 99.99, "order_id": order_id}
    body = msgspec.json.encode(order).decode()
    return f"""\
Demo link:  {link}
Demo key:   {shown.words}

A click:
{curl} -i -A '{_BROWSER}' '{link}?sub1=demo'

A conversion:
{curl} -i '{edge_url}/v1/conversions' {bearer} -H 'Content-Type: application/json' -d '{body}'

A report, a second later:
{curl} -s {bearer} '{reports_url}/v1/reports?group_by=link'
"""

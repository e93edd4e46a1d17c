"""The first start makes an owner, who is let in once."""

from pathlib import Path

from redis.asyncio import Redis

from linkjolt.auth.people.one_time_links import OneTimeLinks
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.registry.entries import User
from linkjolt.registry.store import Registry
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.up.owner import owner_link, show_link
from tests.people.browsers import PASSWORD, People

URL = "http://127.0.0.1:8001"


def token_of(link: str | None) -> str:
    assert link is not None
    assert link.startswith(f"{URL}/#/first?token=")
    return link.rpartition("=")[2]


async def test_the_link_opens_the_dashboard_once_and_is_made_anew_until_it_was_used(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    people = People(redis, clickhouse)
    former, link = token_of(await owner_link(redis, URL)), token_of(await owner_link(redis, URL))
    async with people.browser() as browser:
        assert (await browser.use(former)).status_code == 401
        answer = await browser.use(link)
        assert answer.status_code == 201
        assert (answer.json()["user"]["role"], answer.json()["has_password"]) == ("owner", False)
        assert (await browser.use(link)).status_code == 401
        assert (await browser.get("/v1/keys")).status_code == 200
        assert await owner_link(redis, URL) is None
        credentials = {"email": "ann@shop.example", "password": PASSWORD}
        assert (await browser.send("PATCH", "/v1/session/user", credentials)).status_code == 201
        assert await browser.sign_in("ann@shop.example") == 201
    [owner] = (await Registry(redis).page(User, ACCOUNT_DEFAULT)).entries
    assert owner.is_owner


async def test_who_has_no_address_yet_sets_it_by_a_reset(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    people = People(redis, clickhouse)
    async with people.browser() as browser:
        assert (await browser.use(token_of(await owner_link(redis, URL)))).status_code == 201
        await browser.send("DELETE", "/v1/session")
        owner = await Registry(redis).get(User, ACCOUNT_DEFAULT, 1)
        token = await OneTimeLinks(redis).make(owner, "join")
        refused = await browser.use(token, password=PASSWORD)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "email")
        answer = await browser.use(token, password=PASSWORD, email="ann@shop.example")
        assert answer.status_code == 201
        assert await browser.sign_in("ann@shop.example") == 201


async def test_where_somebody_was_invited_no_owner_is_made(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    people = People(redis, clickhouse)
    await people.invite("ann@shop.example")
    assert await owner_link(redis, URL) is None


def test_the_link_is_shown_to_a_person_and_kept_in_a_private_file_else(tmp_path: Path) -> None:
    data, path = str(tmp_path), tmp_path / "owner-link.txt"
    assert "token=x" not in show_link("token=x", data, on_terminal=False)
    assert path.read_text() == "token=x\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "token=x" in show_link("token=x", data, on_terminal=True)
    assert not path.exists()
    show_link("token=x", data, on_terminal=False)
    assert show_link(None, data, on_terminal=False) == ""
    assert not path.exists()

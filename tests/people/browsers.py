"""Drives a listener that people sign in to, as a browser does."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from redis.asyncio import Redis

from linkjolt.auth.people.one_time_links import OneTimeLinks, Purpose
from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.registry.entries import User
from linkjolt.registry.people.entry import Role
from linkjolt.registry.store import Registry
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call
from tests.linkjolt.registry import samples
from tests.reports.conftest import open_http
from tests.sealers import any_sealer

ORIGIN = "http://reports.example"
PASSWORD = "correct horse battery"
SETTINGS = ReportsSettings()


class Browser:
    """A browser with a page of the dashboard: it has cookies, and names its page's origin."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.csrf_token = ""

    async def send(self, method: str, path: str, body: object = None) -> httpx2.Response:
        headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
        if self.csrf_token:
            headers["X-CSRF-Token"] = self.csrf_token
        answer = await self.http.request(method, path, json=body, headers=headers)
        if answer.status_code in (200, 201) and "csrf_token" in answer.json():
            self.csrf_token = answer.json()["csrf_token"]
        return answer

    async def get(self, path: str) -> httpx2.Response:
        return await self.send("GET", path)

    async def post(self, path: str, body: object) -> httpx2.Response:
        return await self.send("POST", path, body)

    async def sign_in(self, email: str, password: str = PASSWORD, code: str = "") -> int:
        form = {"email": email, "password": password, "code": code}
        return (await self.post("/v1/session", form)).status_code

    async def use(self, token: str, **form: Any) -> httpx2.Response:
        return await self.post("/v1/session/link", {"token": token, **form})

    async def status(self) -> int:
        return (await self.get("/v1/session")).status_code

    @property
    def token(self) -> str:
        return self.http.cookies["linkjolt_session"]


class People:
    """People of an installation, and browsers for them."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse) -> None:
        self.redis = redis
        self.clickhouse = clickhouse
        self.registry = Registry(redis, any_sealer())
        self.links = OneTimeLinks(redis)

    @asynccontextmanager
    async def browser(self, settings: ReportsSettings = SETTINGS) -> AsyncGenerator[Browser]:
        async with open_http(self.redis, self.clickhouse, settings) as http:
            http.base_url = ORIGIN
            yield Browser(http)

    async def invite(
        self, email: str, role: Role = "owner", account: Account = ACCOUNT_DEFAULT
    ) -> User:
        return await self.registry.create(samples.user(email, role, account))

    async def link(self, user: User, purpose: Purpose = "join", **options: bool) -> str:
        return await self.links.make(user, purpose, **options)

    async def joined(
        self, browser: Browser, email: str, role: Role = "owner", account: Account = ACCOUNT_DEFAULT
    ) -> User:
        """Invites a person who accepts in a browser, and stays signed in."""
        user = await self.invite(email, role, account)
        answer = await browser.use(await self.link(user), password=PASSWORD)
        assert answer.status_code == 201, answer.text
        return await self.read(user)

    async def read(self, user: User) -> User:
        return await self.registry.get(User, user.account, user.number)


async def keys_like(redis: Redis, pattern: str) -> list[bytes]:
    """Lists the keys that match a pattern."""
    return await call(redis, "KEYS", pattern)

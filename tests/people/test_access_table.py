"""Each operation lets in the people of the roles that it declares, by a session that is theirs."""

from typing import get_args

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt.auth.people.roles import ROLE_SCOPES
from linkjolt.auth.people.session_cookies import CSRF_HEADER
from linkjolt.auth.people.sessions import OpenSession, Sessions
from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.registry.accounts import create_account
from linkjolt.registry.entries import User
from linkjolt.registry.people.entry import Role
from linkjolt.registry.store import Registry
from tests.linkjolt.registry import samples
from tests.project.openapi.conftest import DOCUMENTS
from tests.security.access_table import LET_IN, Access, Called, expected, operations_of
from tests.security.test_access_table import STREAMS, Apps, apps, problem_of, requests_of

__all__ = ["apps"]
ROLES: tuple[Role, ...] = get_args(Role)
# About the whole installation: the operator's account alone reads it.
_OF_FIRST_ACCOUNT = ("getBalance",)
_UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


class _Person:
    """A person of an account, who signs in anew for each request, for some end their session."""

    def __init__(self, registry: Registry, user: User) -> None:
        self._registry = registry
        self._user = user
        self._sessions = Sessions(registry.redis, 600, 3_600)

    async def request(
        self, one: Called, *, ended: bool = False, with_token: bool = True
    ) -> httpx2.Request:
        """Makes the request of an operation as a page of the dashboard sends it."""
        session = await self._open()
        if ended:
            await self._sessions.end(session.token)
        request = next(requests_of(one, ""))
        request.headers["Cookie"] = f"linkjolt_session={session.token}"
        request.headers["Origin"] = "http://x"
        if with_token:
            request.headers[CSRF_HEADER] = session.csrf_token
        return request

    async def _open(self) -> OpenSession:
        user = await self._registry.get(User, self._user.account, self._user.number)
        return await self._sessions.open(user)


async def _person(registry: Registry, account: Account, role: Role) -> _Person:
    user = samples.user(f"{role}-{account}@shop.example", role, account)
    user = msgspec.structs.replace(user, joined_at=samples.NOW)
    return _Person(registry, await registry.create(user))


@pytest.mark.parametrize("listener", DOCUMENTS)
@pytest.mark.parametrize("role", ROLES)
async def test_each_operation_lets_in_the_roles_that_it_declares(
    apps: Apps, redis: Redis, listener: str, role: Role
) -> None:
    registry = Registry(redis)
    other = await create_account(registry, "Other", samples.NOW)
    # People sign in to the reports listener; no cookie is a credential on the edge.
    validity = "valid" if listener == "reports" else "none"
    access = Access(ROLE_SCOPES[role], validity=validity, session=True)
    transport = httpx2.ASGITransport(app=apps[listener], raise_app_exceptions=False)
    wrong: list[str] = []
    async with httpx2.AsyncClient(transport=transport) as client:
        for account in (ACCOUNT_DEFAULT, Account(other.number)):
            person = await _person(registry, account, role)
            for one in operations_of(DOCUMENTS[listener]):
                if one.id in STREAMS and expected(one, access) == LET_IN:
                    continue
                answer = await client.send(await person.request(one))
                problem = problem_of(one, access, answer)
                if account != ACCOUNT_DEFAULT and one.id in _OF_FIRST_ACCOUNT:
                    problem = "" if answer.status_code in (401, 403) else f"{answer.status_code}"
                if problem:
                    wrong.append(f"{account}: {one.method} {one.path}: {problem}")
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])


@pytest.mark.parametrize("role", ROLES)
async def test_no_operation_lets_in_who_signed_out_or_another_sites_page(
    apps: Apps, redis: Redis, role: Role
) -> None:
    person = await _person(Registry(redis), ACCOUNT_DEFAULT, role)
    signed_out = Access(ROLE_SCOPES[role], validity="none", session=True)
    transport = httpx2.ASGITransport(app=apps["reports"], raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport) as client:
        for one in operations_of(DOCUMENTS["reports"]):
            if one.ways is None:
                continue
            answer = await client.send(await person.request(one, ended=True))
            assert not (problem := problem_of(one, signed_out, answer)), (one.id, problem)
            if one.method in _UNSAFE:
                answer = await client.send(await person.request(one, with_token=False))
                assert answer.status_code == 403, (one.id, answer.text)
                assert CSRF_HEADER in answer.text

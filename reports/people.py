"""Lets people sign in to the reports listener."""

from collections.abc import Sequence

from redis.asyncio import Redis
from starlette.routing import BaseRoute

from linkjolt.api.access import own_user, sign_in
from linkjolt.api.access.session_answers import SignInParts
from linkjolt.auth.people.login_throttle import LoginThrottle
from linkjolt.auth.people.one_time_links import OneTimeLinks
from linkjolt.auth.people.passwords import Passwords
from linkjolt.auth.people.session_cookies import SessionCookies
from linkjolt.auth.people.sessions import Sessions
from linkjolt.clicks.addresses import parse_networks
from linkjolt.clicks.client_address import AddressReader
from linkjolt.registry.store import Registry
from linkjolt.settings import ReportsSettings
from linkjolt.web.openapi import Operation
from reports import metrics

OPERATIONS: Sequence[Operation] = (*sign_in.OPERATIONS, *own_user.OPERATIONS)


def session_cookies(settings: ReportsSettings, redis: Redis) -> SessionCookies:
    sessions = Sessions(redis, settings.session_idle_seconds, settings.session_max_seconds)
    addresses = AddressReader(parse_networks(settings.trusted_proxies), settings.client_ip_header)
    return SessionCookies(sessions, addresses, settings.reports_public_url)


def routes(cookies: SessionCookies, registry: Registry) -> list[BaseRoute]:
    """Lists the routes by which people sign in and change what lets them in."""
    parts = SignInParts(
        registry=registry,
        cookies=cookies,
        passwords=Passwords(),
        throttle=LoginThrottle(registry.redis),
        links=OneTimeLinks(registry.redis),
        note=lambda outcome: metrics.SIGN_INS.labels(outcome).inc(),
    )
    return [*sign_in.SignIn(parts).routes(), *own_user.OwnUser(parts).routes()]

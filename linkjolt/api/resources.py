"""All resources of the registry: their routes, which both listeners mount, and operations."""

from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkjolt.api import commissions, link_preview, links_bulk
from linkjolt.api.access import users
from linkjolt.api.affiliates import AFFILIATES
from linkjolt.api.api_keys import API_KEYS, ME
from linkjolt.api.campaigns import CAMPAIGNS
from linkjolt.api.coupons import COUPONS
from linkjolt.api.key_secrets import ROTATION, SIGNING_SECRET
from linkjolt.api.links import LINKS
from linkjolt.api.oauth_clients import OAUTH_CLIENTS
from linkjolt.api.rates import RATES
from linkjolt.auth.access import identify_sender, require_declared
from linkjolt.auth.audit_sources import source_of_request
from linkjolt.directory.directory import Directory
from linkjolt.privacy import api as privacy
from linkjolt.registry.lists.index import RegistryLists
from linkjolt.registry.store import Registry
from linkjolt.settings import SharedSettings
from linkjolt.web.collections import Call, Endpoint
from linkjolt.web.openapi import Operation
from linkjolt.webhooks import api as webhooks
from linkjolt.webhooks.deliveries import api as deliveries
from linkjolt.webhooks.deliveries.api import DeliveryLog, DeliveryResource
from linkjolt.webhooks.deliveries.backlog import QueueBounds

# `/v1/links/bulk` before `/v1/links/{id}`, which would match it, too.
_ENDPOINTS: list[Endpoint] = [
    ME,
    *CAMPAIGNS.endpoints(),
    *commissions.ENDPOINTS,
    *AFFILIATES.endpoints(),
    *links_bulk.ENDPOINTS,
    *LINKS.endpoints(),
    *link_preview.ENDPOINTS,
    *COUPONS.endpoints(),
    *RATES.endpoints(),
    *API_KEYS.endpoints(),
    ROTATION,
    SIGNING_SECRET,
    *privacy.ENDPOINTS,
    *OAUTH_CLIENTS.endpoints(),
    *users.USERS.endpoints(),
    users.LINK,
    *webhooks.WEBHOOKS.endpoints(),
    *webhooks.ENDPOINTS,
]


def operations() -> list[Operation]:
    """The operation of every route."""
    return [*(endpoint.operation for endpoint in _ENDPOINTS), *deliveries.OPERATIONS]


def routes(
    registry: Registry,
    directory: Directory,
    settings: SharedSettings,
    delivery_log: DeliveryLog | None = None,
) -> list[BaseRoute]:
    """Every route of the registry; deliveries of webhooks reach as far back as `delivery_log`."""

    lists = RegistryLists(registry.redis, settings.list_rows_max)

    def route(path: str, methods: Mapping[str, Endpoint]) -> Route:
        async def answer(request: Request) -> Response:
            # Starlette lets HEAD in wherever GET is.
            endpoint = methods["GET" if request.method == "HEAD" else request.method]
            operation = endpoint.operation
            key = await identify_sender(request.scope, directory)
            require_declared(key, operation)
            source = source_of_request(
                request.scope, key, operation.id, min(operation.answers), directory.addresses
            )
            bound = registry.written_by(source)
            call = Call(request, key, datetime.now(UTC), bound, lists, settings)
            return await endpoint.action(call)

        return Route(path, answer, methods=list(methods))

    bounds = QueueBounds(
        pending=settings.webhook_backlog_count, pending_bytes=settings.webhook_backlog_bytes
    )
    delivered = DeliveryResource(registry.redis, bounds, delivery_log)
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in [*_ENDPOINTS, *delivered.endpoints()]:
        operation = endpoint.operation
        by_path.setdefault(operation.path, {})[operation.method] = endpoint
    return [route(path, methods) for path, methods in by_path.items()]

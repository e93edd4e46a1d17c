"""Says for the audit log who sent a request: the key, the operation, the network it came from."""

import os
import pwd

from starlette.types import Scope

from linkjolt.audit_log.entries import AuditSource
from linkjolt.clicks.addresses import network_address
from linkjolt.clicks.client_address import AddressReader
from linkjolt.registry.entries import ApiKey
from linkjolt.web import requests


def source_of_request(
    scope: Scope, key: ApiKey, operation: str, status: int, addresses: AddressReader
) -> AuditSource:
    """Returns the source of the writes of an authenticated request."""
    return AuditSource(
        actor=key.id,
        actor_name=key.name,
        operation=operation,
        status=status,
        request_id=requests.request_id(scope),
        address=network_address(addresses.read(scope)),
    )


def source_of_command(command: str) -> AuditSource:
    """Returns the source of the writes of a command, with the system's name of its user."""
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)
    return AuditSource(actor="cli", actor_name=name, operation=command)

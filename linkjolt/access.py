"""Who may do what: API keys from requests, and the scopes they need."""

from datetime import UTC, datetime

from starlette.requests import Request

from linkjolt.directory import Directory
from linkjolt.errors import Reason, Rejected
from linkjolt.registry import ApiKey


def bearer(request: Request) -> str:
    """The secret of `Authorization: Bearer …` (RFC 6750); Rejected where there is none."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Rejected(Reason.unauthorized, "send Authorization: Bearer and an API key")
    return secret.strip()


async def identify(secret: str, directory: Directory) -> ApiKey:
    """The valid key of a secret; Rejected for any other, unknown and revoked ones alike."""
    key = await directory.key(secret)
    if key is None:
        raise Rejected(Reason.unauthorized, "the API key is not valid")
    if key.expired(datetime.now(UTC)):
        raise Rejected(Reason.unauthorized, "the API key has expired")
    return key


def require_scope(key: ApiKey, scope: str) -> None:
    """Rejected, naming the scope, unless the key has it."""
    if not key.allows(scope):
        raise Rejected(Reason.forbidden, f"the API key lacks the scope {scope}")


async def authenticate(request: Request, directory: Directory, scope: str) -> ApiKey:
    """The request's key, valid and with this scope; RedisError passes through."""
    key = await identify(bearer(request), directory)
    require_scope(key, scope)
    return key

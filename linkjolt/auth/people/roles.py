"""Maps the roles of people to the scopes of keys."""

from linkjolt.registry.entries import SCOPES, ApiKey, User
from linkjolt.registry.people.entry import Role

_NOT_MANAGERS = {"admin", "keys:write", "account:write", "payouts:write", "privacy:write"}
_FINANCE = {"reports:read", "events:read", "payouts:read", "payouts:write", "audit:read"}
ROLE_SCOPES: dict[Role, tuple[str, ...]] = {
    "owner": ("admin",),
    "manager": tuple(scope for scope in SCOPES if scope not in _NOT_MANAGERS),
    "finance": tuple(scope for scope in SCOPES if scope in _FINANCE),
    "viewer": tuple(scope for scope in SCOPES if scope.endswith(":read")),
}


def key_of(user: User) -> ApiKey:
    """Returns the key that a person's session is, with the scopes of the role as it is now."""
    return ApiKey(
        number=0,
        account=user.account,
        name=user.name,
        scopes=ROLE_SCOPES[user.role],
        digest="",
        hint="",
        created_at=user.created_at,
        user=user.number,
    )

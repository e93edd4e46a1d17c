"""Checks and makes tracking codes; lists the words that are reserved for routes."""

import re
import secrets

from linkjolt.click_ids import ALPHABET
from linkjolt.reasons import Reason, Rejected

# First path segments that a listener serves or may serve later, in lower case.
_ROUTE_SEGMENTS = """
v1 v2 v3 api c p oauth oauth2 postback postbacks pixel webhook webhooks
healthz health livez readyz status metrics docs redoc openapi swagger
robots favicon sitemap well-known static assets admin dashboard login logout
"""
RESERVED_CODES = frozenset(_ROUTE_SEGMENTS.split())
_SHAPE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_tracking_code(text: str) -> bool:
    """Returns False for texts that cannot be a code, to save their look-up."""
    return _SHAPE.fullmatch(text) is not None


def check_tracking_code(code: str) -> None:
    """Rejects all but 1 to 64 of A-Z a-z 0-9 _ -, and reserved words in any case."""
    if not is_tracking_code(code):
        message = "must be 1 to 64 of A-Z a-z 0-9 _ -"
        raise Rejected(Reason.invalid_field, message, field="tracking_code")
    if code.lower() in RESERVED_CODES:
        message = f"{code} is a reserved word"
        raise Rejected(Reason.invalid_field, message, field="tracking_code")


def make_tracking_code() -> str:
    """Makes `tc_` and 8 random characters of Crockford's base32."""
    return "tc_" + "".join(secrets.choice(ALPHABET) for _ in range(8))

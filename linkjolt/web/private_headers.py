"""Keeps answers out of caches, and browsers from taking them for another type."""

from collections.abc import Sequence

_NO_STORE = (b"cache-control", b"no-store")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
# As they are sent.
PRIVATE_LINES = b"".join([b"%s: %s\r\n" % line for line in (_NO_STORE, _NO_SNIFFING)])
_FOUND = 302


def with_private_headers(
    status: int, lines: Sequence[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Adds those of the two headers that an answer lacks: one that may be cached says how.

    A redirect has what it needs.
    """
    if status == _FOUND:
        return [*lines]
    names = [name for name, _ in lines]
    return [*lines, *(line for line in (_NO_STORE, _NO_SNIFFING) if line[0] not in names)]

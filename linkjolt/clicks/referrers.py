"""Extracts the host of a referrer."""

from functools import lru_cache
from urllib.parse import urlsplit


@lru_cache(maxsize=20_000)
def referrer_host(referrer: str) -> str:
    """Returns the lower-case host without `www.` and port; '' for none or a bad one."""
    try:
        host = urlsplit(referrer).hostname or ""
    except ValueError:
        return ""
    return host.removeprefix("www.")[:255]

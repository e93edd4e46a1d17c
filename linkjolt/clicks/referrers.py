"""The host a visitor came from."""

from functools import lru_cache
from urllib.parse import urlsplit


@lru_cache(maxsize=20_000)
def referrer_host(referrer: str) -> str:
    """Lower-case host of a referrer without `www.` and port; '' for none or an unparsable one."""
    try:
        host = urlsplit(referrer).hostname or ""
    except ValueError:
        return ""
    return host.removeprefix("www.")[:255]

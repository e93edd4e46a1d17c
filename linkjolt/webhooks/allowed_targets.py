"""Restricts webhooks to public addresses, so that they cannot reach the operator's own network.

Refuses whatever a machine behind the firewall could answer (server-side request forgery):
private, loopback, link-local and reserved addresses, also as IPv4 inside IPv6, and ports that are
not the web's.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from linkjolt.reasons import Reason, Rejected

PORTS = (80, 443, 8443)
URL_MAX_CHARACTERS = 2_048
# RFC 6052: IPv4 in the last 32 bits.
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
# RFC 4291 2.5.5.1, deprecated, but some kernels still route it.
_COMPATIBLE = IPv6Network("::/96")


class WebhookTarget:
    """A parsed endpoint URL; `host` without brackets."""

    __slots__ = ("host", "port", "secure", "url")

    def __init__(self, url: str, host: str, port: int, *, secure: bool) -> None:
        self.url = url
        self.host = host
        self.port = port
        self.secure = secure


def parse_target(url: str, *, allow_private: bool) -> WebhookTarget:
    """Parses a webhook's URL; Rejected, for the field `url`, if it is not allowed.

    Checks addresses, in any notation; names are checked when they are resolved (`is_public`).
    `allow_private` allows any http(s) URL.
    """
    if len(url) > URL_MAX_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        message = f"must be at most {URL_MAX_CHARACTERS} printable ASCII characters"
        raise Rejected(Reason.invalid_field, message, field="url")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Rejected(Reason.invalid_field, "cannot be read", field="url") from None
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("http", "https") or not host or "\\" in url:
        raise Rejected(Reason.invalid_field, "must be an https:// URL with a host", field="url")
    if "@" in parts.netloc:
        raise Rejected(Reason.invalid_field, "must not hold credentials", field="url")
    secure = parts.scheme == "https"
    target = WebhookTarget(url, host, port or (443 if secure else 80), secure=secure)
    if not allow_private:
        _check_public(target)
    return target


def _check_public(target: WebhookTarget) -> None:
    if not target.secure:
        raise Rejected(Reason.target_refused, "must be https", field="url")
    if target.port not in PORTS:
        message = f"must be of port {', '.join(map(str, PORTS))}"
        raise Rejected(Reason.target_refused, message, field="url")
    name = target.host.lower()
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        raise Rejected(Reason.target_refused, "is a name of this network", field="url")
    if _looks_numeric(name) and not is_public(name):
        raise Rejected(Reason.target_refused, "is no public address", field="url")


def _looks_numeric(host: str) -> bool:
    """Returns True if a resolver may read it as address: `0x7f.1`, `2130706433`, `[::1]`."""
    last = host.rpartition(".")[2]
    return ":" in host or last.isdigit() or last.startswith("0x")


def is_public(text: str) -> bool:
    """Returns whether a text is a plain address that is global unicast, also inside."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return _is_global(address)


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        inside = _embedded_ipv4(address)
        if inside is not None:
            return _is_global(inside)
        if address in _NAT64_LOCAL or address in _COMPATIBLE:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    """Returns the IPv4 address inside an IPv6 one: mapped, NAT64, 6to4 (RFC 3056)."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour

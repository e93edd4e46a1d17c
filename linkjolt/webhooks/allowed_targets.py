"""Where webhooks may go: public addresses only, so that nobody reaches our own network by them.

What is refused is what could be answered by a machine behind our firewall (server-side request
forgery): private, loopback, link-local and reserved addresses, also inside IPv6 ways of writing
IPv4 ones, and ports that are not the web's.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from linkjolt.reasons import Reason, Rejected

PORTS = (80, 443, 8443)
URL_MAX_CHARACTERS = 2_048
# RFC 6052: IPv4 in the last 32 bits.
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
# RFC 4291 2.5.5.1, deprecated, yet some kernels still route it.
_COMPATIBLE = IPv6Network("::/96")


class Target:
    """An endpoint's address, taken apart; `host` without brackets."""

    __slots__ = ("host", "port", "secure", "url")

    def __init__(self, url: str, host: str, port: int, *, secure: bool) -> None:
        self.url = url
        self.host = host
        self.port = port
        self.secure = secure


def read_target(url: str, *, allow_private: bool) -> Target:
    """The target of a webhook's URL; Rejected, for the field `url`, where none may go.

    Names are judged when they are resolved (`is_public`); addresses here, however written.
    `allow_private` lets any http(s) URL pass.
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
    target = Target(url, host, port or (443 if secure else 80), secure=secure)
    if not allow_private:
        _check_public(target)
    return target


def _check_public(target: Target) -> None:
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
    """True for what a resolver may take for an address: `0x7f.1`, `2130706433`, `[::1]`."""
    last = host.rpartition(".")[2]
    return ":" in host or last.isdigit() or last.startswith("0x")


def is_public(text: str) -> bool:
    """Whether a text is an address, plainly written, that is global unicast, inside it too."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return _is_global(address)


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        inside = _embedded(address)
        if inside is not None:
            return _is_global(inside)
        if address in _NAT64_LOCAL or address in _COMPATIBLE:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which an IPv6 one leads: mapped, NAT64, 6to4 (RFC 3056)."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour

"""Restricts webhooks to public addresses, so that they cannot reach the operator's own network.

Refuses whatever a machine behind the firewall could answer (server-side request forgery):
private, loopback, link-local and reserved addresses, also as IPv4 inside IPv6, and ports that are
not the web's.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from linkjolt.reasons import Reason, Rejected

PORTS = (80, 443, 8443)
URL_MAX_CHARACTERS = 2_048
# IANA's registry of special-purpose addresses (RFC 6890), as a whole: the one that Python comes
# with depends on its version. Also what is no unicast, and one address of a cloud's host.
_REFUSED_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the host of Azure's virtual machines
        "169.254.0.0/16",  # link-local, clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# All of IPv6 but global unicast is refused: loopback, unique local, link-local, site-local,
# multicast, discard-only, segment identifiers, IPv4-compatible and -translated, NAT64's local use.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_REFUSED_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocol assignments: Teredo, benchmarks, ORCHID, AMT, AS112
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation
    )
)
# RFC 6052: on networks without IPv4, names lead to IPv4 addresses in its last 32 bits.
_NAT64 = IPv6Network("64:ff9b::/96")


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


def parse_address(text: str) -> str | None:
    """Returns an address in its usual notation; None for a name, or an unusual one."""
    try:
        return str(ip_address(text))
    except ValueError:
        return None


@lru_cache(maxsize=4_096)
def is_public(text: str) -> bool:
    """Returns whether a text is a plain address that is global unicast, also inside."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inside = _embedded_ipv4(address)
        if inside is None:
            special = any(address in network for network in _REFUSED_IPV6)
            return address in _GLOBAL_UNICAST and not special
        address = inside
    return not any(address in network for network in _REFUSED_IPV4)


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    """Returns the IPv4 address to which packets for an IPv6 one go: mapped, NAT64."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped

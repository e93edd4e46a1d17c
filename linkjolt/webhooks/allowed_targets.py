"""Restricts webhooks to public addresses, so that they cannot reach the operator's own network.

Refuses whatever a machine behind the firewall could answer (server-side request forgery):
private, loopback, link-local and reserved addresses, also as IPv4 inside IPv6, and ports that are
not the web's. The operator may allow networks of his own.

The table is IANA's registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890,
https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry), as a
whole, with what is no unicast: the one that Python comes with depends on its version.
"""

import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

import msgspec

from linkjolt.clicks.addresses import (
    Network,
    canonical_address,
    is_inside,
    is_trusted,
    pack_address,
    parse_networks,
)
from linkjolt.reasons import Reason, Rejected
from linkjolt.settings import SharedSettings

PORTS = (80, 443, 8443)
URL_MAX_CHARACTERS = 2_048
_HOST_MAX_CHARACTERS = 253
# In ASCII, as resolvers and certificates have it: `%31` and the like are read differently by each.
_is_host_name = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*").fullmatch
_REFUSED = parse_networks(
    ",".join(
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by a provider's customers; Alibaba Cloud's metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # the host of Azure's virtual machines, beside the registry
            "169.254.0.0/16",  # link-local; clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # IETF protocol assignments; Oracle Cloud's metadata
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
            "2001::/23",  # IETF protocol assignments: Teredo, benchmarks, ORCHID, AMT, AS112
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3ffe::/16",  # the former 6bone
            "3fff::/20",  # documentation
        )
    )
)
# NAT64 (RFC 6052): on networks without IPv4, names lead to the IPv4 address in its last 32 bits.
_NAT64 = "64:ff9b::/96"
_NAT64_START = bytes.fromhex("0064ff9b") + bytes(8)
# ISATAP (RFC 5214): such an interface's packets go to the IPv4 address in the last 32 bits.
_ISATAP = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))
# All of IPv6 but global unicast is refused: loopback, unique local (clouds' metadata, too),
# link-local, site-local, multicast, discard-only, segment identifiers, IPv4-compatible and
# -translated, NAT64's local use.
_GLOBAL = parse_networks(f"0.0.0.0/0,2000::/3,{_NAT64}")


class PrivateTargets(msgspec.Struct, frozen=True):
    """The private targets that the operator allows: all, or those inside networks."""

    everything: bool = False
    networks: tuple[Network, ...] = ()

    def include(self, address: str) -> bool:
        """Returns True for an address that is allowed whether it is public or not."""
        return self.everything or is_trusted(address, self.networks)


NO_PRIVATE_TARGETS = PrivateTargets()


def private_targets(settings: SharedSettings) -> PrivateTargets:
    """Reads the private targets that settings allow."""
    return _private_targets(settings.webhook_allow_private, settings.webhook_allowed_networks)


@lru_cache(maxsize=64)
def _private_targets(everything: bool, networks: str) -> PrivateTargets:
    return PrivateTargets(everything, parse_networks(networks))


class WebhookTarget:
    """A parsed endpoint URL; `host` without brackets.

    `private_only`: no public address may serve it, for it is not of the web.
    """

    __slots__ = ("host", "port", "private_only", "secure", "url")

    def __init__(self, url: str, host: str, port: int, *, secure: bool) -> None:
        self.url = url
        self.host = host
        self.port = port
        self.secure = secure
        self.private_only = False

    def may_be_at(self, address: str, allowed: PrivateTargets) -> bool:
        """Returns whether the target may be reached at an address that its host leads to."""
        return allowed.include(address) or (not self.private_only and is_public(address))


def parse_target(url: str, allowed: PrivateTargets) -> WebhookTarget:
    """Parses a webhook's URL; Rejected, for the field `url`, if it is not allowed.

    Checks addresses, in any notation; names are checked when they are resolved (`may_be_at`).
    Where private targets are allowed, a URL may be of http and of any port, if it leads to one.
    """
    if len(url) > URL_MAX_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        message = f"must be at most {URL_MAX_CHARACTERS} printable ASCII characters"
        raise Rejected(Reason.invalid_field, message, field="url")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Rejected(Reason.invalid_field, "cannot be read", field="url") from None
    host = (parts.hostname or "").removesuffix(".")
    if parts.scheme not in ("http", "https") or not host or "\\" in url:
        raise Rejected(Reason.invalid_field, "must be an https:// URL with a host", field="url")
    if "@" in parts.netloc:
        raise Rejected(Reason.invalid_field, "must not hold credentials", field="url")
    if not _is_host(parts, host):
        message = "must have a host name, or an address without a zone"
        raise Rejected(Reason.invalid_field, message, field="url")
    secure = parts.scheme == "https"
    if port is None:
        port = 443 if secure else 80
    target = WebhookTarget(url, host, port, secure=secure)
    problem = "" if allowed.everything else _reason_not_public(target)
    if problem and (_looks_numeric(host) or not allowed.networks) and not allowed.include(host):
        raise Rejected(Reason.target_refused, problem, field="url")
    target.private_only = bool(problem)
    return target


def _is_host(parts: SplitResult, host: str) -> bool:
    if parts.netloc.startswith("["):
        return ":" in host and "%" not in host and bool(canonical_address(host))
    return len(host) <= _HOST_MAX_CHARACTERS and _is_host_name(host) is not None


def _reason_not_public(target: WebhookTarget) -> str:
    """Returns why the URL cannot be of the public web; an empty text if it can."""
    if not target.secure:
        return "must be https"
    if target.port not in PORTS:
        return f"must be of port {', '.join(map(str, PORTS))}"
    name = target.host
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        return "is a name of this network"
    return "is no public address" if _looks_numeric(name) and not is_public(name) else ""


def _looks_numeric(host: str) -> bool:
    """Returns True if a resolver may read it as address: `0x7f.1`, `2130706433`, `::1`."""
    last = host.rpartition(".")[2]
    return ":" in host or last.isdigit() or last.startswith("0x")


@lru_cache(maxsize=4_096)
def is_public(text: str) -> bool:
    """Returns whether a text is a plain address that is global unicast, also inside."""
    packed = None if "%" in text else pack_address(text)
    if packed is None:
        return False
    hops = [packed]
    if packed.startswith(_NAT64_START) or packed[8:12] in _ISATAP:
        hops.append(packed[12:])
    return all(is_inside(hop, _GLOBAL) and not is_inside(hop, _REFUSED) for hop in hops)

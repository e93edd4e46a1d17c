"""Recognizes URLs of this installation's own tracking links: a link to one leads in a ring."""

import posixpath
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, unquote, urlsplit

from linkjolt.reasons import Reason, Rejected

_LOCALHOST = "localhost"
_WEB_PORTS = (80, 443)


def check_leads_away(url: str, field: str, edge_url: str) -> None:
    """Rejects a URL, absolute and well formed, that leads to the edge at `edge_url` again."""
    target, own = urlsplit(url), urlsplit(edge_url)
    same_host = _host(target.hostname or "") == _host(own.hostname or "")
    if same_host and _ports(target) & _ports(own) and _is_below(target.path, own.path):
        message = "must not lead to this installation's own tracking links"
        raise Rejected(Reason.invalid_field, message, field=field)


def _host(name: str) -> str:
    """Returns one spelling of a host; the machine itself is always `localhost`."""
    name = name.rstrip(".").lower()
    if name == _LOCALHOST or name.endswith(f".{_LOCALHOST}"):
        return _LOCALHOST
    address = _address(name)
    if address is None:
        try:
            return name.encode("idna").decode()
        except UnicodeError:
            return name
    return _LOCALHOST if address.is_loopback or address.is_unspecified else str(address)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(name)
    except ValueError:
        try:
            # Browsers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses, too.
            return IPv4Address(socket.inet_aton(name))
        except (OSError, UnicodeError):
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _ports(parts: SplitResult) -> set[int]:
    """Returns the ports that lead to the same listener: a proxy sends those of http to https."""
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    return {*_WEB_PORTS} if port in _WEB_PORTS else {port}


def _is_below(path: str, own: str) -> bool:
    """Returns whether a path is below the edge's, where a proxy serves the edge under one."""
    folder = own.rstrip("/") + "/"
    return f"{posixpath.normpath('/' + unquote(path).lstrip('/'))}/".startswith(folder)

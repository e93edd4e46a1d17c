"""Warns at start of settings that let strangers read or forge more than an operator expects."""

import os
import stat
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import structlog

from linkjolt.runtime.lifecycle import SUPERVISOR_PID
from linkjolt.settings import SharedSettings

# Of the networks that no visitor comes from, the largest: 10.0.0.0/8, and fc00::/7 apart.
_PROXIES_PREFIX_MIN = 8
_PROXIES_PREFIX_MIN_IPV6 = 16
_MAPPED = IPv6Network("::ffff:0:0/96")
_PRIVATE_IPV6 = (IPv6Network("fc00::/7"), IPv6Network("fe80::/10"))

_log = structlog.get_logger()


def warn_of_exposure(settings: SharedSettings) -> None:
    """Logs each warning once for an installation: children of `linkjolt up` say nothing."""
    if SUPERVISOR_PID not in os.environ:
        for warning in exposure_warnings(settings):
            _log.warning(warning)


def exposure_warnings(settings: SharedSettings) -> list[str]:
    """Lists what settings expose, a line each with its remedy."""
    warnings: list[str] = []
    texts = filter(None, map(str.strip, settings.trusted_proxies.split(",")))
    if wide := [text for text in texts if _holds_visitors(ip_network(text))]:
        warnings.append(
            f"LINKJOLT_TRUSTED_PROXIES has {', '.join(wide)}: visitors themselves can name the"
            " address and country that are recorded; list your proxies' addresses alone"
        )
    if settings.tls_key and _is_everybodys(settings.tls_key):
        warnings.append(
            "LINKJOLT_TLS_KEY can be read by every user of this machine: let its owner alone read"
            f" it (chmod 600 {settings.tls_key})"
        )
    if settings.require_https and not settings.tls_cert and not settings.trusted_proxies.strip():
        warnings.append(
            "LINKJOLT_REQUIRE_HTTPS refuses every request: there is no LINKJOLT_TLS_CERT, and no"
            " proxy in LINKJOLT_TRUSTED_PROXIES to say that one came over https"
        )
    if _is_loopback(settings.host):
        return warnings
    host = f"LINKJOLT_HOST is {settings.host or 'empty, which is every address'}"
    if not settings.tls_cert and not settings.public_url.startswith("https://"):
        warnings.append(
            f"{host}: API keys and data pass unencrypted; set LINKJOLT_TLS_CERT, or put a TLS proxy"
            " in front and set LINKJOLT_PUBLIC_URL to its https:// address"
        )
    warnings.append(
        f"{host}: reports and /metrics, which needs no key, answer there as tracking links do;"
        " let a firewall leave the ports to your proxy, and the proxy hide /metrics"
    )
    return warnings


def _holds_visitors(network: IPv4Network | IPv6Network) -> bool:
    """Returns True for a network so wide that visitors are in it."""
    if isinstance(network, IPv4Network):
        return network.prefixlen < _PROXIES_PREFIX_MIN
    if network.subnet_of(_MAPPED):
        return network.prefixlen - _MAPPED.prefixlen < _PROXIES_PREFIX_MIN
    private = any(network.subnet_of(one) for one in _PRIVATE_IPV6)
    return network.prefixlen < _PROXIES_PREFIX_MIN_IPV6 and not private


def _is_everybodys(path: str) -> bool:
    """Returns True for a file that all users may read; a start fails elsewhere without it."""
    with suppress(OSError):
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    return False


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

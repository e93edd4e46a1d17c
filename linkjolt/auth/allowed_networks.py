"""Checks the networks from which a key may be used: CIDR blocks, IPv4 and IPv6."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from linkjolt.clicks.addresses import Network, is_trusted, parse_networks
from linkjolt.reasons import Reason, Rejected

NETWORKS_MAX = 64
FIELD = "allowed_networks"


def normalize_networks(texts: Sequence[str]) -> tuple[str, ...]:
    """Writes networks and single addresses as CIDR, each once; Rejected names the bad one."""
    networks = [str(_parse(text, f"{FIELD}[{at}]")) for at, text in enumerate(texts)]
    return tuple(dict.fromkeys(networks))


def are_within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    """Returns whether the outer networks hold all that the inner ones do; none are everything."""
    if not outer:
        return True
    return bool(inner) and all(_is_held(one, tuple(outer)) for one in inner)


def is_inside(address: str, networks: tuple[str, ...]) -> bool:
    """Returns whether one of the networks holds an address; False for any other text."""
    return is_trusted(address, _packed(networks))


@lru_cache(maxsize=1_024)
def _packed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return parse_networks(",".join(networks))


def _is_held(network: str, outer: tuple[str, ...]) -> bool:
    one = ipaddress.ip_network(network)
    if isinstance(one, IPv4Network):
        return any(one.subnet_of(other) for other in _collapsed(outer)[0])
    return any(one.subnet_of(other) for other in _collapsed(outer)[1])


def _collapsed(networks: tuple[str, ...]) -> tuple[list[IPv4Network], list[IPv6Network]]:
    """Joins neighbours, by family: together they may hold a network that none holds alone."""
    parsed = [ipaddress.ip_network(one) for one in networks]
    return (
        list(ipaddress.collapse_addresses(one for one in parsed if isinstance(one, IPv4Network))),
        list(ipaddress.collapse_addresses(one for one in parsed if isinstance(one, IPv6Network))),
    )


def _parse(text: str, field: str) -> IPv4Network | IPv6Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
        if "%" in text:
            raise ValueError(text)
    except ValueError:
        message = "is no network, such as 203.0.113.0/24 or 2001:db8::/32, and no address"
        raise Rejected(Reason.invalid_field, message, field=field) from None
    if ipaddress.ip_interface(text).ip != network.network_address:
        # Widened in silence it would let in more than its author meant.
        message = f"has host bits set: write {network} for the network"
        raise Rejected(Reason.invalid_field, message, field=field)
    mapped = isinstance(network, IPv6Network) and network.network_address.ipv4_mapped
    if mapped and network.prefixlen >= 96:
        # Such a client's address is read as IPv4.
        return IPv4Network((mapped, network.prefixlen - 96))
    return network

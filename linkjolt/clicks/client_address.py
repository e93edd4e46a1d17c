"""Reads the address of a request's client, as trusted proxies name it."""

from starlette.types import Scope

from linkjolt.clicks.addresses import (
    Network,
    canonical_address,
    forwarded_address,
    forwarded_nodes,
    is_trusted,
    pack_address,
    parse_networks,
)
from linkjolt.settings import SharedSettings

# Of an IPv6 address: a household or a server may have all of a /64.
_NETWORK_BYTES = 8


class AddressReader:
    """Reads addresses; only a proxy in one of the networks may name another than its own."""

    def __init__(self, proxies: tuple[Network, ...], header: str) -> None:
        self._proxies = proxies
        self._header = header.lower().encode()
        self._is_rfc_7239 = self._header == b"forwarded"

    def read(self, scope: Scope) -> str:
        """Returns the address in its shortest form; '' where there is none."""
        host: str = scope["client"][0] if scope["client"] else ""
        if is_trusted(host, self._proxies):
            # Several lines form one list (RFC 9110, 5.3).
            lines = [value for name, value in scope["headers"] if name == self._header]
            text = b",".join(lines).decode("latin-1")
            nodes = forwarded_nodes(text) if self._is_rfc_7239 else text.split(",")
            if address := forwarded_address(nodes, self._proxies):
                return address
        return canonical_address(host)

    def read_network(self, scope: Scope) -> bytes:
        """Returns the IPv4 address, or the /64 of the IPv6 address; empty where there is none."""
        packed = pack_address(self.read(scope)) or b""
        return packed if len(packed) <= _NETWORK_BYTES else packed[:_NETWORK_BYTES]


def address_reader(settings: SharedSettings) -> AddressReader:
    """Reads addresses as the settings say."""
    return AddressReader(parse_networks(settings.trusted_proxies), settings.client_ip_header)

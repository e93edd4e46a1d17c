"""What a visitor says of his address, country and region counts only where a proxy says it."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from ingest.app import create_app, open_edge
from ingest.clicks.request_head import HeaderReader
from ingest.visitor_fields import ProxyHeaders, VisitorReader, json_member
from linkjolt.clicks.addresses import forwarded_nodes, parse_networks
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import BadSetting, EdgeSettings, load
from tests.ingest import conftest
from tests.ingest.conftest import Shop

shop = conftest.shop
PROXIES = parse_networks("127.0.0.0/8, 10.0.0.0/8, 2001:db8:1::/48")
FORGED = {
    "CF-IPCountry": "CH",
    "CF-Region-Code": "<SCRIPT>",
    "CF-Region": "Zug",
    "X-Country": "CH",
    "CF-Connecting-IP": "6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6",
}


async def test_no_header_names_a_country_unless_a_setting_names_the_header(
    shop: Shop, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The proxy on this machine is trusted, and passes on what visitors send."""
    settings = EdgeSettings(
        redis_url=redis_server.url,
        data=str(tmp_path / "other"),
        secret_key_file=str(shop.edge.sealer.path),
    )
    async with open_edge(settings, asyncio.Event()) as edge:
        transport = httpx2.ASGITransport(app=create_app(edge))
        async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
            answer = await client.get("/tc_ABC123", headers=FORGED)
    assert answer.status_code == 302
    [click] = await shop.clicks()
    assert (click.ip, click.country, click.region) == ("127.0.0.1", "", "")


def visitor(peer: str, headers: dict[str, str], names: ProxyHeaders) -> str:
    """Reads a visitor by both ways of an edge, which agree; returns the JSON."""
    reader = VisitorReader(PROXIES, names)
    slow = reader.visitor_json((peer, 1), "GET", {n.lower(): v for n, v in headers.items()})
    peer_json, proxied = reader.read_peer((peer, 1))
    readers = reader.proxied_readers if proxied else reader.direct_readers
    lines = ["Host: edge", *(f"{name}: {value}" for name, value in headers.items())]
    assert HeaderReader(readers, reader.client_ip_header).visitor_json(lines, peer_json) == slow
    return slow


def test_headers_of_an_untrusted_peer_count_for_nothing() -> None:
    for client_ip in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP"):
        names = ProxyHeaders(client_ip, "CF-IPCountry", "CF-Region")
        assert visitor("203.0.113.7", FORGED, names) == json_member("ip", "203.0.113.7")


COUNTRIES = {
    **{"CH": "CH", "ch": "CH", "Ch": "CH"},
    **{"XX": "", "xx": "", "ZZ": "", "T1": "", "CHE": "", "C": "", "C1": "", "<>": "", "C H": ""},
}
REGIONS = {
    **{"SP": "SP", "13": "13", "sp": "SP", "Zug": "ZUG", "Valle d'Aosta": "VALLE D'AOSTA"},
    **{"St. Gallen (SG)": "ST. GALLEN (SG)", "US-NY": "US-NY", "r" * 64: "R" * 64},
    **{"<SCRIPT>": "", "=1+1": "", "-1": "", "'x": "", "a_b": "", "a,b": "", 'a"b': "", "a;b": ""},
    **{"a\\b": "", "{region}": "", "@a": "", "+1": "", "%41": "", "r" * 65: ""},
}


@pytest.mark.parametrize(("sent", "stored"), COUNTRIES.items())
def test_a_country_is_two_letters(sent: str, stored: str) -> None:
    names = ProxyHeaders(country="X-Country")
    expected = json_member("country", stored)
    assert visitor("127.0.0.1", {"X-Country": sent}, names) == f"{PEER}{expected}"


@pytest.mark.parametrize(("sent", "stored"), REGIONS.items())
def test_a_region_is_a_code_or_a_name(sent: str, stored: str) -> None:
    expected = json_member("region", stored)
    assert visitor("127.0.0.1", {"X-Region": sent}, ProxyHeaders(region="X-Region")) == (
        f"{PEER}{expected}"
    )


PEER = json_member("ip", "127.0.0.1")
ODD_REGIONS = {
    "Provence-Alpes-Côte d'Azur": "PROVENCE-ALPES-CÔTE D'AZUR",
    "São Paulo": "SÃO PAULO",
    "Zürich".encode().decode("latin-1"): "ZÜRICH",
    "東京都".encode().decode("latin-1"): "東京都",
    "\u202egnikrow".encode().decode("latin-1"): "",
    "a\x1b[31m": "",
    "a\x85b": "",
    "a\u200bb".encode().decode("latin-1"): "",
    "a\tb": "",
}


@pytest.mark.parametrize(("sent", "stored"), ODD_REGIONS.items())
def test_a_region_in_other_letters_is_read_and_controls_are_not(sent: str, stored: str) -> None:
    reader = VisitorReader(PROXIES, ProxyHeaders(region="X-Region"))
    read = reader.visitor_json(("127.0.0.1", 1), "GET", {"x-region": sent})
    assert read == PEER + json_member("region", stored)


@pytest.mark.parametrize("header", ["CF-Connecting-IP", "X-Real-IP", "x-forwarded-for"])
@pytest.mark.parametrize(
    ("sent", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        # Where a visitor's own line was joined with the proxy's, the last is the proxy's.
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("unknown", "127.0.0.1"),
        ("6.6.6.6 203.0.113.7", "127.0.0.1"),
        ("999.0.0.1", "127.0.0.1"),
    ],
)
def test_the_header_that_is_named_has_the_address(header: str, sent: str, address: str) -> None:
    names = ProxyHeaders(client_ip=header)
    forged = {name: value for name, value in FORGED.items() if name != header}
    read = visitor("127.0.0.1", {**forged, header: sent}, names)
    assert read == json_member("ip", address)


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ("For=203.0.113.7; proto=https; by=10.0.0.1", "203.0.113.7"),
        ("proto=https;for=203.0.113.7:4711", "203.0.113.7"),
        ('for="203.0.113.7:4711"', "203.0.113.7"),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ("for=6.6.6.6, for=203.0.113.7", "203.0.113.7"),
        ("for=6.6.6.6, for=203.0.113.7, for=10.1.2.3", "203.0.113.7"),
        ('for=203.0.113.7,for="[2001:db8:1::5]"', "203.0.113.7"),
        # The client hides behind what ends the walk: the last proxy is all that is known.
        ("for=_hidden, for=10.1.2.3", "10.1.2.3"),
        ("for=unknown", "127.0.0.1"),
        ("proto=https", "127.0.0.1"),
        ("203.0.113.7", "127.0.0.1"),
        ("for=203.0.113.7;for=6.6.6.6", "127.0.0.1"),
        # A quote that the client leaves open hides nothing of what the proxy adds.
        ('for="6.6.6.6, for=203.0.113.7', "203.0.113.7"),
        ('for=6.6.6.6;x="a, for=203.0.113.7', "203.0.113.7"),
    ],
)
def test_forwarded_is_read_from_the_right(sent: str, address: str) -> None:
    names = ProxyHeaders(client_ip="Forwarded")
    headers = {"X-Forwarded-For": "6.6.6.6", "Forwarded": sent}
    assert visitor("127.0.0.1", headers, names) == json_member("ip", address)


def test_each_element_of_forwarded_has_one_node() -> None:
    assert forwarded_nodes("") == [""]
    assert forwarded_nodes("for=a,, by=b;for=c , FOR=d") == ["a", "", "c", "d"]


@pytest.mark.parametrize(
    ("variable", "bad"),
    [
        ("LINKJOLT_CLIENT_IP_HEADER", ""),
        ("LINKJOLT_CLIENT_IP_HEADER", "True-Client"),
        ("LINKJOLT_CLIENT_IP_HEADER", "X-Real-IP\n"),
        ("LINKJOLT_COUNTRY_HEADER", "CF IPCountry"),
        ("LINKJOLT_COUNTRY_HEADER", "CF-IPCountry:"),
        ("LINKJOLT_REGION_HEADER", "x" * 65),
    ],
)
def test_a_bad_header_name_stops_the_start_and_names_its_variable(variable: str, bad: str) -> None:
    with pytest.raises(BadSetting, match=variable):
        load(EdgeSettings, {variable: bad})

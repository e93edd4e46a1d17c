"""A client address is believed only from trusted proxies."""

import pytest

from ingest.visitor_fields import VisitorReader, json_member
from linkjolt.clicks.addresses import is_trusted, parse_networks

TRUSTED = parse_networks("127.0.0.0/8, ::1/128, 10.0.0.0/8, 2001:db8:1::/48")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "", "127.0.0.1"),
        # An untrusted peer's header is ignored.
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        # The client wrote 1.1.1.1 itself; the proxy appended what it saw.
        ("127.0.0.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "1.1.1.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),
        # Nothing to the left of garbage is trusted.
        ("127.0.0.1", "203.0.113.7, unknown, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "203.0.113.7,", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("127.0.0.1", "[2001:db8::7]", "2001:db8::7"),
        ("127.0.0.1", "2001:DB8:0:0::7", "2001:db8::7"),
        ("127.0.0.1", "2001:db8::7, 2001:db8:1::5", "2001:db8::7"),
        ("127.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("::1", "203.0.113.7", "203.0.113.7"),
        ("::ffff:127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "", "203.0.113.7"),
        ("fe80::1%eth0", "", "fe80::1"),
        ("", "203.0.113.7", ""),
        ("127.0.0.1", "203.0.113.7\x00", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.07", "127.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(
    peer: str, forwarded_for: str, address: str
):
    headers = {"x-forwarded-for": forwarded_for} if forwarded_for else {}
    assert VisitorReader(TRUSTED).visitor_json((peer, 1), "GET", headers) == json_member(
        "ip", address
    )


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.255.255.255", True),
        ("128.0.0.1", False),
        ("10.255.0.1", True),
        ("::1", True),
        ("::2", False),
        ("::ffff:10.0.0.1", True),
        ("2001:db8:1:ffff::9", True),
        ("2001:db8:2::", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_an_address_is_trusted_when_a_network_holds_it(address: str, trusted: bool):
    assert is_trusted(address, TRUSTED) is trusted


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_no_networks_trust_nobody(text: str):
    assert parse_networks(text) == ()
    headers = {"x-forwarded-for": "203.0.113.7"}
    assert VisitorReader(()).visitor_json(("127.0.0.1", 1), "GET", headers) == json_member(
        "ip", "127.0.0.1"
    )


@pytest.mark.parametrize("bad", ["10.0.0.0/33", "10.0.0.1/8", "proxy", "10.0.0.0/8/8"])
def test_a_bad_network_is_named(bad: str):
    with pytest.raises(ValueError, match=f"'{bad}'"):
        parse_networks(f"127.0.0.1, {bad}, ::1")


def test_a_single_address_is_a_network():
    assert is_trusted("192.0.2.1", parse_networks("192.0.2.1"))
    assert not is_trusted("192.0.2.2", parse_networks("192.0.2.1"))
    assert is_trusted("192.0.2.9", parse_networks("::ffff:192.0.2.0/120"))

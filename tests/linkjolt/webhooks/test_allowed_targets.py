"""Webhooks reach no private address, in any notation."""

import pytest

from linkjolt.reasons import Reason, Rejected
from linkjolt.webhooks.allowed_targets import (
    NO_PRIVATE_TARGETS,
    PrivateTargets,
    is_public,
    parse_target,
)
from outbound.resolver import Resolver
from outbound.transport import EndpointClient

EVERYTHING = PrivateTargets(everything=True)
REFUSED = [
    "http://shop.example/",
    "https://shop.example:22/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://api.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://0.0.0.0/",
    "https://10.1.2.3/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a00:1::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[fe80::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://[fec0::1]/",
    "https://[3fff::1]/",
    "https://[2002:5db8:d70e::1]/",
    "https://127.0.0.1./",
    "https://127.0.0.0x1/",
    "https://0x7F.1/",
    "https://017700000001/",
    "https://4294967295/",
    "https://1.2.3.4.5/",
    "https://[0:0:0:0:0:FFFF:169.254.169.254]/",
    "https://[64:ff9b:1::8.8.8.8]/",
    "https://[5f00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fd20:ce::254]/",
    "https://[2a00:1450::5efe:10.0.0.1]/",
    "https://[2a00:1450::200:5efe:169.254.169.254]/",
    "https://8.8.8.8:0/",
]
MALFORMED = [
    "",
    "shop.example",
    "ftp://shop.example/",
    "https:///x",
    "https://user:pass@shop.example/",
    "https://shop.example\\@127.0.0.1/",
    "https://shop.example:99999/",
    "https://[::1/",
    "https://[fe80::1%25eth0]/",
    "https://[2606:4700::1%25eth0]/",
    "https://[2606:4700::1%eth0]/",
    "https://[127.0.0.1]/",
    "https://[shop.example]/",
    "https://[v1.127]/",
    "https://2606:4700::1/",
    "https://%31%32%37.0.0.1/",
    "https://127.0.0.%31/",
    "https://shop.example%2e/",
    "https://shop%00.example/",
    "https://127\u30020\u30020\u30021/",
    "https://\u2460\u2461\u2466.0.0.1/",
    "https://127.0.0.1\u200b/",
    "https://shop.example../",
    "https://.shop.example/",
    "https://shop..example/",
    "https://shop.example:1:2/",
    "https://shop.example:+443/",
    "https://user@127.0.0.1/",
    "https://@shop.example/",
    "https://shop.example,127.0.0.1/",
    "https://shop.example;127.0.0.1/",
    "https:/127.0.0.1/",
    "https:127.0.0.1",
    "//127.0.0.1/",
    "https://" + "a." * 127 + "example/",
    "https://shop.example/a b",
    "https://shöp.example/",
    "https://shop.example/\n",
    "https://shop.example/" + "x" * 2_048,
]
ALLOWED = [
    "https://shop.example/hook?a=1",
    "https://shop.example:8443/",
    "https://shop.example:80/",
    "https://93.184.215.14/",
    "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
    "https://[::ffff:93.184.215.14]/",
    "https://SHOP.example./",
    "https://xn--shp-sna.example/",
    "https://my_shop.example/",
    "https://shop.example?@127.0.0.1/",
    "https://shop.example#@127.0.0.1/",
]


@pytest.mark.parametrize("url", REFUSED)
def test_a_private_target_is_refused_however_it_is_written(url: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_target(url, NO_PRIVATE_TARGETS)
    assert (refused.value.reason, refused.value.field) == (Reason.target_refused, "url")


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("allowed", [NO_PRIVATE_TARGETS, EVERYTHING])
def test_other_urls_than_those_of_the_web_are_refused(url: str, allowed: PrivateTargets) -> None:
    with pytest.raises(Rejected) as refused:
        parse_target(url, allowed)
    assert refused.value.field == "url"


@pytest.mark.parametrize("url", ALLOWED)
def test_a_public_target_is_allowed(url: str) -> None:
    assert parse_target(url, NO_PRIVATE_TARGETS).secure


def test_any_web_url_is_allowed_if_private_targets_are() -> None:
    assert parse_target("http://127.0.0.1:8002/x", EVERYTHING).port == 8002


@pytest.mark.parametrize(
    "text", ["", "shop.example", "127.1", "0x7f.1", "010.0.0.1", "8.8.8.8 ", "2606:4700::1%1"]
)
def test_other_texts_than_addresses_are_not_public(text: str) -> None:
    assert not is_public(text)


# The registry of special-purpose addresses: the first and the last address of each block.
SPECIAL = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.31.196.0", "192.31.196.255"),
    ("192.52.193.0", "192.52.193.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("192.175.48.0", "192.175.48.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
    ("::", "::"),
    ("::1", "::1"),
    ("::127.0.0.1", "::8.8.8.8"),
    ("::ffff:0.0.0.0", "::ffff:0.255.255.255"),
    ("::ffff:192.168.0.0", "::ffff:192.168.255.255"),
    ("::ffff:0:8.8.8.8", "::ffff:0:a00:1"),
    ("64:ff9b::10.0.0.0", "64:ff9b::10.255.255.255"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("100::", "100::ffff:ffff:ffff:ffff"),
    ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff"),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"),
    ("2001:10::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002:808:808::1", "2002:a00:1::1"),
    ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
    ("3ffe::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::", "5f00::1"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
]
# Beside them, and the addresses of some resolvers that everybody knows.
PUBLIC = [
    *("1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"),
    *("191.255.255.255", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "203.0.112.255", "203.0.114.0", "223.255.255.255"),
    *("8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:4860:4860::8888"),
    *("2001:200::", "2001:db7::1", "2001:db9::1", "2003::1", "2606:4700:4700::1111"),
    *("2620:fe::fe", "2a00:1450:4001::1", "3fff:1000::1"),
]


@pytest.mark.parametrize(("first", "last"), SPECIAL)
def test_addresses_for_special_purposes_are_not_public(first: str, last: str) -> None:
    assert not is_public(first)
    assert not is_public(last)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_beside_those_for_special_purposes_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"]])
async def test_a_name_that_leads_inside_is_refused_when_it_is_resolved(
    addresses: list[str],
) -> None:
    resolver = Resolver(lambda _: addresses)
    url = "https://rebind.example/"
    async with EndpointClient(url, resolver, connections=1, allowed=NO_PRIVATE_TARGETS) as endpoint:
        answer = await endpoint.post(b"{}", {})
    assert (answer.status, answer.error) == (
        0,
        "rebind.example leads to an address that is not public.",
    )

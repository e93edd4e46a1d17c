"""Webhooks reach no private address, in any notation."""

import socket
from typing import Any

import pytest

from linkjolt.reasons import Reason, Rejected
from linkjolt.webhooks.allowed_targets import is_public, parse_target
from outbound.transport import EndpointClient

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
    "https://[fe80::1%25eth0]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
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
]


@pytest.mark.parametrize("url", REFUSED)
def test_a_private_target_is_refused_however_it_is_written(url: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_target(url, allow_private=False)
    assert (refused.value.reason, refused.value.field) == (Reason.target_refused, "url")


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("allow_private", [False, True])
def test_other_urls_than_those_of_the_web_are_refused(url: str, allow_private: bool) -> None:
    with pytest.raises(Rejected) as refused:
        parse_target(url, allow_private=allow_private)
    assert refused.value.field == "url"


@pytest.mark.parametrize("url", ALLOWED)
def test_a_public_target_is_allowed(url: str) -> None:
    assert parse_target(url, allow_private=False).secure


def test_any_web_url_is_allowed_if_private_targets_are() -> None:
    assert parse_target("http://127.0.0.1:8002/x", allow_private=True).port == 8002


@pytest.mark.parametrize("text", ["", "shop.example", "127.1", "0x7f.1", "010.0.0.1"])
def test_other_texts_than_addresses_are_not_public(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"]])
async def test_a_name_that_leads_inside_is_refused_when_it_is_resolved(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 443)) for a in addresses]

    # No name server in the test can return this.
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = "https://rebind.example/"
    async with EndpointClient(url, connections=1, allow_private=False) as endpoint:
        answer = await endpoint.post(b"{}", {})
    assert (answer.status, answer.error) == (
        0,
        "rebind.example leads to an address that is not public",
    )

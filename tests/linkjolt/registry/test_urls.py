"""A link leads only to an absolute http(s) URL whose host the merchant chose."""

import pytest

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.checks import MACROS, check_url


@pytest.mark.parametrize(
    "url",
    [
        "//shop.example/p",
        "/p",
        "shop.example",
        "ftp://shop.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "https:///p",
        "https://",
        "https://?a=b",
        "https://:80/",
        "https://user@shop.example/",
        "https://user:word@shop.example/",
        "https://shop.example:http/",
        "https://shop.example:99999/",
        "https://[::1/",
        "https://-shop.example/",
        "https://shop.example\\@evil.example/",
        "https://shop.example/a b",
        "https://shop.example/\r\nSet-Cookie:a=b",
        "https://shop.example/\t",
        "https://shop.example/ü",
        "https://ünï.example/",
        "https://{sub1}/",
        "https://{sub1}.shop.example/",
        "https://shop.example{sub1}/",
        "https://shop.example:{sub1}/",
        "{sub1}://shop.example/",
        "https://shop.example/?a={what}",
        "https://shop.example/?a={}",
        "https://shop.example/?a={__sub1}",
        "https://shop.example/?a={SUB1}",
        "https://shop.example/?a={{sub1}}",
        "https://shop.example/?a={sub1",
        "https://shop.example/?a=sub1}",
        "https://shop.example/" + "a" * 2048,
    ],
)
def test_a_destination_that_could_lead_elsewhere_or_nowhere_is_refused(url: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_url(url, "destination")
    assert (caught.value.reason, caught.value.field) == (Reason.invalid_field, "destination")


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example",
        "HTTPS://Shop.Example:8443/p",
        "https://127.0.0.1/p",
        "https://[2001:db8::1]:443/p?x=1#top",
        "https://my_shop.example./p",
        "https://shop.example?click={click_id}&raw={_referrer_host}#/{sub10}",
        "https://shop.example/%7Bnot_a_macro%7D",
    ],
)
def test_a_plain_destination_is_accepted(url: str) -> None:
    check_url(url, "destination")


def test_every_documented_macro_is_known_encoded_and_raw() -> None:
    assert len(MACROS) == 28
    for name in MACROS:
        check_url(f"https://shop.example/?a={{{name}}}&b={{_{name}}}", "destination")

"""Access tokens are verified by their signature alone, and no other text passes for one."""

import base64
import hmac
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjolt.auth.tokens import (
    LIFETIME_MAX_SECONDS,
    PREFIX,
    AccessToken,
    issue_token,
    sign_token,
    verify_token,
)
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.keyring import TokenKey
from tests.linkjolt.registry import samples

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
OWN = (TokenKey(1, b"o" * 32),)
CLIENT = msgspec.structs.replace(
    samples.client("secret", "links:read", "conversions:write"), number=7
)
CONTEXT = b"linkjolt access token\0"


def issued(now_ms: int = NOW_MS, lifetime_seconds: int = 60) -> AccessToken:
    return issue_token(CLIENT, CLIENT.scopes, now_ms, lifetime_seconds)


def raw(text: str) -> bytes:
    body = text.removeprefix(PREFIX)
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def spelt(decoded: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(decoded).rstrip(b"=").decode()


def signed(head: bytes, claims: object, key: bytes) -> str:
    body = head + msgspec.msgpack.encode(claims)
    return spelt(body + hmac.digest(key, CONTEXT + body, "sha256"))


def test_a_token_says_what_was_signed() -> None:
    token = issued()
    text = sign_token(token, OWN)
    assert verify_token(text, OWN) == token
    assert (token.client, token.scopes) == (7, "links:read conversions:write")
    assert token.expires_at == NOW_MS // 1_000 + 60
    assert len(text) < 160


def test_no_two_tokens_are_alike() -> None:
    assert len({sign_token(issued(), OWN) for _ in range(100)}) == 100


@given(st.data())
def test_no_changed_token_is_genuine(data: st.DataObject) -> None:
    text = sign_token(issued(), OWN)
    decoded = bytearray(raw(text))
    at = data.draw(st.integers(0, len(decoded) - 1))
    decoded[at] ^= data.draw(st.integers(1, 255))
    assert verify_token(spelt(bytes(decoded)), OWN) is None


@given(st.integers(0, 400))
def test_no_shortened_or_lengthened_token_is_genuine(length: int) -> None:
    text = sign_token(issued(), OWN)
    for other in (text[:length], text + "A" * (length + 1)):
        if other != text:
            assert verify_token(other, OWN) is None


def test_a_token_has_one_spelling() -> None:
    # Of a last character that stands for four or two bits, the others are to be zero.
    scopes = ["a", "ab", "abc"]
    texts = [sign_token(issue_token(CLIENT, [one], NOW_MS, 60), OWN) for one in scopes]
    padded = [text for text in texts if len(text.removeprefix(PREFIX)) % 4]
    assert padded
    for text in padded:
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = alphabet[alphabet.index(text[-1]) + 1]
        assert raw(text[:-1] + last) == raw(text)
        assert verify_token(text[:-1] + last, OWN) is None
    for text in texts:
        for other in (f" {text}", f"{text}\n", f"{text}=", text.upper(), text[len(PREFIX) :]):
            assert verify_token(other, OWN) is None


@pytest.mark.parametrize("text", ["", PREFIX, PREFIX + "A" * 2_000, PREFIX + "é" * 80, "x" * 90])
def test_texts_without_a_signature_are_no_tokens(text: str) -> None:
    assert verify_token(text, OWN) is None


def test_a_token_of_another_installation_is_not_genuine() -> None:
    text = sign_token(issued(), (TokenKey(1, b"f" * 32),))
    assert verify_token(text, OWN) is None
    assert verify_token(text, ()) is None


def test_a_token_cannot_choose_how_it_is_verified() -> None:
    claims = issued()
    own = OWN[0].secret
    assert verify_token(signed(b"\x01\x00\x01", claims, own), OWN) == claims
    # Another version, an unknown key, no key, and a MAC over less.
    for head in (b"\x00\x00\x01", b"\x02\x00\x01", b"\x01\x00\x02"):
        assert verify_token(signed(head, claims, own), OWN) is None
    assert verify_token(signed(b"\x01\x00\x01", claims, b""), OWN) is None
    body = b"\x01\x00\x01" + msgspec.msgpack.encode(claims)
    for mac in (b"", bytes(32), hmac.digest(own, body, "sha256")):
        assert verify_token(spelt(body + mac), OWN) is None


def test_no_token_lives_longer_than_an_hour() -> None:
    longest = issued(lifetime_seconds=10**9)
    assert longest.expires_at == NOW_MS // 1_000 + LIFETIME_MAX_SECONDS
    forged = msgspec.structs.replace(longest, expires_at=longest.expires_at + 1)
    assert verify_token(sign_token(longest, OWN), OWN) == longest
    assert verify_token(sign_token(forged, OWN), OWN) is None


def test_no_token_outlives_its_client() -> None:
    ends_at = datetime.fromtimestamp(NOW_MS / 1_000, UTC) + timedelta(seconds=10)
    client = msgspec.structs.replace(CLIENT, expires_at=ends_at)
    assert issue_token(client, ["links:read"], NOW_MS, 60).expires_at == ends_at.timestamp()


def test_a_new_key_signs_from_its_time_on_and_the_former_one_verifies() -> None:
    since_ms = NOW_MS + 60_000
    keys = (TokenKey(2, b"n" * 32, since_ms), *OWN)
    before, after = sign_token(issued(), keys), sign_token(issued(since_ms), keys)
    assert (raw(before)[2], raw(after)[2]) == (1, 2)
    for text in (before, after):
        assert verify_token(text, keys)
    # An edge that has not read the new key yet verifies what it signed itself.
    assert verify_token(before, OWN)


def test_a_former_key_found_later_signs_nothing() -> None:
    keys = (TokenKey(2, b"n" * 32, NOW_MS), *OWN)
    assert verify_token(sign_token(issued(NOW_MS + DAY_MS), OWN), keys)
    assert verify_token(sign_token(issued(NOW_MS + DAY_MS + 1), OWN), keys) is None
    assert verify_token(sign_token(issued(NOW_MS + DAY_MS + 1), keys), keys)


def test_nothing_is_signed_without_a_key() -> None:
    with pytest.raises(Rejected) as refused:
        sign_token(issued(), ())
    assert refused.value.reason is Reason.unavailable


def test_a_key_is_not_shown() -> None:
    assert "oooo" not in repr(OWN)

"""Every revocation counts, and a client's list of them stays within its bound."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from linkjolt.directory.clients import KnownClient
from linkjolt.registry.entries import OAuthClient, RevokedToken
from linkjolt.registry.revocations import REVOKED_MAX, revoke_token
from tests.linkjolt.registry import samples

NOW = 1_800_000_000
CLIENT = samples.client("secret", "links:read")


def token(number: int, lives_seconds: int = 3_600) -> RevokedToken:
    """Makes the token that was issued `number` milliseconds after the first."""
    return RevokedToken(f"t{number}", NOW * 1_000 + number, NOW + lives_seconds)


def is_revoked(client: OAuthClient, one: RevokedToken) -> bool:
    known = KnownClient(client, frozenset(listed.id for listed in client.revoked))
    return known.has_revoked(one.id, one.issued_ms)


def test_a_revoked_token_is_listed_and_no_other() -> None:
    client = revoke_token(CLIENT, token(2), NOW)
    assert [is_revoked(client, token(number)) for number in (1, 2, 3)] == [False, True, False]
    assert client.revision == 1


def test_a_token_is_revoked_once() -> None:
    client = revoke_token(CLIENT, token(2), NOW)
    assert revoke_token(client, token(2), NOW) is client


def test_expired_tokens_leave_the_list() -> None:
    client = revoke_token(CLIENT, token(1, lives_seconds=10), NOW)
    client = revoke_token(client, token(2), NOW + 9)
    assert len(client.revoked) == 2
    client = revoke_token(client, token(3), NOW + 10)
    assert [one.id for one in client.revoked] == ["t2", "t3"]


@given(st.permutations(range(REVOKED_MAX - 2, REVOKED_MAX + 8)))
def test_beyond_the_bound_the_oldest_are_revoked_by_their_time(order: list[int]) -> None:
    full = msgspec.structs.replace(
        CLIENT, revoked=tuple(token(number) for number in range(REVOKED_MAX - 2))
    )
    client = full
    for number in order:
        client = revoke_token(client, token(number), NOW)
        assert len(client.revoked) <= REVOKED_MAX
    assert all(is_revoked(client, token(number)) for number in range(REVOKED_MAX + 8))
    assert not is_revoked(client, token(REVOKED_MAX + 8))
    # Those beside them that were issued as early, and no later one.
    neighbour = RevokedToken("other", token(7).issued_ms, NOW + 3_600)
    assert is_revoked(client, neighbour)
    assert not is_revoked(client, RevokedToken("other", token(8).issued_ms, NOW + 3_600))


def test_clients_of_this_release_are_read_without_what_later_ones_add() -> None:
    client = revoke_token(CLIENT, token(1), NOW)
    stored = msgspec.json.encode(client)
    assert msgspec.json.decode(stored, type=OAuthClient) == client
    fields = msgspec.json.decode(stored, type=dict[str, msgspec.Raw])
    for name in ("revoked", "revoked_until_ms", "revision", "expires_at", "test", "deleted_at"):
        del fields[name]
    assert msgspec.json.decode(msgspec.json.encode(fields), type=OAuthClient) == CLIENT

"""Revokes access tokens in the entry of their OAuth client, within a bound for each client."""

import msgspec

from linkjolt.registry.entries import OAuthClient, RevokedToken

REVOKED_MAX = 1_000


def revoke_token(client: OAuthClient, token: RevokedToken, now_seconds: float) -> OAuthClient:
    """Returns the client with the token revoked, and without the tokens that expired meanwhile.

    Over `REVOKED_MAX` the tokens of the longest ago are revoked by their time, with all others
    that were issued no later: a revocation is never dropped, and those expire first.
    """
    until_ms = client.revoked_until_ms
    if token.issued_ms <= until_ms or token in client.revoked:
        return client
    others = [one for one in client.revoked if one.expires_at > now_seconds]
    revoked = sorted([*others, token], key=lambda one: one.issued_ms)
    if len(revoked) > REVOKED_MAX:
        until_ms = max(until_ms, revoked[-REVOKED_MAX - 1].issued_ms)
    return msgspec.structs.replace(
        client,
        revoked=tuple(one for one in revoked if one.issued_ms > until_ms),
        revoked_until_ms=until_ms,
        revision=client.revision + 1,
    )

"""From an event as the edge saw it to a row of the warehouse: pure, memoised by distinct value."""

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, cast

import msgspec

from aggregator.rows.memo import Kept
from aggregator.rows.verdicts import RULESET, judge_kind
from linkjolt.click_ids import LENGTH, decode_base32, unverified
from linkjolt.clicks.addresses import pack, unpack
from linkjolt.clicks.referrers import referrer_host
from linkjolt.clicks.user_agent import read_agent
from linkjolt.events import Click
from linkjolt.reasons import Reason, Rejected

STORED_MAX = 1024
# So many characters of a click id hold its whole time.
TIME_LENGTH = 9
_DAY_MS = 86_400_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_OCTETS = frozenset(str(octet) for octet in range(256))
_encoder = msgspec.json.Encoder()
_encode = _encoder.encode
_replace = msgspec.structs.force_setattr
# `copy.copy` looks for it anew each time, which takes as long as the copy.
_copy = cast(Callable[[Click], Click], Click.__copy__)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]


class _Seen(msgspec.Struct, frozen=True):
    """What the user agent and the kind of request say together, under the columns' names."""

    verdict: str
    reason: str
    ruleset: int
    device: str
    os: str
    browser: str


class Moment(msgspec.Struct, frozen=True):
    """What the clicks of one millisecond share.

    `learned` is text of their rows, up to the visitor's number; `keyed` is the hash that makes this
    number, keyed by the salt of their UTC day.
    """

    learned: bytes
    keyed: blake2b


def moment(time_ms: int, salt: bytes) -> Moment:
    """Of clicks made at `time_ms` (`click_time_ms`); `salt` is 1 to 64 bytes."""
    learned = b',"time":%d.%03d,"visitor":' % divmod(time_ms, 1000)
    return Moment(learned, blake2b(digest_size=8, key=salt))


def place_of(s: int, pos: int) -> bytes:
    """The end of each row of one entry, for `write_click`."""
    return b'"s":%d,"pos":%d}\n' % (s, pos)


def write_click(text: bytearray, click: Click, at: Moment, place: bytes) -> None:
    """Adds the row of a click as a JSON line, without defaults; `place` is its end (`place_of`).

    What the click says is encoded as it is, but for what is replaced in a copy, and what is learned
    follows as text: to make a row of 45 fields of both took twice the time.
    """
    stored, params = _copy(click), b""
    country, language = _place[click.country, click.language]
    _replace(stored, "ip", truncate_address(click.ip))
    _replace(stored, "country", country)
    _replace(stored, "language", language)
    if click.kind:
        _replace(stored, "kind", "")
    if len(click.user_agent) > STORED_MAX:
        _replace(stored, "user_agent", click.user_agent[:STORED_MAX])
    if len(click.referrer) > STORED_MAX:
        _replace(stored, "referrer", click.referrer[:STORED_MAX])
    if click.params:
        _replace(stored, "params", {})
        params = b',"params":%b' % _encode(_encode(click.params).decode())
    _encoder.encode_into(stored, text, -1)
    # In place of the bracket that ends the object.
    text[-1:] = b"%b%b%d,%b%b%b" % (
        params,
        at.learned,
        visitor(click.ip, click.user_agent, at.keyed),
        _seen[click.user_agent, click.kind],
        _host[click.referrer],
        place,
    )


def _see(agent_and_kind: tuple[str, Literal["", "head", "prefetch"]]) -> bytes:
    """Part of a row, with a comma behind it."""
    user_agent, kind = agent_and_kind
    agent = read_agent(user_agent)
    found = judge_kind(kind, agent)
    seen = _Seen(found.verdict, found.reason.value, RULESET, agent.device, agent.os, agent.browser)
    return _encode(seen)[1:-1] + b","


def _see_host(referrer: str) -> bytes:
    """Part of a row, with a comma behind it; empty for no host."""
    host = referrer_host(referrer)
    return b'"referrer_host":%b,' % _encode(host) if host else b""


def click_time_ms(click_id: str) -> int:
    """UTC milliseconds of a click id; Rejected (undecodable) for any other text."""
    if len(click_id) != LENGTH:
        raise Rejected(Reason.undecodable, "is no click id", field="click_id")
    # Clicks of one millisecond decode it once.
    return _prefix_time_ms(click_id[:TIME_LENGTH])


@lru_cache(maxsize=4_096)
def _prefix_time_ms(prefix: str) -> int:
    number = decode_base32(prefix.ljust(LENGTH, "0"))
    if number is None:
        raise Rejected(Reason.undecodable, "is no click id", field="click_id")
    return unverified(number).time_ms


def utc_day(time_ms: int) -> str:
    """`YYYY-MM-DD` of UTC milliseconds: names the salt of the visitor hash."""
    return _day(time_ms // _DAY_MS)


@lru_cache(maxsize=64)
def _day(day: int) -> str:
    return date.fromordinal(_EPOCH_DAY + day).isoformat()


def visitor(ip: str, user_agent: str, keyed: blake2b) -> int:
    """64 bits that name a visitor for a day: keyed BLAKE2b of the whole address and agent, not 0.

    Without the key (`moment`) nothing leads back to the address.
    """
    hashed = keyed.copy()
    hashed.update(f"{ip}\n{user_agent}".encode())
    return int.from_bytes(hashed.digest(), "big") or 1


def truncate_address(ip: str) -> str:
    """The first address of its /24 (IPv4, mapped ones too) or /48 (IPv6); '' for no address."""
    network, _, last = ip.rpartition(".")
    # The addresses of an IPv4 network share one answer, for there are more than can be kept.
    return _networks[network] if last in _OCTETS else _truncate(ip)


def _truncate_network(network: str) -> str:
    return _truncate(f"{network}.0")


def _truncate(ip: str) -> str:
    packed = pack(ip)
    if packed is None:
        return ""
    kept = 3 if len(packed) == 4 else 6
    return unpack(packed[:kept].ljust(len(packed), b"\0"))


def _see_place(country_and_language: tuple[str, str]) -> tuple[str, str]:
    """Both as they are stored."""
    country, language = country_and_language
    return _country(country), _language(language)


def _country(code: str) -> str:
    """Two upper-case letters; `ZZ` for unknown, and for Tor (`T1`) and `XX` of proxies."""
    code = code.upper()
    known = len(code) == 2 and code.isascii() and code.isalpha() and code != "XX"
    return code if known else "ZZ"


def _language(accepted: str) -> str:
    """`en-us` of `en-US,en;q=0.9`: the first tag, at most 8 characters; '' for none or any."""
    tag = accepted.partition(",")[0].partition(";")[0].strip().lower()[:8]
    return "" if tag == "*" else tag


_seen = Kept(_see, 20_000)
_host = Kept(_see_host, 20_000)
_place = Kept(_see_place, 20_000)
_networks = Kept(_truncate_network, 20_000)

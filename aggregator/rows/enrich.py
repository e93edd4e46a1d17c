"""Enriches clicks to rows of the warehouse; pure, memoised by distinct value."""

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, TypeVar, cast

import msgspec

from aggregator.rows.verdicts import RULESET, judge_kind
from linkjolt.click_ids import CLICK_ID_LENGTH, decode_base32, unpack_click_number
from linkjolt.clicks.addresses import network_address
from linkjolt.clicks.referrers import referrer_host
from linkjolt.clicks.user_agent import parse_user_agent
from linkjolt.events import Click
from linkjolt.reasons import Reason, Rejected

STORED_MAX = 1024
# The first characters of a click id, which hold its whole time.
TIME_LENGTH = 9
_DAY_MS = 86_400_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_OCTETS = frozenset(str(octet) for octet in range(256))
_encoder = msgspec.json.Encoder()
_encode = _encoder.encode
_replace = msgspec.structs.force_setattr
# `copy.copy` looks the method up each time, which takes as long as the copy.
_copy = cast(Callable[[Click], Click], Click.__copy__)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]

Value = TypeVar("Value")
Answer = TypeVar("Answer")


class Memo(dict[Value, Answer]):
    """Answers by distinct value, each computed once; clears itself at `size_max`, which is seldom.

    Reading a dict costs a third of `lru_cache`.
    """

    def __init__(self, compute: Callable[[Value], Answer], size_max: int) -> None:
        super().__init__()
        self._make = compute
        self._size_max = size_max

    def __missing__(self, value: Value) -> Answer:
        if len(self) >= self._size_max:
            self.clear()
        answer = self[value] = self._make(value)
        return answer


class _AgentFields(msgspec.Struct, frozen=True):
    """The columns that follow from the user agent and the kind of request."""

    verdict: str
    reason: str
    ruleset: int
    device: str
    os: str
    browser: str


class SharedFields(msgspec.Struct, frozen=True):
    """The parts of rows that clicks of one millisecond share.

    `time_json` is text of their rows, up to the visitor's number; `visitor_hash` computes this
    number, keyed by the salt of their UTC day.
    """

    time_json: bytes
    visitor_hash: blake2b


def shared_fields(time_ms: int, salt: bytes) -> SharedFields:
    """Builds the fields of clicks of `time_ms` (`click_time_ms`); `salt` is 1 to 64 bytes."""
    time_json = b',"time":%d.%03d,"visitor":' % divmod(time_ms, 1000)
    return SharedFields(time_json, blake2b(digest_size=8, key=salt))


def encode_row_end(stream_number: int, pos: int) -> bytes:
    """Encodes the end of each row of one entry, for `write_click`."""
    return b'"s":%d,"pos":%d}\n' % (stream_number, pos)


def write_click(text: bytearray, click: Click, shared: SharedFields, row_end: bytes) -> None:
    """Appends the row of a click as a JSON line, without defaults; `row_end`: `encode_row_end`.

    The click is encoded from a copy with some fields replaced, and the derived fields follow as
    text: building a row of 45 fields from both took twice the time.
    """
    stored, params = _copy(click), b""
    country, language = _places[click.country, click.language]
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
    # Replaces the bracket that ends the object.
    text[-1:] = b"%b%b%d,%b%b%b" % (
        params,
        shared.time_json,
        visitor_number(click.ip, click.user_agent, shared.visitor_hash),
        _agent_json[click.user_agent, click.kind],
        _host_json[click.referrer],
        row_end,
    )


def _encode_agent(agent_and_kind: tuple[str, Literal["", "head", "prefetch"]]) -> bytes:
    """Encodes a part of a row, with a comma behind it."""
    user_agent, kind = agent_and_kind
    agent = parse_user_agent(user_agent)
    verdict = judge_kind(kind, agent)
    fields = _AgentFields(
        verdict.verdict, verdict.reason.value, RULESET, agent.device, agent.os, agent.browser
    )
    return _encode(fields)[1:-1] + b","


def _encode_host(referrer: str) -> bytes:
    """Encodes a part of a row, with a comma behind it; empty for no host."""
    host = referrer_host(referrer)
    return b'"referrer_host":%b,' % _encode(host) if host else b""


def click_time_ms(click_id: str) -> int:
    """Returns the UTC milliseconds of a click id; Rejected (undecodable) for any other text."""
    if len(click_id) != CLICK_ID_LENGTH:
        raise Rejected(Reason.undecodable, "is no click id", field="click_id")
    # Memoised for clicks of one millisecond.
    return _prefix_time_ms(click_id[:TIME_LENGTH])


@lru_cache(maxsize=4_096)
def _prefix_time_ms(prefix: str) -> int:
    number = decode_base32(prefix.ljust(CLICK_ID_LENGTH, "0"))
    if number is None:
        raise Rejected(Reason.undecodable, "is no click id", field="click_id")
    return unpack_click_number(number).time_ms


def utc_day(time_ms: int) -> str:
    """Returns `YYYY-MM-DD` of UTC milliseconds: the day names the salt of the visitor hash."""
    return _day(time_ms // _DAY_MS)


@lru_cache(maxsize=64)
def _day(day: int) -> str:
    return date.fromordinal(_EPOCH_DAY + day).isoformat()


def visitor_number(ip: str, user_agent: str, visitor_hash: blake2b) -> int:
    """Returns 64 bits, not 0, that identify a visitor for a day: BLAKE2b of address and agent.

    The address cannot be recovered without the key (`shared_fields`).
    """
    hashed = visitor_hash.copy()
    hashed.update(f"{ip}\n{user_agent}".encode())
    return int.from_bytes(hashed.digest(), "big") or 1


def truncate_address(ip: str) -> str:
    """Truncates an address to its /24 (IPv4, mapped ones too) or /48 (IPv6); '' for no address."""
    network, _, last = ip.rpartition(".")
    # Memoised by IPv4 network, for there are too many addresses.
    return _networks[network] if last in _OCTETS else network_address(ip)


def _truncate_network(network: str) -> str:
    return network_address(f"{network}.0")


def _normalize_place(country_and_language: tuple[str, str]) -> tuple[str, str]:
    """Returns both as they are stored."""
    country, language = country_and_language
    return _normalize_country(country), _normalize_language(language)


def _normalize_country(code: str) -> str:
    """Returns two upper-case letters; `ZZ` for unknown ones, Tor (`T1`) and `XX` of proxies."""
    code = code.upper()
    known = len(code) == 2 and code.isascii() and code.isalpha() and code != "XX"
    return code if known else "ZZ"


def _normalize_language(accepted: str) -> str:
    """Returns the first tag, at most 8 characters: `en-us` of `en-US,en`; '' for none or `*`."""
    tag = accepted.partition(",")[0].partition(";")[0].strip().lower()[:8]
    return "" if tag == "*" else tag


_agent_json = Memo(_encode_agent, 20_000)
_host_json = Memo(_encode_host, 20_000)
_places = Memo(_normalize_place, 20_000)
_networks = Memo(_truncate_network, 20_000)

"""What every list of events reads alike from its query: parameters once, limits, cursors, ids."""

import base64
import binascii
from collections.abc import Mapping, Sequence

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Kind, read_id
from reports.vocabulary import Format

LIMIT_MAX = 1_000
TEXT_MAX = 128
# Behind every event: before it is the newest.
FIRST = (1 << 62, "")
IDS: dict[str, Kind] = {"campaign_id": "campaign", "affiliate_id": "affiliate"}


def once(pairs: Sequence[tuple[str, str]], known: Sequence[str]) -> dict[str, str]:
    """The parameters by name; Rejected for one that is unknown or given twice."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise Rejected(Reason.unknown_field, "is not a known parameter", field=name[:64])
        if name in given:
            raise Rejected(Reason.invalid_field, "is given twice", field=name)
        given[name] = value
    return given


def check_words(given: Mapping[str, str], words: Mapping[str, Sequence[str]]) -> None:
    """Rejected unless each has one of its words."""
    for name, known in words.items():
        if name in given and given[name] not in known:
            message = f"must be one of {', '.join(known)}"
            raise Rejected(Reason.invalid_field, message, field=name)


def check_texts(given: Mapping[str, str], names: Sequence[str]) -> None:
    """Rejected unless each has a text of some characters, and not too many."""
    for name in names:
        if name in given and not 1 <= len(given[name]) <= TEXT_MAX:
            message = f"must have 1 to {TEXT_MAX} characters"
            raise Rejected(Reason.invalid_field, message, field=name)


def number_of(given: Mapping[str, str], name: str) -> int:
    """The registry number in a public id; 0 where none is given."""
    if name not in given:
        return 0
    number = read_id(IDS[name], given[name])
    if number is None or number >= 1 << 32:
        raise Rejected(Reason.invalid_field, f"is no id of a {IDS[name]}", field=name)
    return number


def limit_of(given: Mapping[str, str]) -> int:
    text = given.get("limit", "100")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIMIT_MAX):
        message = f"must be a number from 1 to {LIMIT_MAX}"
        raise Rejected(Reason.invalid_field, message, field="limit")
    return int(text)


def before_of(given: Mapping[str, str]) -> tuple[int, str]:
    """Time in milliseconds and id behind which the page begins."""
    if "cursor" not in given:
        return FIRST
    cursor = given["cursor"]
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        ms, identity = text.split(":", 1)
        if not (ms.isascii() and ms.isdigit() and len(ms) <= 15):
            raise ValueError
    except (binascii.Error, ValueError):
        message = "is not a cursor that this list answered"
        raise Rejected(Reason.invalid_field, message, field="cursor") from None
    return int(ms), identity


def wants_csv(given: Mapping[str, str]) -> tuple[Format, bool]:
    """The format, and whether the whole list is wanted: as CSV, where no page is asked for."""
    form: Format = "csv" if given.get("format") == "csv" else "json"
    return form, form == "csv" and "limit" not in given and "cursor" not in given


def cursor_after(time_ms: int, identity: str) -> str:
    """The opaque text that continues the list behind an event, whatever is new by then."""
    text = f"{time_ms}:{identity}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

"""Parses the parameters of a list, and finds its page among rows that pass by in blocks."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import EntryKind, parse_public_id
from linkjolt.registry.lists.rows import ListFields, ListRow, list_fields, row_number
from linkjolt.registry.store import PAGE_MAX
from linkjolt.registry.whole_numbers import parse_whole_number

SEARCH_MAX = 200
VALUES_MAX = 100
# The sort value and the number of a row; the values of one sort have one type.
Mark = tuple[Any, int]


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The page that is asked for: of the rows that pass all filters, those after a mark.

    `q` is in the letter case of rows' texts; `number` is that of an entry whose id is `q`. Empty
    sets let all pass.
    """

    limit: int = 100
    q: str = ""
    number: int = 0
    ids: frozenset[int] = frozenset()
    status: str = ""
    campaigns: frozenset[int] = frozenset()
    affiliates: frozenset[int] = frozenset()
    sort: str = "id"
    descending: bool = False
    after: Mark | None = None
    # That of a key that sees nothing of others; 0 where it sees all.
    seen_affiliate: int = 0

    @property
    def is_plain(self) -> bool:
        """Returns whether it asks for all entries by id, as Redis has them in order."""
        filtered = self.q or self.ids or self.status or self.campaigns or self.affiliates
        return not filtered and not self.seen_affiliate and self.sort == "id"

    def matches(self, row: ListRow) -> bool:
        return (
            (not self.seen_affiliate or self.seen_affiliate in row.affiliates)
            and (not self.q or self.q in row.text or row.number == self.number)
            and (not self.ids or row.number in self.ids)
            and (not self.status or row.status == self.status)
            and (not self.campaigns or not self.campaigns.isdisjoint(row.campaigns))
            and (not self.affiliates or not self.affiliates.isdisjoint(row.affiliates))
        )

    def cursor_at(self, mark: Mark) -> str:
        """Encodes a mark as `next_cursor`."""
        value, number = mark
        if self.sort == "id":
            return str(number)
        text = msgspec.json.encode((self.sort, value, number))
        return base64.urlsafe_b64encode(text).decode().rstrip("=")


class PageFinder:
    """Keeps the first rows of a page, and counts all that match."""

    def __init__(self, query: ListQuery) -> None:
        self.total = 0
        self._query = query
        self._value = _VALUES.get(query.sort, lambda row: row.name)
        self._first: list[Mark] = []

    def add(self, rows: Sequence[ListRow]) -> None:
        """Takes in the next rows, some thousands at most: they are sorted at once."""
        query = self._query
        found = [row for row in rows if query.matches(row)]
        self.total += len(found)
        marks = [mark for row in found if self._is_within(mark := (self._value(row), row.number))]
        if marks:
            self._first = sorted([*self._first, *marks], reverse=query.descending)
            del self._first[query.limit + 1 :]

    def _is_within(self, mark: Mark) -> bool:
        query = self._query
        if query.after is not None and not self._is_before(query.after, mark):
            return False
        full = len(self._first) > query.limit
        return not full or self._is_before(mark, self._first[-1])

    def _is_before(self, mark: Mark, other: Mark) -> bool:
        return mark > other if self._query.descending else mark < other

    @property
    def numbers(self) -> list[int]:
        """The numbers of the page's entries, in order."""
        return [number for _, number in self._first[: self._query.limit]]

    @property
    def next_cursor(self) -> str | None:
        query = self._query
        if len(self._first) <= query.limit:
            return None
        return query.cursor_at(self._first[query.limit - 1])


_VALUES: dict[str, Callable[[ListRow], Any]] = {
    "id": row_number,
    "created_at": lambda row: row.created_at,
}


def parse_list_query(kind: EntryKind, parameters: Sequence[tuple[str, str]]) -> ListQuery:
    """Parses the parameters of a kind's list; Rejected names the one that does not fit."""
    fields = list_fields(kind)
    values = unique_parameters(parameters, _known(fields))
    sort, descending = _parse_sort(values.get("sort", ""), fields)
    q = _parse_search(values.get("q", ""))
    return ListQuery(
        limit=parse_limit(values.get("limit", "100")),
        q=q.casefold(),
        number=parse_public_id(kind, q) or 0,
        ids=_parse_ids(values, "id", kind),
        status=_parse_status(values.get("status", ""), fields),
        campaigns=_parse_ids(values, "campaign_id", "campaign"),
        affiliates=_parse_ids(values, "affiliate_id", "affiliate"),
        sort=sort,
        descending=descending,
        after=_parse_cursor(values.get("cursor"), sort),
    )


def parse_limit(text: str) -> int:
    """Parses the size of a page; Rejected for what is none."""
    limit = parse_whole_number(text)
    if limit is None or not 1 <= limit <= PAGE_MAX:
        raise _invalid("limit", f"must be from 1 to {PAGE_MAX}")
    return limit


def sorts_of(fields: ListFields) -> tuple[str, ...]:
    """Lists what a kind's list can be sorted by; each may have a `-` before it."""
    return ("id", "created_at", *([fields.name] if fields.name else []))


def _known(fields: ListFields) -> set[str]:
    references = {f"{kind}_id" for kind in fields.references}
    status = {"status"} if fields.statuses else set[str]()
    return {"limit", "cursor", "q", "id", "sort"} | references | status


def unique_parameters(parameters: Sequence[tuple[str, str]], known: set[str]) -> dict[str, str]:
    """Maps parameters by name; Rejected for an unknown or a repeated one."""
    values: dict[str, str] = {}
    for name, value in parameters:
        if name not in known:
            raise Rejected(Reason.unknown_field, "is not a known parameter", field=name[:64])
        if name in values:
            raise _invalid(name, "is given twice")
        values[name] = value
    return values


def _parse_search(text: str) -> str:
    text = text.strip()
    if len(text) > SEARCH_MAX or "\n" in text:
        raise _invalid("q", f"must be one line of at most {SEARCH_MAX} characters")
    return text


def _parse_status(text: str, fields: ListFields) -> str:
    if text and text not in fields.statuses:
        raise _invalid("status", f"must be one of {', '.join(fields.statuses)}")
    return text


def _parse_ids(values: Mapping[str, str], name: str, kind: EntryKind) -> frozenset[int]:
    texts = values[name].split(",") if values.get(name) else []
    if len(texts) > VALUES_MAX:
        raise _invalid(name, f"has more than {VALUES_MAX} values")
    numbers: set[int] = set()
    for text in texts:
        number = parse_public_id(kind, text.strip())
        if number is None:
            raise _invalid(name, f"{text[:40]!r} is no {kind}'s id")
        numbers.add(number)
    return frozenset(numbers)


def _parse_sort(text: str, fields: ListFields) -> tuple[str, bool]:
    name = text.removeprefix("-") or "id"
    known = sorts_of(fields)
    if name not in known or text == "-":
        raise _invalid("sort", f"must be one of {', '.join(known)}, or -name to begin at the end")
    return name, text.startswith("-")


def _parse_cursor(text: str | None, sort: str) -> Mark | None:
    if text is None:
        return None
    mark = _parse_number_mark(text) if sort == "id" else _parse_value_mark(text, sort)
    if mark is None:
        raise _invalid("cursor", "is not a cursor of this list")
    return mark


def _parse_number_mark(text: str) -> Mark | None:
    number = parse_whole_number(text)
    return None if number is None else (number, number)


def _parse_value_mark(text: str, sort: str) -> Mark | None:
    kind = tuple[str, float, int] if sort == "created_at" else tuple[str, str, int]
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        of, value, number = msgspec.json.decode(content, type=kind)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None
    return (value, number) if of == sort else None


def _invalid(field: str, message: str) -> Rejected:
    return Rejected(Reason.invalid_field, message, field=field)

"""Links as CSV: what `linkjolt links import` reads and `links export` writes."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from linkjolt.api.csv_cells import unescape
from linkjolt.api.links import LinkAnswer, LinkForm
from linkjolt.reasons import Reason, Rejected

REQUIRED = ("campaign_id", "affiliate_id", "destination")
COLUMNS = (*REQUIRED, "tracking_code", "pass_params", "fallback_url")
# Written by an export, and passed over when that file is read again.
EXPORTED = (*COLUMNS, "url")


class BadCsv(Exception):
    """The file as a whole cannot be read; the message says why in one line."""


class Row(msgspec.Struct, frozen=True):
    """One record, the number of its last line in the file, and the link that it asks for."""

    line: int
    form: LinkForm | Rejected


def read_rows(path: str) -> Iterator[Row]:
    """The records of a UTF-8 file with a header; BadCsv where it is no such file."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            _check_header(list(reader.fieldnames or ()))
            for cells in reader:
                yield Row(reader.line_num, _form(cells))
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadCsv(f"{Path(path).name} after line {reader.line_num}: {error}") from None


def _check_header(columns: Sequence[str]) -> None:
    for column in REQUIRED:
        if column not in columns:
            raise BadCsv(f"the first line must name the columns; {column} is missing")
    for column in columns:
        if column not in EXPORTED:
            raise BadCsv(f"{column!r} is not a known column: {', '.join(COLUMNS)}")


def _form(cells: Mapping[str, object]) -> LinkForm | Rejected:
    if any(not isinstance(cell, str) and cell is not None for cell in cells.values()):
        return Rejected(Reason.bad_request, "the row has more cells than the first line")
    values = {column: unescape(str(cells.get(column) or "").strip()) for column in COLUMNS}
    for column in REQUIRED:
        if not values[column]:
            return Rejected(Reason.missing_field, "is required", field=column)
    return LinkForm(
        campaign_id=values["campaign_id"],
        affiliate_id=values["affiliate_id"],
        destination=values["destination"],
        tracking_code=values["tracking_code"] or None,
        pass_params=read_pass_params(values["pass_params"]),
        fallback_url=values["fallback_url"],
    )


def read_pass_params(cell: str) -> Literal["all", "none"] | tuple[str, ...]:
    """`all` (also where empty), `none`, or names with spaces between them."""
    if cell == "none":
        return "none"
    return "all" if cell in ("", "all") else tuple(cell.split())


def cells_of(link: LinkAnswer) -> list[str]:
    """A link as the cells of `EXPORTED`."""
    passed = link.pass_params if isinstance(link.pass_params, str) else " ".join(link.pass_params)
    return [
        link.campaign_id,
        link.affiliate_id,
        link.destination,
        link.tracking_code,
        passed,
        link.fallback_url,
        link.url,
    ]

"""Defines the commands of `linkjolt` that check, repair and clean the warehouse."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
import msgspec

from aggregator.audit_log.verify import summarize_verification
from aggregator.maintenance import operations
from aggregator.maintenance.audit import Audit, summarize
from aggregator.maintenance.executor import access_warehouse
from aggregator.maintenance.operations import MonthRange, NoParameters, RejectFilter, ReplayFilter
from aggregator.maintenance.rejects import ReplayResult, place_of
from aggregator.maintenance.restore import RestoredStream
from aggregator.rows.batches import Reject
from linkjolt import redis_keys
from linkjolt.position import time_ms
from linkjolt.reasons import Reason
from linkjolt.runtime.command_group import CommandGroup

_data_option = click.option("--data", help="Data directory of the instance.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
_reason_option = click.option(
    "--reason", type=click.Choice([reason.value for reason in Reason]), help="Of one reason only."
)
_day = click.DateTime(formats=["%Y-%m-%d", "%Y-%m"])
_BODY_SHOWN = 100


def _echo_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)))


def _lines(values: Sequence[object], otherwise: str) -> str:
    return "\n".join(str(value) for value in values) or otherwise


@click.command("audit")
@_data_option
@_json_option
@click.option("--repair", "repair_too", is_flag=True, help="Rebuild rollups that differ from raw.")
def audit_command(data: str | None, as_json: bool, repair_too: bool) -> None:
    """Checks that accepted = stored + waiting + rejected and every rollup equals raw.

    An event that waits for longer than LINKJOLT_STALE_AFTER_SECONDS is not clean either.
    With --repair the months of rollups that differ are rebuilt, then everything is checked again.
    Exit status 0 if all is clean, else 1.
    """
    result = (
        _repair(data, as_json)
        if repair_too
        else access_warehouse(operations.AUDIT, data, NoParameters())
    )
    if not as_json:
        click.echo(summarize(result))
    elif not repair_too:
        _echo_json(result)
    sys.exit(0 if result.clean else 1)


def _repair(data: str | None, as_json: bool) -> Audit:
    result = access_warehouse(operations.REPAIR, data, NoParameters())
    if as_json:
        _echo_json(result)
    else:
        click.echo(_lines(result.rollups, "no rollup to repair"))
    return result.audit


@click.group(cls=CommandGroup, name="audit-log")
def audit_log() -> None:
    """Verifies the audit log."""


@audit_log.command("verify")
@_data_option
@_json_option
def verify_audit_log(data: str | None, as_json: bool) -> None:
    """Checks that no row of the audit log was changed, dropped, inserted or moved.

    Exit status 0 if every account's chain of hashes leads to the newest hash that Redis keeps,
    else 1.
    """
    result = access_warehouse(operations.VERIFY_AUDIT_LOG, data, NoParameters())
    if as_json:
        _echo_json(result)
    else:
        click.echo(summarize_verification(result))
    sys.exit(0 if result.clean else 1)


@click.command()
@_data_option
@_json_option
@click.option("--from", "first", type=_day, required=True, help="A day of the first month.")
@click.option("--to", "last", type=_day, required=True, help="A day of the last month.")
@click.option("--rollup", type=click.Choice(operations.TABLES), help="This rollup only.")
def rebuild(
    data: str | None, as_json: bool, first: datetime, last: datetime, rollup: str | None
) -> None:
    """Rebuilds rollups from raw events, whole months of ingest time, different or not."""
    rollups = (rollup,) if rollup else operations.TABLES
    months = first.year * 100 + first.month, last.year * 100 + last.month
    if months[0] > months[1]:
        raise click.BadParameter("is before --from", param_hint="--to")
    rebuilt = access_warehouse(operations.REBUILD, data, MonthRange(*months, rollups))
    if as_json:
        _echo_json(rebuilt)
    else:
        click.echo(_lines(rebuilt, "nothing is stored in these months"))


@click.command()
@_data_option
@_json_option
@click.option(
    "--from-stream", is_flag=True, required=True, help="Read what the streams still hold."
)
def restore(data: str | None, as_json: bool, from_stream: bool) -> None:
    """Stores events again that raw lost and the streams still hold, each once.

    Repairs the rollups of the months that got events. Exit status 0 if no accepted event is missing
    afterwards, else 1.
    """
    result = access_warehouse(operations.RESTORE, data, NoParameters())
    if as_json:
        _echo_json(result)
    else:
        click.echo("\n".join(map(_restored_line, result.streams)))
        click.echo(_lines(result.rollups, "no rollup to repair"))
        click.echo("complete" if result.complete else "NOT COMPLETE")
    sys.exit(0 if result.complete else 1)


@click.command()
@_data_option
@_json_option
@click.option("--tests", is_flag=True, required=True, help="All that test keys have posted.")
def purge(data: str | None, as_json: bool, tests: bool) -> None:
    """Deletes all events posted with test keys, of every account; the keys stay valid."""
    result = access_warehouse(operations.PURGE, data, NoParameters())
    if as_json:
        _echo_json(result)
    else:
        click.echo(f"purged {result.events} events and {result.states} live states")


def _restored_line(stream: RestoredStream) -> str:
    since = f" since {stream.since:%Y-%m-%dT%H:%M:%SZ}" if stream.since else ""
    return (
        f"{stream.stream}: the stream holds {stream.held} events{since}, {stream.older} older ones"
        f" it does not; restored {stream.restored}, rejected {stream.rejected},"
        f" waiting {stream.waiting}" + (f"  MISSING {stream.missing}" if stream.missing else "")
    )


@click.group(cls=CommandGroup)
def rejects() -> None:
    """Shows and replays accepted lines that could not be stored."""


@rejects.command("list")
@_data_option
@_json_option
@_reason_option
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
def list_rejects(data: str | None, as_json: bool, reason: str | None, limit: int) -> None:
    """Prints rejects, the newest first: place, instant, stream, reason, message, body."""
    rows = access_warehouse(
        operations.REJECTS, data, RejectFilter(reason=reason or "", limit=limit)
    )
    if as_json:
        _echo_json(rows)
    else:
        click.echo("\n".join(map(_reject_line, rows)) or "no rejects")


def _reject_line(reject: Reject) -> str:
    # A body may contain control characters of a terminal.
    body = ascii(reject.body[:_BODY_SHOWN])
    place, at = place_of(reject), _rejected_at(reject)
    return f"{place}  {at}  {_stream_name(reject)}  {reject.reason}  {reject.message}  {body}"


def _rejected_at(reject: Reject) -> str:
    at = datetime.fromtimestamp(time_ms(reject.pos) / 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _stream_name(reject: Reject) -> str:
    stream = redis_keys.stream(reject.s)
    return f"{stream.kind}/{stream.shard}"


@rejects.command()
@_data_option
@_json_option
@click.argument("place", metavar="S/POS/LINE")
def show(data: str | None, as_json: bool, place: str) -> None:
    """Prints one reject with its whole body; an address in it is truncated."""
    [reject] = access_warehouse(operations.REJECTS, data, RejectFilter(place=place))
    if as_json:
        _echo_json(reject)
        return
    click.echo(f"place    {place_of(reject)}")
    click.echo(f"at       {_rejected_at(reject)}")
    click.echo(f"stream   {_stream_name(reject)}")
    click.echo(f"account  {reject.account}")
    click.echo(f"reason   {reject.reason}")
    click.echo(f"message  {reject.message}")
    click.echo(reject.body if reject.body.isprintable() else ascii(reject.body))


@rejects.command()
@_data_option
@_json_option
@_reason_option
@click.argument("place", metavar="[S/POS/LINE]", default="")
@click.option("--all", "everything", is_flag=True, help="All that were not replayed yet.")
@click.option("--force", is_flag=True, help="Also what was replayed before.")
def replay(
    data: str | None,
    as_json: bool,
    reason: str | None,
    place: str,
    everything: bool,
    force: bool,
) -> None:
    """Publishes rejected lines again as new events, where they can be read now.

    Exit status 1 if the one given by its place cannot be replayed.
    """
    if bool(place) == everything:
        raise click.UsageError("give a place, S/POS/LINE, or --all")
    results = access_warehouse(operations.REPLAY, data, ReplayFilter(place, reason or "", force))
    refused = [result for result in results if result.refusal]
    if as_json:
        _echo_json(results)
    else:
        for result in refused if everything else results:
            click.echo(_replayed_line(result))
        click.echo(f"replayed {len(results) - len(refused)}, not replayed {len(refused)}")
    sys.exit(1 if refused and place else 0)


def _replayed_line(result: ReplayResult) -> str:
    return f"{result.place}: {result.refusal or 'replayed'}"

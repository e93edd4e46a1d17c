"""`linkjolt audit`, `rebuild`, `restore`, `rejects`: what the operator asks of the warehouse."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
import msgspec

from aggregator.maintenance import operations
from aggregator.maintenance.audit import Audit, summary
from aggregator.maintenance.executor import perform
from aggregator.maintenance.operations import Again, Nothing, Range, Wanted
from aggregator.maintenance.rejects import Replayed, place_of
from aggregator.maintenance.restore import RestoredStream
from aggregator.rows.batches import Reject
from linkjolt import redis_keys
from linkjolt.position import time_ms
from linkjolt.reasons import Reason

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
@click.option("--repair", "mend", is_flag=True, help="Rebuild rollups that differ from raw.")
def audit_command(data: str | None, as_json: bool, mend: bool) -> None:
    """Checks that accepted = stored + waiting + rejected and every rollup equals raw.

    With --repair the months of rollups that differ are rebuilt, then all is checked again.
    Exit status 0 when all is clean, else 1.
    """
    found = _repair(data, as_json) if mend else perform(operations.AUDIT, data, Nothing())
    if not as_json:
        click.echo(summary(found))
    elif not mend:
        _echo_json(found)
    sys.exit(0 if found.clean else 1)


def _repair(data: str | None, as_json: bool) -> Audit:
    repaired = perform(operations.REPAIR, data, Nothing())
    if as_json:
        _echo_json(repaired)
    else:
        click.echo(_lines(repaired.rollups, "no rollup to repair"))
    return repaired.audit


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
    done = perform(operations.REBUILD, data, Range(*months, rollups))
    if as_json:
        _echo_json(done)
    else:
        click.echo(_lines(done, "nothing is stored in these months"))


@click.command()
@_data_option
@_json_option
@click.option(
    "--from-stream", is_flag=True, required=True, help="Read what the streams still hold."
)
def restore(data: str | None, as_json: bool, from_stream: bool) -> None:
    """Stores again what raw lost and the streams still hold, each event once.

    Rollups of the months that got events are repaired. Exit status 0 when nothing accepted is
    missing afterwards, else 1.
    """
    done = perform(operations.RESTORE, data, Nothing())
    if as_json:
        _echo_json(done)
    else:
        click.echo("\n".join(map(_restored, done.streams)))
        click.echo(_lines(done.rollups, "no rollup to repair"))
        click.echo("complete" if done.complete else "NOT COMPLETE")
    sys.exit(0 if done.complete else 1)


@click.command()
@_data_option
@_json_option
@click.option("--tests", is_flag=True, required=True, help="All that test keys have posted.")
def purge(data: str | None, as_json: bool, tests: bool) -> None:
    """Deletes what was posted with test keys, of every account; their keys stay valid."""
    done = perform(operations.PURGE, data, Nothing())
    if as_json:
        _echo_json(done)
    else:
        click.echo(f"purged {done.events} events and {done.states} live states")


def _restored(stream: RestoredStream) -> str:
    since = f" since {stream.since:%Y-%m-%dT%H:%M:%SZ}" if stream.since else ""
    return (
        f"{stream.stream}: the stream holds {stream.held} events{since}, {stream.older} older ones"
        f" it does not; restored {stream.restored}, rejected {stream.rejected},"
        f" waiting {stream.waiting}" + (f"  MISSING {stream.missing}" if stream.missing else "")
    )


@click.group()
def rejects() -> None:
    """Shows and replays accepted lines that could not be stored."""


@rejects.command("list")
@_data_option
@_json_option
@_reason_option
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
def list_rejects(data: str | None, as_json: bool, reason: str | None, limit: int) -> None:
    """Prints rejects, the newest first: place, instant, stream, reason, message, body."""
    found = perform(operations.REJECTS, data, Wanted(reason=reason or "", limit=limit))
    if as_json:
        _echo_json(found)
    else:
        click.echo("\n".join(map(_listed, found)) or "no rejects")


def _listed(reject: Reject) -> str:
    # A body may hold what a terminal would obey.
    body = ascii(reject.body[:_BODY_SHOWN])
    place, at = place_of(reject), _at(reject)
    return f"{place}  {at}  {_stream(reject)}  {reject.reason}  {reject.message}  {body}"


def _at(reject: Reject) -> str:
    at = datetime.fromtimestamp(time_ms(reject.pos) / 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _stream(reject: Reject) -> str:
    stream = redis_keys.stream(reject.s)
    return f"{stream.kind}/{stream.shard}"


@rejects.command()
@_data_option
@_json_option
@click.argument("place", metavar="S/POS/LINE")
def show(data: str | None, as_json: bool, place: str) -> None:
    """Prints one reject with its whole body; an address in it is truncated."""
    [found] = perform(operations.REJECTS, data, Wanted(place=place))
    if as_json:
        _echo_json(found)
        return
    click.echo(f"place    {place_of(found)}")
    click.echo(f"at       {_at(found)}")
    click.echo(f"stream   {_stream(found)}")
    click.echo(f"account  {found.account}")
    click.echo(f"reason   {found.reason}")
    click.echo(f"message  {found.message}")
    click.echo(found.body if found.body.isprintable() else ascii(found.body))


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

    Exit status 1 when the one named by its place cannot be replayed.
    """
    if bool(place) == everything:
        raise click.UsageError("give a place, S/POS/LINE, or --all")
    done = perform(operations.REPLAY, data, Again(place, reason or "", force))
    refused = [one for one in done if one.refusal]
    if as_json:
        _echo_json(done)
    else:
        for one in refused if everything else done:
            click.echo(_replayed(one))
        click.echo(f"replayed {len(done) - len(refused)}, not replayed {len(refused)}")
    sys.exit(1 if refused and place else 0)


def _replayed(one: Replayed) -> str:
    return f"{one.place}: {one.refusal or 'replayed'}"

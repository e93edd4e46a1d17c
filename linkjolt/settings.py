"""Reads typed settings, once, from LINKJOLT_* variables and an optional TOML file."""

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, TypeVar, get_args, get_type_hints
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Meta

PREFIX = "LINKJOLT_"
# Variables of this prefix that are no settings: the API key of commands, the settings file, and
# what processes pass to each other.
OTHER_VARIABLES = tuple(
    PREFIX + name for name in ("KEY", "CONFIG", "FAULT", "READY_FD", "SUPERVISOR_PID")
)
_TYPO_EDITS_MAX = 2
# A request a microsecond, the unit in which limits are counted.
RATE_MAX_PER_MINUTE = 60_000_000
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1, le=1 << 30)]
PerMinute = Annotated[int, Meta(ge=0, le=RATE_MAX_PER_MINUTE)]
Bytes = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}\Z")]


def _doc(text: str) -> Meta:
    return Meta(description=text)


class SharedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of every process."""

    data: Annotated[str, _doc("Directory of the embedded servers' data and of run.json.")] = "data"
    redis_url: Annotated[
        str, _doc("Redis-protocol server; empty: `linkjolt up` starts an embedded one.")
    ] = ""
    secret_key_file: Annotated[
        str,
        _doc(
            "File of the keys that seal secrets in Redis, the same on every machine; empty:"
            " secret.key in the data directory."
        ),
    ] = ""
    clickhouse_url: Annotated[
        str, _doc("ClickHouse over HTTP; empty: the embedded engine under the data directory.")
    ] = ""
    host: Annotated[str, _doc("Address that the listeners bind.")] = "127.0.0.1"
    edge_port: Annotated[Port, _doc("Port of tracking links and conversions.")] = 8000
    reports_port: Annotated[Port, _doc("Port of reports.")] = 8001
    public_url: Annotated[
        str, _doc("The edge's address as browsers see it; empty: host and edge port.")
    ] = ""
    reports_public_url: Annotated[
        str, _doc("The dashboard's address as browsers see it; empty: host and reports port.")
    ] = ""
    shards: Annotated[
        int, Meta(ge=1, le=1024), _doc("Number of click and of conversion streams.")
    ] = 1
    trusted_proxies: Annotated[
        str,
        _doc("Proxies whose headers for address, country, region are believed: networks by comma."),
    ] = "127.0.0.0/8,::1/128"
    client_ip_header: Annotated[
        str,
        Meta(pattern=r"^(?i:X-Forwarded-For|Forwarded|X-Real-IP|CF-Connecting-IP)\Z"),
        _doc(
            "Header in which trusted proxies name the client's address: X-Forwarded-For,"
            " Forwarded, X-Real-IP or CF-Connecting-IP."
        ),
    ] = "X-Forwarded-For"
    rate_key_per_minute: Annotated[
        PerMinute, _doc("Requests a minute of an API key without a limit of its own; 0: no limit.")
    ] = 6_000
    rate_account_per_minute: Annotated[
        PerMinute, _doc("Requests a minute of all API keys of an account; 0: no limit.")
    ] = 12_000
    rate_failures_per_minute: Annotated[
        PerMinute, _doc("Failed authentications a minute of an address; 0: no limit.")
    ] = 20
    rate_intake_per_minute: Annotated[
        PerMinute,
        _doc(
            "Posts of conversions and postbacks a minute of an API key, which no other limit"
            " counts; 0: no limit."
        ),
    ] = 0
    tls_cert: Annotated[
        str,
        _doc(
            "File of the certificate and its chain (PEM), with which both listeners speak TLS;"
            " taken up anew when it is renewed. Empty: they speak plain HTTP."
        ),
    ] = ""
    tls_key: Annotated[str, _doc("File of that certificate's private key (PEM, unencrypted).")] = ""
    require_https: Annotated[
        bool,
        _doc(
            "Refuse plain HTTP: API requests get an error, visitors are redirected to https."
            " Behind a trusted proxy its X-Forwarded-Proto counts."
        ),
    ] = False
    hsts_seconds: Annotated[
        int,
        Meta(ge=0, le=1 << 30),
        _doc("How long browsers that came over https use nothing else (HSTS); 0: they forget it."),
    ] = 31_536_000
    conversion_state_days: Annotated[
        int, Meta(ge=0), _doc("Days an order's reservation is kept in Redis; 0 is for good.")
    ] = 0
    stale_after_seconds: Annotated[
        Seconds,
        _doc("How long an accepted event may wait to be stored; then `linkjolt audit` fails."),
    ] = 300.0
    webhook_allow_private: Annotated[
        bool,
        _doc("Allow webhooks to private addresses, over http and to any port: for development."),
    ] = False
    webhook_allowed_networks: Annotated[
        str,
        _doc("Private networks to which webhooks may go, by comma; there over http, to any port."),
    ] = ""
    webhook_endpoints_max: Annotated[
        Count, _doc("Webhook endpoints that an account may have, with those of its test keys.")
    ] = 100
    webhook_backlog_count: Annotated[
        Count, _doc("Deliveries that may be pending for an endpoint; later events wait in raw.")
    ] = 100_000
    webhook_backlog_bytes: Annotated[
        Bytes, _doc("Bytes of Redis that an endpoint's pending deliveries may take.")
    ] = 64 << 20
    list_rows_max: Annotated[
        Count,
        _doc("Registry entries that a process keeps in memory for lists, of some 230 bytes each."),
    ] = 500_000
    shutdown_seconds: Annotated[
        Seconds, _doc("How long open requests may still run after SIGTERM.")
    ] = 5.0
    log_level: Annotated[
        str, Meta(pattern="^(debug|info|warning|error)$"), _doc("Least level of the log.")
    ] = "info"
    log_format: Annotated[
        str,
        Meta(pattern=r"^(console|json)?\Z"),
        _doc("Log lines as `console` or `json`; empty: console on a terminal, else JSON."),
    ] = ""

    @property
    def scheme(self) -> str:
        """The scheme in which the listeners are reached directly."""
        return "https" if self.tls_cert else "http"

    def secret_key_path(self) -> Path:
        return Path(self.secret_key_file or Path(self.data, "secret.key"))

    def edge_url(self) -> str:
        return self.public_url.rstrip("/") or f"{self.scheme}://{self.host}:{self.edge_port}"

    def reports_url(self) -> str:
        own = f"{self.scheme}://{self.host}:{self.reports_port}"
        return self.reports_public_url.rstrip("/") or own


class EdgeSettings(SharedSettings, frozen=True, kw_only=True):
    """Settings of an edge process."""

    country_header: Annotated[
        HeaderName,
        _doc(
            "Header that a trusted proxy sets to the visitor's country, such as CF-IPCountry;"
            " empty: none."
        ),
    ] = ""
    region_header: Annotated[
        HeaderName,
        _doc(
            "Header that a trusted proxy sets to the region of that country, such as"
            " CF-Region-Code; empty: none."
        ),
    ] = ""
    fast_clicks: Annotated[
        bool,
        _doc("Answer plain clicks and posts before the application; both give the same answers."),
    ] = True
    links_cached: Annotated[Count, _doc("Tracking links kept in memory by one edge.")] = 100_000
    unknown_codes_cached: Annotated[
        Count, _doc("Unknown codes and keys remembered by one edge.")
    ] = 50_000
    redis_timeout_seconds: Annotated[
        Seconds, _doc("How long Redis may take to answer before the edge continues without it.")
    ] = 0.25
    spool_max_bytes: Annotated[
        Bytes, _doc("Bound of one edge's file of events accepted while Redis is unavailable.")
    ] = 1 << 30
    spool_drain_events_per_second: Annotated[
        Count, _doc("How fast one edge replays the spooled events of a stream once Redis is back.")
    ] = 20_000
    waiting_max_bytes: Annotated[
        Bytes, _doc("Bytes of events that an edge holds in memory during a publish.")
    ] = 64 << 20
    token_seconds: Annotated[
        int, Meta(ge=1, le=3600), _doc("How long an access token of an OAuth client is valid.")
    ] = 3600
    default_currency: Annotated[
        str, Meta(min_length=3, max_length=3), _doc("Currency of conversions without a campaign.")
    ] = "USD"


class AggregatorSettings(SharedSettings, frozen=True, kw_only=True):
    """Settings of the aggregator."""

    slice_ms: Annotated[
        int, Meta(ge=50, le=60_000), _doc("Width of a slice of stream time, one insert each.")
    ] = 500
    batch_rows: Annotated[Count, _doc("Rows at which a batch is cut between entries.")] = 200_000
    stream_retention_hours: Annotated[
        float, Meta(ge=0), _doc("How long stored events stay in the streams.")
    ] = 24.0
    stream_memory_max_bytes: Annotated[
        Bytes,
        _doc(
            "Redis memory above which stored events are trimmed before their time; at most half of"
            " what Redis may use."
        ),
    ] = 1 << 30
    minute_rollup_hours: Annotated[
        int, Meta(ge=50, le=10_000), _doc("How long the minute rollup is kept.")
    ] = 50
    raw_retention_months: Annotated[
        int, Meta(ge=0, le=1_200), _doc("Months for which raw clicks are kept; 0 is for good.")
    ] = 0
    webhook_log_days: Annotated[
        Count, _doc("Days for which the warehouse keeps the log of webhook deliveries.")
    ] = 30
    lease_seconds: Annotated[
        float,
        Meta(ge=1, le=600),
        _doc("How long an aggregator that died keeps its streams from the others."),
    ] = 10.0
    clickhouse_engine: Annotated[
        str,
        Meta(pattern=r"^(merge_tree|replicated)\Z"),
        _doc("Tables of a ClickHouse server: merge_tree, or replicated (they need Keeper)."),
    ] = "merge_tree"
    clickhouse_cluster: Annotated[
        str,
        Meta(pattern=r"^\w*\Z"),
        _doc("ClickHouse cluster on all of whose servers tables are made; empty: on one."),
    ] = ""


class ReportsSettings(SharedSettings, frozen=True, kw_only=True):
    """Settings of the reports process."""

    report_readers: Annotated[
        int, Meta(ge=1, le=64), _doc("Warehouse connections that serve reports.")
    ] = 3
    report_raw_max_seconds: Annotated[Seconds, _doc("How long reports may read raw events.")] = 10.0
    session_idle_seconds: Annotated[Seconds, _doc("End of a session without requests.")] = 43_200.0
    session_max_seconds: Annotated[Seconds, _doc("Longest session of a person.")] = 604_800.0
    live_clients_max: Annotated[
        int, Meta(ge=1, le=10_000), _doc("Clients that may listen to the live feed at once.")
    ] = 200
    live_clients_per_key_max: Annotated[
        int, Meta(ge=1, le=10_000), _doc("Clients of one API key that may listen at once.")
    ] = 8


class UpSettings(SharedSettings, frozen=True, kw_only=True):
    """Settings of `linkjolt up` itself; the processes that it starts read their own."""

    edges: Annotated[
        int, Meta(ge=0, le=256), _doc("Edge processes; 0: one per core less one, at least 1.")
    ] = 0
    redis_max_memory_bytes: Annotated[
        Bytes, _doc("Memory bound of the embedded Redis-protocol server.")
    ] = 2 << 30


KINDS: tuple[type[SharedSettings], ...] = (
    SharedSettings,
    EdgeSettings,
    AggregatorSettings,
    ReportsSettings,
    UpSettings,
)
# Settings that are networks in CIDR notation, by comma.
_NETWORKS = frozenset(("trusted_proxies", "webhook_allowed_networks"))
S = TypeVar("S", bound=SharedSettings)


class BadSetting(Exception):
    """A variable or key of the settings file that stops the start; the message names it."""


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Finds the LINKJOLT_* variables that this release does not know.

    BadSetting, naming both, for one that is within two edits of a known one: it is a typing error.
    A variable further off may be a newer release's, and must not break this one.
    """
    fields = {field for kind in KINDS for field in kind.__struct_fields__}
    known = [*(PREFIX + field.upper() for field in sorted(fields)), *OTHER_VARIABLES]
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    for name in unknown:
        meant = min(known, key=lambda other: edits(name, other))
        if edits(name, meant) <= _TYPO_EDITS_MAX:
            raise BadSetting(f"{name} is not a setting: did you mean {meant}?")
    return unknown


def edits(text: str, other: str) -> int:
    """Counts the insertions, deletions and replacements between two texts (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(text, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            replaced = diagonal + (left != right)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, replaced)
    return row[-1]


def load(
    kind: type[S],
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] | None = None,
) -> S:
    """Loads one process's settings: overrides, then variables, then the file of LINKJOLT_CONFIG."""
    unknown_variables(environ)
    values: dict[str, object] = _from_file(environ.get(PREFIX + "CONFIG", ""))
    for field in kind.__struct_fields__:
        if (text := environ.get(PREFIX + field.upper())) is not None:
            values[field] = text
    values |= {k: v for k, v in (overrides or {}).items() if v is not None}
    known = {field: values[field] for field in kind.__struct_fields__ if field in values}
    for field, value in known.items():
        try:
            msgspec.convert({field: value}, kind, strict=False)
        except msgspec.ValidationError as error:
            reason = str(error).partition(" - at ")[0]
            raise BadSetting(f"{PREFIX}{field.upper()}: {reason}") from None
        if field in _NETWORKS:
            _check_networks(f"{PREFIX}{field.upper()}", str(value))
    return msgspec.convert(known, kind, strict=False)


def _check_networks(variable: str, value: str) -> None:
    for text in filter(None, map(str.strip, value.split(","))):
        try:
            ip_network(text)
        except ValueError as error:
            raise BadSetting(f"{variable}: {text!r} is no network: {error}") from None


def _from_file(path: str) -> dict[str, object]:
    if not path:
        return {}
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadSetting(f"{PREFIX}CONFIG: {path}: {error}") from None
    if unknown := sorted(values.keys() - {f for kind in KINDS for f in kind.__struct_fields__}):
        raise BadSetting(f"{PREFIX}CONFIG: {path}: unknown setting {unknown[0]}")
    return values


class Shown(msgspec.Struct, frozen=True):
    variable: str
    value: str
    description: str


def shown(environ: Mapping[str, str] = os.environ) -> list[Shown]:
    """Lists every setting for people: variable, value with passwords masked, a sentence."""
    rows: dict[str, Shown] = {}
    for kind in KINDS:
        settings = load(kind, environ)
        for field in msgspec.structs.fields(kind):
            value = mask(str(getattr(settings, field.name)))
            variable = PREFIX + field.name.upper()
            rows[field.name] = Shown(variable, value, _description(kind, field.name))
    return list(rows.values())


def _description(kind: type[SharedSettings], field: str) -> str:
    notes = get_args(get_type_hints(kind, include_extras=True)[field])[1:]
    return [note.description for note in notes if note.description][-1]


def mask(url: str) -> str:
    """Hides the user and password of a URL."""
    if "://" not in url or "@" not in url:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"***@{host}"))

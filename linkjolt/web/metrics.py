"""Declares the metrics of every listener."""

from prometheus_client import Counter, Gauge

CONNECTIONS = Gauge(
    "linkjolt_connections",
    "Open connections of a listener.",
    multiprocess_mode="livesum",
)
CONNECTIONS_CLOSED = Counter(
    "linkjolt_connections_closed",
    "Connections that a listener closed before their clients did: for room, a late or failed"
    " handshake, a late head or body, answers that nobody reads, too many requests behind one.",
    ["reason"],
)
# Without TLS there is no child, and so no value of which an alert could take notice.
CERTIFICATE_DAYS = Gauge(
    "linkjolt_tls_certificate_days",
    "Days until the certificate that a listener serves expires; negative afterwards.",
    ["listener"],
    multiprocess_mode="livemin",
)
CERTIFICATE_RELOADS = Counter(
    "linkjolt_tls_certificate_reloads",
    "Renewed certificates, by whether they were taken up or could not be used.",
    ["outcome"],
)
UNAUTHORIZED = Counter(
    "linkjolt_unauthorized", "Requests answered 401: without credentials, or with refused ones."
)

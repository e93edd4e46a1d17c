"""Lists the benches of the whole pipeline: freshness, memory, aggregator, webhooks, starts."""

from loadtests.bench.aggregator import measure_aggregator
from loadtests.bench.memory import measure_memory
from loadtests.bench.plan import Bench
from loadtests.bench.startup import measure_fresh_clone, measure_installed
from loadtests.bench.visible import measure_visible
from loadtests.bench.webhooks import measure_webhooks

_NOTHING: frozenset[str] = frozenset()
WHOLE_BENCHES = (
    Bench("visible", "how soon a click is in a report", _NOTHING, measure_visible),
    Bench("memory", "Redis memory of a waiting click", frozenset({"wrk"}), measure_memory),
    Bench("aggregator", "how fast a full stream is stored", _NOTHING, measure_aggregator),
    Bench("webhooks", "how fast webhooks are delivered", _NOTHING, measure_webhooks),
    Bench("start", "how soon the first redirect is answered", _NOTHING, measure_installed),
    Bench("install", "the same from a fresh clone", _NOTHING, measure_fresh_clone, on_request=True),
)

"""The budgets of the whole way: start, memory in between, aggregator, what reports show."""

from loadtests.bench.aggregator import aggregator
from loadtests.bench.memory import memory
from loadtests.bench.plan import Bench
from loadtests.bench.startup import fresh_clone, installed
from loadtests.bench.visible import visible
from loadtests.bench.webhooks import webhooks

_NOTHING: frozenset[str] = frozenset()
WHOLE_BENCHES = (
    Bench("visible", "how soon a click is in a report", _NOTHING, visible),
    Bench("memory", "what a waiting click costs Redis", frozenset({"wrk"}), memory),
    Bench("aggregator", "how fast what waits is stored", _NOTHING, aggregator),
    Bench("webhooks", "how fast webhooks are delivered", _NOTHING, webhooks),
    Bench("start", "how soon the first redirect is answered", _NOTHING, installed),
    Bench("install", "the same from a fresh clone", _NOTHING, fresh_clone, on_request=True),
)

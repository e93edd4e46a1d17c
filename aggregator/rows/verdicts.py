"""Whether a recorded request was a person's click: a verdict, and why, from closed lists."""

from typing import Literal

import msgspec

from linkjolt.clicks.user_agent import Agent, Kind
from linkjolt.events import Click
from linkjolt.verdict_reasons import VerdictReason

# One more with every change that could judge a stored click differently.
RULESET = 1


class Verdict(msgspec.Struct, frozen=True):
    verdict: Literal["human", "bot", "preview", "prefetch", "head"]
    reason: VerdictReason


_BY_AGENT: dict[Kind, Verdict] = {
    Kind.browser: Verdict("human", VerdictReason.none),
    Kind.preview: Verdict("preview", VerdictReason.link_preview),
    Kind.crawler: Verdict("bot", VerdictReason.crawler_list),
    Kind.headless: Verdict("bot", VerdictReason.headless_browser),
    Kind.library: Verdict("bot", VerdictReason.http_library),
    Kind.declared: Verdict("bot", VerdictReason.self_declared),
    Kind.unknown: Verdict("bot", VerdictReason.unknown_program),
    Kind.empty: Verdict("bot", VerdictReason.empty_user_agent),
}
_BY_REQUEST: dict[str, Verdict] = {
    "head": Verdict("head", VerdictReason.head_request),
    "prefetch": Verdict("prefetch", VerdictReason.prefetch_request),
}


def judge(click: Click, agent: Agent) -> Verdict:
    """What is known to be no click comes first, whoever sent it; then who sent it decides."""
    return judge_kind(click.kind, agent)


def judge_kind(kind: Literal["", "head", "prefetch"], agent: Agent) -> Verdict:
    """`judge` by the one field of the click that counts, so that its answer can be kept."""
    return _BY_REQUEST[kind] if kind else _BY_AGENT[agent.kind]

"""Judges whether a recorded request was a person's click: a verdict and its reason."""

from typing import Literal

import msgspec

from linkjolt.clicks.user_agent import AgentKind, ParsedUserAgent
from linkjolt.events import Click
from linkjolt.verdict_reasons import VerdictReason

# Incremented with every change that could judge a stored click differently.
RULESET = 1


class Verdict(msgspec.Struct, frozen=True):
    verdict: Literal["human", "bot", "preview", "prefetch", "head"]
    reason: VerdictReason


_BY_AGENT: dict[AgentKind, Verdict] = {
    AgentKind.browser: Verdict("human", VerdictReason.none),
    AgentKind.preview: Verdict("preview", VerdictReason.link_preview),
    AgentKind.crawler: Verdict("bot", VerdictReason.crawler_list),
    AgentKind.headless: Verdict("bot", VerdictReason.headless_browser),
    AgentKind.library: Verdict("bot", VerdictReason.http_library),
    AgentKind.declared: Verdict("bot", VerdictReason.self_declared),
    AgentKind.unknown: Verdict("bot", VerdictReason.unknown_program),
    AgentKind.empty: Verdict("bot", VerdictReason.empty_user_agent),
}
_BY_REQUEST: dict[str, Verdict] = {
    "head": Verdict("head", VerdictReason.head_request),
    "prefetch": Verdict("prefetch", VerdictReason.prefetch_request),
}


def judge(click: Click, agent: ParsedUserAgent) -> Verdict:
    """Judges a click by its kind of request first, then by its user agent."""
    return judge_kind(click.kind, agent)


def judge_kind(kind: Literal["", "head", "prefetch"], agent: ParsedUserAgent) -> Verdict:
    """Judges by the two values that matter, so that the verdict can be memoised."""
    return _BY_REQUEST[kind] if kind else _BY_AGENT[agent.kind]

"""Whether a recorded request was a person's click: a verdict, and why, from closed lists."""

from enum import StrEnum
from typing import Literal

import msgspec

from linkjolt.events import Click
from linkjolt.useragent import Agent, Kind

# One more with every change that could judge a stored click differently.
RULESET = 1


class VerdictReason(StrEnum):
    """Why a verdict is not plainly `human`; `SENTENCES` explains each."""

    none = ""
    head_request = "head_request"
    prefetch_request = "prefetch_request"
    link_preview = "link_preview"
    crawler_list = "crawler_list"
    headless_browser = "headless_browser"
    http_library = "http_library"
    self_declared = "self_declared"
    unknown_program = "unknown_program"
    empty_user_agent = "empty_user_agent"


SENTENCES: dict[VerdictReason, str] = {
    VerdictReason.none: "Nothing speaks against a person.",
    VerdictReason.head_request: "A HEAD request asks for no page.",
    VerdictReason.prefetch_request: "The browser loaded it ahead of any click.",
    VerdictReason.link_preview: "A chat or social network fetched the link to show a preview.",
    VerdictReason.crawler_list: "The user agent is on the list of known crawlers.",
    VerdictReason.headless_browser: "The user agent is that of a browser driven by a program.",
    VerdictReason.http_library: "The user agent is an HTTP library's own.",
    VerdictReason.self_declared: "The user agent calls itself a bot or carries a contact address.",
    VerdictReason.unknown_program: "The user agent names neither a browser nor a system.",
    VerdictReason.empty_user_agent: "No user agent was sent; browsers always send one.",
}


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

"""Lists the reasons for verdicts on clicks, each with a sentence for people."""

from enum import StrEnum


class VerdictReason(StrEnum):
    """A reason why a verdict is not plainly `human`; `SENTENCES` explains each."""

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

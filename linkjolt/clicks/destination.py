"""Where a click leads: the destination's macros and query, compiled once per destination."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote_plus

import msgspec

_MACRO = re.compile(r"\{(_?)([a-z][a-z0-9_]*)\}")
CLICK_ID_MACROS = frozenset({"click_id", "clickid", "subid", "transaction_id"})
# A raw macro may hold a piece of a URL; what would end the header or the URL is still encoded.
_RAW_SAFE = "/:?#[]@!$&'()*+,;=%~"
# What needs no encoding, which most values are: the look costs a fifth of `quote`.
_unreserved = re.compile(r"[\w.~-]*", re.ASCII).fullmatch

Pair = tuple[str, str]


class Template(msgspec.Struct, frozen=True):
    """A text taken apart at its macros: `{name}` is filled in URL-encoded, `{_name}` nearly raw.

    `macros` are (mark, name, literal behind it).
    """

    begin: str
    macros: tuple[tuple[str, str, str], ...]

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with its macros filled in."""
        if not self.macros:
            return self.begin
        parts = [self.begin]
        for raw, name, literal in self.macros:
            filled = value(name)
            if not _unreserved(filled):
                filled = quote(filled, safe=_RAW_SAFE if raw else "")
            parts += (filled, literal)
        return "".join(parts)


def _template(text: str) -> Template:
    begin, *rest = _MACRO.split(text)
    return Template(begin, tuple(zip(rest[::3], rest[1::3], rest[2::3], strict=True)))


class Destination(msgspec.Struct, frozen=True):
    """A destination taken apart. `whole` is where a click leads that passes nothing on, and
    `around` what stands around the click id where that is its only macro; `bare` what stands before
    passed parameters, between them and the click id, and behind it, where there is nothing else.

    `pairs` are the query's (decoded name, text); the click id's own place is not among them, and
    the names in `guarded` cannot be passed on: neither `click_id_param` nor a pair with the click
    id's macro can be set from outside.
    """

    head: Template
    pairs: tuple[tuple[str, Template], ...]
    click_id: Template | None
    fragment: Template
    guarded: frozenset[str]
    whole: Template
    around: tuple[str, str] | None
    bare: tuple[str, str, str] | None


def _names_click_id(text: str) -> bool:
    return any(name in CLICK_ID_MACROS for _, name in _MACRO.findall(text))


@lru_cache(maxsize=65_536)
def compile_destination(url: str, click_id_param: str) -> Destination:
    """Takes a registered destination apart; without a click id macro it gets a parameter for it."""
    before_fragment, mark, fragment = url.partition("#")
    head, _, query = before_fragment.partition("?")
    texts = [text for text in query.split("&") if text]
    guarded = {_name(text) for text in texts if _names_click_id(text)}
    last = ""
    if not _names_click_id(url):
        guarded.add(click_id_param)
        texts = [text for text in texts if _name(text) != click_id_param]
        last = f"{click_id_param}={{click_id}}"
    all_texts = [*texts, last] if last else texts
    asked = "?" + "&".join(all_texts) if all_texts else ""
    whole = _template(head + asked + mark + fragment)
    return Destination(
        head=_template(head),
        pairs=tuple((_name(text), _template(text)) for text in texts),
        click_id=_template(last) if last else None,
        fragment=_template(mark + fragment),
        guarded=frozenset(guarded),
        whole=whole,
        around=_around(whole) if url.isascii() else None,
        bare=_bare(head, texts, last, mark + fragment) if url.isascii() else None,
    )


def _bare(head: str, texts: list[str], last: str, fragment: str) -> tuple[str, str, str] | None:
    if texts or not last or _MACRO.search(head + fragment):
        return None
    return f"{head}?", f"&{last.partition('{')[0]}", fragment


def _around(whole: Template) -> tuple[str, str] | None:
    if len(whole.macros) != 1 or whole.macros[0][1] not in CLICK_ID_MACROS:
        return None
    return whole.begin, whole.macros[0][2]


def _name(text: str) -> str:
    return unquote_plus(text.partition("=")[0])


def _quoted(text: str) -> str:
    return text if _unreserved(text) else quote_plus(text)


# The same few names come with every click.
_quoted_name = lru_cache(maxsize=4_096)(_quoted)


def _query(passed: Sequence[Pair]) -> str:
    return "&".join([f"{_quoted_name(name)}={_quoted(text)}" for name, text in passed])


def location(destination: Destination, passed: Sequence[Pair], value: Callable[[str], str]) -> str:
    """The URL to redirect to; passed parameters replace those of the destination."""
    passed = [pair for pair in passed if pair[0] not in destination.guarded]
    if passed and destination.bare:
        begin, between, end = destination.bare
        return f"{begin}{_query(passed)}{between}{value('click_id')}{end}"
    url = _with_passed(destination, passed, value) if passed else destination.whole.fill(value)
    return url if url.isascii() else quote(url, safe=_RAW_SAFE)


def _with_passed(
    destination: Destination, passed: Sequence[Pair], value: Callable[[str], str]
) -> str:
    replaced = {name for name, _ in passed}
    texts = [text.fill(value) for name, text in destination.pairs if name not in replaced]
    texts.append(_query(passed))
    if destination.click_id:
        texts.append(destination.click_id.fill(value))
    query = "?" + "&".join(texts)
    return destination.head.fill(value) + query + destination.fragment.fill(value)

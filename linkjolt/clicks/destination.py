"""Builds the URL of a click from a destination's macros and query, compiled once for each."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote_plus

import msgspec

_MACRO = re.compile(r"\{(_?)([a-z][a-z0-9_]*)\}")
CLICK_ID_MACROS = frozenset({"click_id", "clickid", "subid", "transaction_id"})
# A raw macro may hold part of a URL; characters that would end header or URL are still encoded.
_RAW_SAFE = "/:?#[]@!$&'()*+,;=%~"
# Most values need no encoding, and matching costs a fifth of `quote`.
_unreserved = re.compile(r"[\w.~-]*", re.ASCII).fullmatch

QueryPair = tuple[str, str]


class UrlTemplate(msgspec.Struct, frozen=True):
    """A text split at its macros: `{name}` is filled in URL-encoded, `{_name}` nearly raw.

    `macros` are (mark, name, literal after it).
    """

    first_literal: str
    macros: tuple[tuple[str, str, str], ...]

    def fill(self, value_of: Callable[[str], str]) -> str:
        """Fills in the macros."""
        if not self.macros:
            return self.first_literal
        parts = [self.first_literal]
        for raw, name, literal in self.macros:
            filled = value_of(name)
            if not _unreserved(filled):
                filled = quote(filled, safe=_RAW_SAFE if raw else "")
            parts += (filled, literal)
        return "".join(parts)


def _compile_template(text: str) -> UrlTemplate:
    begin, *rest = _MACRO.split(text)
    return UrlTemplate(begin, tuple(zip(rest[::3], rest[1::3], rest[2::3], strict=True)))


class Destination(msgspec.Struct, frozen=True):
    """A compiled destination.

    `without_passed` is the URL of a click that passes nothing on; `around_click_id` are the texts
    around the click id where that is its only macro; `around_query` are the texts before the passed
    parameters, between them and the click id, and after it, where there is nothing else.

    `pairs` are the query's (decoded name, text) without the click id's own parameter. The names in
    `protected_params` cannot be passed on: neither `click_id_param` nor a pair with the click id's
    macro can be set from outside.
    """

    base: UrlTemplate
    pairs: tuple[tuple[str, UrlTemplate], ...]
    click_id: UrlTemplate | None
    fragment: UrlTemplate
    protected_params: frozenset[str]
    without_passed: UrlTemplate
    around_click_id: tuple[str, str] | None
    around_query: tuple[str, str, str] | None


def _names_click_id(text: str) -> bool:
    return any(name in CLICK_ID_MACROS for _, name in _MACRO.findall(text))


@lru_cache(maxsize=65_536)
def compile_destination(url: str, click_id_param: str) -> Destination:
    """Compiles a destination; adds a click id parameter if no macro has it."""
    before_fragment, mark, fragment = url.partition("#")
    base, _, query = before_fragment.partition("?")
    query_texts = [text for text in query.split("&") if text]
    protected = {_name(text) for text in query_texts if _names_click_id(text)}
    click_id_text = ""
    if not _names_click_id(url):
        protected.add(click_id_param)
        query_texts = [text for text in query_texts if _name(text) != click_id_param]
        click_id_text = f"{click_id_param}={{click_id}}"
    all_texts = [*query_texts, click_id_text] if click_id_text else query_texts
    query = "?" + "&".join(all_texts) if all_texts else ""
    without_passed = _compile_template(base + query + mark + fragment)
    return Destination(
        base=_compile_template(base),
        pairs=tuple((_name(text), _compile_template(text)) for text in query_texts),
        click_id=_compile_template(click_id_text) if click_id_text else None,
        fragment=_compile_template(mark + fragment),
        protected_params=frozenset(protected),
        without_passed=without_passed,
        around_click_id=_around_click_id(without_passed) if url.isascii() else None,
        around_query=_around_query(base, query_texts, click_id_text, mark + fragment)
        if url.isascii()
        else None,
    )


def _around_query(
    base: str, texts: list[str], last: str, fragment: str
) -> tuple[str, str, str] | None:
    if texts or not last or _MACRO.search(base + fragment):
        return None
    return f"{base}?", f"&{last.partition('{')[0]}", fragment


def _around_click_id(template: UrlTemplate) -> tuple[str, str] | None:
    if len(template.macros) != 1 or template.macros[0][1] not in CLICK_ID_MACROS:
        return None
    return template.first_literal, template.macros[0][2]


def _name(text: str) -> str:
    return unquote_plus(text.partition("=")[0])


def _quoted(text: str) -> str:
    return text if _unreserved(text) else quote_plus(text)


# The same few names arrive with every click.
_quoted_name = lru_cache(maxsize=4_096)(_quoted)


def _query(passed: Sequence[QueryPair]) -> str:
    return "&".join([f"{_quoted_name(name)}={_quoted(text)}" for name, text in passed])


def fill_destination(
    destination: Destination, passed: Sequence[QueryPair], value_of: Callable[[str], str]
) -> str:
    """Builds the URL to redirect to; passed parameters replace those of the destination."""
    passed = [pair for pair in passed if pair[0] not in destination.protected_params]
    if passed and destination.around_query:
        begin, between, end = destination.around_query
        return f"{begin}{_query(passed)}{between}{value_of('click_id')}{end}"
    url = (
        _with_passed(destination, passed, value_of)
        if passed
        else destination.without_passed.fill(value_of)
    )
    return url if url.isascii() else quote(url, safe=_RAW_SAFE)


def _with_passed(
    destination: Destination, passed: Sequence[QueryPair], value_of: Callable[[str], str]
) -> str:
    replaced = {name for name, _ in passed}
    texts = [text.fill(value_of) for name, text in destination.pairs if name not in replaced]
    texts.append(_query(passed))
    if destination.click_id:
        texts.append(destination.click_id.fill(value_of))
    query = "?" + "&".join(texts)
    return destination.base.fill(value_of) + query + destination.fragment.fill(value_of)

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

Pair = tuple[str, str]


class Destination(msgspec.Struct, frozen=True):
    """A destination taken apart; texts still hold their macros.

    `pairs` are the query's (decoded name, raw text); `places_click_id` tells that a macro does.
    """

    head: str
    pairs: tuple[Pair, ...]
    fragment: str
    places_click_id: bool


def _names_click_id(text: str) -> bool:
    return any(name in CLICK_ID_MACROS for _, name in _MACRO.findall(text))


@lru_cache(maxsize=65_536)
def compile_destination(url: str) -> Destination:
    """Takes a registered destination apart."""
    before_fragment, mark, fragment = url.partition("#")
    head, _, query = before_fragment.partition("?")
    texts = [text for text in query.split("&") if text]
    pairs = tuple((unquote_plus(text.partition("=")[0]), text) for text in texts)
    return Destination(head, pairs, mark + fragment, _names_click_id(url))


def fill(text: str, value: Callable[[str], str]) -> str:
    """The text with its macros filled in: `{name}` URL-encoded, `{_name}` nearly raw."""

    def one(match: re.Match[str]) -> str:
        filled = value(match[2])
        return quote(filled, safe=_RAW_SAFE) if match[1] else quote(filled, safe="")

    return _MACRO.sub(one, text) if "{" in text else text


def location(
    destination: Destination,
    passed: Sequence[Pair],
    click_id_param: str,
    click_id: str,
    value: Callable[[str], str],
) -> str:
    """The URL to redirect to.

    Passed parameters replace those of the destination, but for the click id: neither a pair
    with its macro nor `click_id_param` can be set from outside.
    """
    guarded = {name for name, text in destination.pairs if _names_click_id(text)}
    if not destination.places_click_id:
        guarded.add(click_id_param)
    passed = [pair for pair in passed if pair[0] not in guarded]
    replaced = {name for name, _ in passed}
    texts = [fill(text, value) for name, text in destination.pairs if name not in replaced]
    texts += [f"{quote_plus(name)}={quote_plus(text)}" for name, text in passed]
    if not destination.places_click_id:
        texts = [t for t in texts if unquote_plus(t.partition("=")[0]) != click_id_param]
        texts.append(f"{click_id_param}={click_id}")
    url = fill(destination.head, value)
    if texts:
        url += "?" + "&".join(texts)
    url += fill(destination.fragment, value)
    return url if url.isascii() else quote(url, safe=_RAW_SAFE)

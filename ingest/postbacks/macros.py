"""Recognizes macros that a sender did not fill in, in the forms of all vendors; pure.

A network sends a macro that it does not know exactly as it is written in the saved URL. Read as an
id it would make one order of all sales.
"""

import re
from urllib.parse import unquote

# Some shops write GUIDs in braces.
_GUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_WHOLE = re.compile(
    "|".join(
        (
            # A quote is one of JSON's.
            rf"[#$@%!]?\{{(?!{_GUID}\}})[^{{}}\"]*\}}",
            r"[#$@%!]?\{\{[^{}\"]*\}\}",
            r"\[[^\[\]\"]*\]",
            r"\[\[[^\[\]\"]*\]\]",
            r"<[^<>]*>",
            r"\(\([^()]*\)\)",
            r"__[A-Za-z]\w*__",
            r"\*\|[^|]*\|\*",
            r"#[A-Za-z_]+#",
            r"%{1,2}[A-Za-z_]\w*%{1,2}",
            r"%[ds]",
            # Written halfway.
            r"[{\[][A-Za-z_]\w*",
            r"[A-Za-z_]\w*[}\]]",
            # What trackers write into the URLs that they offer for copying.
            r"REPLACE(?:ME|[_-][A-Z_-]+)?",
            "OPTIONAL",
        )
    )
)
_INSIDE = re.compile(
    "|".join(
        (
            rf"\{{(?!{_GUID}\}})[^{{}}]*\}}",
            r"\[[A-Za-z_][\w .-]*\]",
            r"<[A-Za-z_/%=][^<>]*>",
            r"\(\([^()]*\)\)",
            r"(?<!\w)__[A-Za-z]\w*__(?!\w)",
            r"\*\|[^|]*\|\*",
            r"(?<!\w)#[A-Za-z_]+#(?!\w)",
            r"%{1,2}[A-Za-z_]\w*%{1,2}(?![0-9A-Fa-f]{2})",
            r"[{\[][A-Za-z_]\w*\Z",
            r"\A[A-Za-z_]\w*[}\]]",
        )
    )
)
# In a URL, `%DATE%` is a broken encoding of a byte, so that these are found before decoding.
_UNDECODED = re.compile(r"%{1,2}[A-Za-z_]\w*%{1,2}(?![0-9A-Fa-f]{2})")
# What programs write for a value that they do not have.
_NO_VALUE = frozenset(
    ("null", "undefined", "nan", "none", "nil", "(null)", "(none)", "(not set)", "(not provided)")
)
_NOT_LETTERS = re.compile(r"[^a-z0-9]+")


def is_unfilled(text: str) -> bool:
    """Returns True for a text that is a macro, or a word for no value, perhaps encoded twice."""
    return any(
        found.casefold() in _NO_VALUE or _WHOLE.fullmatch(found) for found in _decodings(text)
    )


def contains_macro(text: str) -> bool:
    """Returns True for a text with a macro inside, such as `order-{id}`."""
    return any(_INSIDE.search(found) for found in _decodings(text))


def contains_undecoded_macro(raw: str) -> bool:
    """Returns True for a value, still percent-encoded, that has a macro in percent signs."""
    return _UNDECODED.search(raw) is not None


def repeats_name(name: str, text: str) -> bool:
    """Returns True for a value that only repeats its parameter: `transaction_id=TRANSACTION_ID`."""
    return _NOT_LETTERS.sub("", text.lower()) == _NOT_LETTERS.sub("", name.lower())


def _decodings(text: str) -> tuple[str, ...]:
    once = unquote(text) if "%" in text else text
    return (text,) if once == text else (text, once, unquote(once))

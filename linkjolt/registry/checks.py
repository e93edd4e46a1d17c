"""Checks the fields of registry entries; each refusal names its field."""

import re
from collections.abc import Sequence
from typing import Literal
from unicodedata import category
from urllib.parse import urlsplit

from linkjolt.reasons import Reason, Rejected

URL_MAX_CHARACTERS = 2048
PASS_PARAMS_MAX = 50
# The macros of a destination; `{_name}` is the same without URL-encoding.
_MACRO_NAMES = """
click_id clickid subid transaction_id tracking_code affiliate_id campaign_id link_id
sub1 sub2 sub3 sub4 sub5 sub6 sub7 sub8 sub9 sub10 source_id external_id creative_id
country device os browser language timestamp referrer_host
"""
MACROS = frozenset(_MACRO_NAMES.split())
_MACRO = re.compile(r"\{_?([^{}]*)\}")
_URL_START = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_NETLOC = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
)
_CLICK_ID_PARAM = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_EVENT_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,255}\Z")
# Controls, formats (bidirectional, zero width, tags), surrogates, line and paragraph separators.
_UNREADABLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Letters and marks that take no room on screens (Default_Ignorable_Code_Point of Unicode).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u3164\uffa0")
_PASSED_NAME = re.compile(r"[^\s\x00-\x1f\x7f&=#]{1,64}")


def _invalid(field: str, message: str) -> Rejected:
    return Rejected(Reason.invalid_field, message, field=field)


def check_text(text: str, field: str) -> None:
    """Rejects texts that a person would read as others: hidden, turned or broken into lines."""
    if any(one in _INVISIBLE or category(one) in _UNREADABLE for one in text):
        message = "must not hold control characters, invisible ones, or such that turn text around"
        raise _invalid(field, message)


def check_name(name: str) -> None:
    """Rejects blank names, and what `check_text` does."""
    if not name.strip():
        raise _invalid("name", "must not be blank")
    check_text(name, "name")


def check_click_id_param(name: str) -> None:
    if not _CLICK_ID_PARAM.fullmatch(name):
        message = "must be 1 to 64 of A-Z a-z 0-9 _ -, the first a letter or _"
        raise _invalid("click_id_param", message)


def check_events(events: Sequence[str]) -> None:
    for index, event in enumerate(events):
        if not _EVENT_NAME.fullmatch(event):
            message = "must be 1 to 32 of a-z 0-9 _, the first a letter"
            raise _invalid(f"events[{index}]", message)


def check_pass_params(pass_params: Literal["all", "none"] | tuple[str, ...]) -> None:
    if isinstance(pass_params, str):
        return
    if len(pass_params) > PASS_PARAMS_MAX:
        raise _invalid("pass_params", f"names more than {PASS_PARAMS_MAX} parameters")
    for index, name in enumerate(pass_params):
        if not _PASSED_NAME.fullmatch(name):
            message = "must be 1 to 64 characters without spaces, & = or #"
            raise _invalid(f"pass_params[{index}]", message)
        check_text(name, f"pass_params[{index}]")


def check_url(url: str, field: str) -> None:
    """Rejects all but absolute http(s) URLs whose macros are known and behind the host."""
    if len(url) > URL_MAX_CHARACTERS:
        raise _invalid(field, f"is longer than {URL_MAX_CHARACTERS} characters")
    if not url.isascii():
        raise _invalid(field, "has characters outside ASCII: percent-encode them")
    # Browsers read a backslash as a slash: their host would not be the one parsed here.
    if not url.isprintable() or " " in url or "\\" in url:
        raise _invalid(field, "must not hold spaces, backslashes or control characters")
    if not _URL_START.match(url):
        raise _invalid(field, "must be an absolute http:// or https:// URL with a host")
    _check_host(url, field)
    _check_macros(url, field)


def check_plain_url(url: str, field: str) -> None:
    """Rejects URLs as `check_url` does, and those with macros."""
    check_url(url, field)
    if "{" in url:
        raise _invalid(field, "must not hold macros")


def _check_host(url: str, field: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _invalid(field, "has a host or port that cannot be read") from None
    if "@" in parts.netloc:
        raise _invalid(field, "must not hold credentials")
    if "{" in parts.netloc or "}" in parts.netloc:
        raise _invalid(field, "must not hold macros in its host")
    if not _NETLOC.fullmatch(parts.netloc):
        raise _invalid(field, "has a host or port that cannot be read")


def _check_macros(url: str, field: str) -> None:
    for match in _MACRO.finditer(url):
        if match[1] not in MACROS:
            raise _invalid(field, f"holds {match[0][:64]}, which is no known macro")
    rest = _MACRO.sub("", url)
    if "{" in rest or "}" in rest:
        raise _invalid(field, "holds a brace that belongs to no macro: write %7B or %7D")


def check_email(text: str | None) -> str:
    """Returns an address in lower case, '' for none; Rejected, naming the field, if it is none."""
    email = (text or "").strip().lower()
    if email and not _EMAIL.match(email):
        raise _invalid("email", "is not an e-mail address")
    check_text(email, "email")
    return email

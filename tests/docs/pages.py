"""Pages as programs: their blocks of shell, the answers printed below them, and what varies."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_ANSWERS = ("", "json")
# Named values differ from run to run, but the same value of a page is the same one in its run.
_NAMED = {
    "click id": r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b",
    "conversion id": r"\bconv_[0-9A-Z]{26}\b",
    "tracking code": r"\btc_[0-9A-Z]{8}\b",
}
# Secrets, which a page abbreviates, and the rest: any value of the form will do.
_FREE = {
    "API key": r"\blj_(?:live|test)_(?:\w{20,}|…)",
    "key's hint": r"\blj_(?:live|test)_\.\.\.\w{4}",
    "client's secret": r"\blj_secret_(?:\w{20,}|…)",
    "client's hint": r"\blj_secret_\.\.\.\w{4}",
    "access token": r"\blj_token_(?:[\w-]{20,}|…)",
    "signing secret": r"\blj_sign_(?:\w{20,}|…)",
    "webhook's secret": r"\bwhsec_(?:[\w+/]{20,}=*|…)",
    "instant": r"\b20[2-4]\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)",
    "elapsed": r'(?<="elapsed_ms": )[0-9.]+',
    "one-time token": r"(?<=token=)(?:[\w-]{20,}|…)",
    "request id": r'(?<="request_id": ")[0-9a-f]{16}',
}


@dataclass(frozen=True)
class Block:
    """Commands as printed, the line of the page they begin at, and the answers below them."""

    line: int
    commands: str
    answer: str


def blocks_of(text: str) -> list[Block]:
    """The ```sh blocks, each with the ```json and plain blocks that follow with no text between."""
    fences = list(_FENCE.finditer(text))
    blocks: list[Block] = []
    for index, fence in enumerate(fences):
        if fence[1] != "sh":
            continue
        answers, end = "", fence.end()
        for following in fences[index + 1 :]:
            if following[1] not in _ANSWERS or text[end : following.start()].strip():
                break
            answers, end = answers + following[2], following.end()
        blocks.append(Block(text.count("\n", 0, fence.start()) + 2, fence[2], answers))
    return blocks


def comparable(printed: str) -> str:
    """The text line by line; JSON, on one line or on many, with its values as they are written."""
    values: list[str] = []
    decoder = json.JSONDecoder(parse_float=_Written, parse_int=_Written)
    rest = printed.replace("\r", "").strip()
    while rest:
        if rest[0] in "{[":
            value, end = decoder.raw_decode(rest)
            values.append(_rendered(value))
        else:
            end = len(rest.partition("\n")[0])
            values.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return "\n".join(values)


class _Written(str):
    """A number as it is written: 29.90 is not 29.9."""


def _rendered(value: Any) -> str:
    if isinstance(value, _Written):
        return str(value)
    if isinstance(value, dict):
        members = cast(dict[str, Any], value).items()
        pairs = [f"{json.dumps(name)}: {_rendered(member)}" for name, member in members]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_rendered, cast(list[Any], value))) + "]"
    return json.dumps(value, ensure_ascii=False)


@dataclass
class Varying:
    """Puts names in place of the values that vary, numbered in the order in which they appear."""

    seen: dict[str, str] = field(default_factory=dict[str, str])

    def named(self, text: str) -> str:
        for name, pattern in _FREE.items():
            text = re.sub(pattern, f"<{name}>", text)
        for name, pattern in _NAMED.items():
            text = re.sub(pattern, lambda match, name=name: self._name(name, match[0]), text)
        return text

    def _name(self, kind: str, value: str) -> str:
        return self.seen.setdefault(value, f"<{kind} {len(self.seen) + 1}>")


def replaced(text: str, values: Mapping[str, str]) -> str:
    for printed, actual in values.items():
        text = text.replace(printed, actual)
    return text

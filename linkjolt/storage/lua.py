"""The Lua by which streams are written: each script of its own behind what all begin with."""

from pathlib import Path

_APPEND = Path(__file__).parent / "append.lua"


def appending(*parts: Path) -> str:
    """The text of a script that calls `append`."""
    return "\n".join(path.read_text(encoding="utf-8") for path in (_APPEND, *parts))

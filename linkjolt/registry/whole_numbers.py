"""Parses whole numbers that others wrote: ASCII digits, of a bounded length."""

DIGITS_MAX = 10


def parse_whole_number(text: str, digits_max: int = DIGITS_MAX) -> int | None:
    """Parses 1 to `digits_max` digits, leading zeros among them; None for any other text.

    `int` reads digits of all scripts, signs, spaces and underscores as well, and raises at a length
    that depends on the interpreter.
    """
    if len(text) <= digits_max and text.isascii() and text.isdigit():
        return int(text)
    return None

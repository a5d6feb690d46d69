# SPDX-License-Identifier: Apache-2.0
"""Texts for people: quoting of foreign text, and validation messages in one line."""

from typing import Final

MAX_QUOTED_CHARACTERS: Final = 128


def quoted(text: str) -> str:
    """`text` in quotes, for errors and logs: cut at 128 characters, control characters escaped."""
    cut = text if len(text) <= MAX_QUOTED_CHARACTERS else f"{text[:MAX_QUOTED_CHARACTERS]}…"
    return '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut) + '"'


def readable(error: Exception) -> str:
    """A validation error in one line; msgspec's "... - at `$.a.b`" becomes "a.b: ..."."""
    text = " ".join(str(error).split())
    what, at, where = text.partition(" - at `$")
    return f"{where.strip('`').lstrip('.')}: {what}" if at and where != "`" else what


def is_number(text: str) -> bool:
    """Whether a text consists of the digits 0 to 9."""
    return text.isascii() and text.isdigit()

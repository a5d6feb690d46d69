"""Texts for people: what others have written, put into quotes; and what a library complains of, in one line."""

from typing import Final

MAX_QUOTED_CHARACTERS: Final = 128


def quoted(text: str) -> str:
    """`text` in quotes as an error text or a log line may carry it: at most 128 characters, control characters escaped."""
    cut = text if len(text) <= MAX_QUOTED_CHARACTERS else f"{text[:MAX_QUOTED_CHARACTERS]}…"
    return '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut) + '"'


def readable(error: Exception) -> str:
    """One line; msgspec's "... - at `$.limits.queued`" becomes "limits.queued: ..."."""
    text = " ".join(str(error).split())
    what, at, where = text.partition(" - at `$")
    return f"{where.strip('`').lstrip('.')}: {what}" if at and where != "`" else what

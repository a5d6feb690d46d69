"""What msgspec complains of, in one line that begins with where it is."""


def readable(error: Exception) -> str:
    """One line; msgspec's "... - at `$.limits.queued`" becomes "limits.queued: ..."."""
    text = " ".join(str(error).split())
    what, at, where = text.partition(" - at `$")
    return f"{where.strip('`').lstrip('.')}: {what}" if at and where != "`" else what

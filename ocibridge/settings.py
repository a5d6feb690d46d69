"""The configuration in force (design 11): held once, so that a reload changes it for everybody at once."""

import msgspec

from ocibridge.config import Config


class Settings:
    """`now` is the configuration of this moment: whoever needs a value asks for it each time."""

    def __init__(self, config: Config) -> None:
        self.now = config

    def take(self, new: Config) -> list[str]:
        """Take over what can change in a running daemon; the keys that differ and need a restart, which keep their values."""
        old = self.now
        self.now = msgspec.structs.replace(new, bus=old.bus, callsign=old.callsign, dobby=old.dobby)
        pairs = {
            "bus": (old.bus, new.bus),
            "callsign": (old.callsign, new.callsign),
            "dobby.service": (old.dobby.service, new.dobby.service),
            "dobby.object": (old.dobby.object, new.dobby.object),
        }
        return [key for key, (before, after) in pairs.items() if before != after]

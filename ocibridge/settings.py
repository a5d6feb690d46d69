"""The configuration in force (design 11): held once, so that a reload changes it for everybody at once."""

import msgspec

from ocibridge.config import Config, Limits, Timeouts, UnknownOrigin


class Settings:
    """Whoever needs a value asks for it each time."""

    def __init__(self, config: Config) -> None:
        self._config = config

    @property
    def config(self) -> Config:
        """All of it."""
        return self._config

    @property
    def timeouts(self) -> Timeouts:
        """How long a caller waits at most."""
        return self._config.timeouts

    @property
    def limits(self) -> Limits:
        """How much may be under way."""
        return self._config.limits

    @property
    def sweep_interval(self) -> float:
        """Seconds between two sweeps."""
        return self._config.sweep_interval

    @property
    def unknown_origin(self) -> UnknownOrigin:
        """Whether what might kill Dobby is let through for a container whose bundle we have not seen."""
        return self._config.unknown_origin

    def take(self, new: Config) -> list[str]:
        """Take over what can change in a running daemon; the keys that differ and need a restart, which keep their values."""
        old = self._config
        self._config = msgspec.structs.replace(new, bus=old.bus, callsign=old.callsign, dobby=old.dobby)
        pairs = {
            "bus": (old.bus, new.bus),
            "callsign": (old.callsign, new.callsign),
            "dobby.service": (old.dobby.service, new.dobby.service),
            "dobby.object": (old.dobby.object, new.dobby.object),
        }
        return [key for key, (before, after) in pairs.items() if before != after]

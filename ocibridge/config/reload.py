"""Reading the configuration anew while running (design 11): all that can change does, or, where it is wrong, nothing."""

from collections.abc import Callable
from typing import Final

import structlog

from ocibridge.config.schema import Config, ConfigError, Settings
from ocibridge.systemd.journal import Journal
from ocibridge.systemd.message_ids import MessageId

log = structlog.get_logger()

REFUSED: Final = "; the new configuration is refused, the old one stays"


class Reload:
    """`load` reads the files that there are now; it raises ConfigError."""

    def __init__(self, settings: Settings, load: Callable[[], Config], journal: Journal) -> None:
        self._settings = settings
        self._load = load
        self._journal = journal
        self.complaint = (
            ""  # for the status line: what is wrong with the configuration that was read last
        )

    def run(self) -> None:
        """Once, without raising: systemd waits for the end of a reload, and the daemon goes on with the old values."""
        former = self._settings.now
        try:
            self._take(self._load())
        except ConfigError as error:
            self.complaint = REFUSED
            log.error(
                f"the new configuration is refused, the old one stays: {error}",
                MESSAGE_ID=MessageId.CONFIGURATION_REFUSED,
            )
        except Exception:
            self._settings.now = former
            self.complaint = REFUSED
            log.exception(
                "unforeseen: the reload failed, the old configuration stays",
                MESSAGE_ID=MessageId.BUG,
            )

    def _take(self, new: Config) -> None:
        """The log's level follows the files only where they change it: LogControl1 may have set another."""
        former = self._settings.now
        held_back = self._settings.take(new)
        log.info("the configuration has been read anew")
        self.complaint = f"; restart to change {', '.join(held_back)}" if held_back else ""
        if held_back:
            log.warning(
                f"what has changed in {', '.join(held_back)} needs a restart",
                MESSAGE_ID=MessageId.RESTART_NEEDED,
            )
        level = self._settings.now.log.level
        if level is not former.log.level:
            self._journal.level = level

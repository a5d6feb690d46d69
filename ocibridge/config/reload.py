# SPDX-License-Identifier: Apache-2.0
"""Reloads the configuration of a running daemon (docs/design.md, Configuration)."""

from collections.abc import Callable
from typing import Final

import structlog

from ocibridge.config.schema import Config, ConfigError, Settings
from ocibridge.systemd.journal import Journal
from ocibridge.systemd.message_ids import MessageId

log = structlog.get_logger()

REFUSED: Final = "the new configuration is refused, the old one stays"


class Reload:
    """Applies a new configuration: everything that can change, or nothing if it is invalid.

    `load` reads the files as they are now; it raises ConfigError. `complaint` is a suffix for the
    status line that says what is wrong with the last configuration read, "" if nothing is.
    """

    def __init__(self, settings: Settings, load: Callable[[], Config], journal: Journal) -> None:
        self._settings = settings
        self._load = load
        self._journal = journal
        self.complaint = ""

    def run(self) -> None:
        """Reload once. Never raises: the daemon goes on with the old configuration."""
        former = self._settings.now
        try:
            self._take(self._load())
        except ConfigError as error:
            self.complaint = f"; {REFUSED}"
            log.error(f"{REFUSED}: {error}", MESSAGE_ID=MessageId.CONFIGURATION_REFUSED)
        except Exception:
            self._settings.now = former
            self.complaint = f"; {REFUSED}"
            log.exception(
                "unforeseen: the reload failed, the old configuration stays",
                MESSAGE_ID=MessageId.BUG,
            )

    def _take(self, new: Config) -> None:
        """Apply `new`. A log level set by LogControl1 stays unless the files change theirs."""
        former = self._settings.now
        held_back = self._settings.take(new)
        log.info("the configuration has been reloaded")
        self.complaint = f"; restart to change {', '.join(held_back)}" if held_back else ""
        if held_back:
            log.warning(
                f"changes of {', '.join(held_back)} need a restart",
                MESSAGE_ID=MessageId.RESTART_NEEDED,
            )
        level = self._settings.now.log.level
        if level is not former.log.level:
            self._journal.level = level

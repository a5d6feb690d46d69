# SPDX-License-Identifier: Apache-2.0
"""Dobby's mounts, and how they destroy the host's files (docs/dobby.md, Mount: the tunnel).

Nothing is really mounted. The model only works out what Dobby would do.

Each mount goes through a tunnel of the container in /tmp. If the source contains the tunnel, or is
inside it, mounts pile up on it. If a mount is busy when Dobby cleans up, it stays in the tunnel.
The next mount that *fails* makes Dobby remove the tunnel recursively, including what is mounted in
it.
"""
# ruff: noqa: S108 - /tmp is where Dobby's mount tunnels are

from __future__ import annotations

import os
from pathlib import Path


class MountModel:
    """The tunnels of all containers.

    `mountinfo`: a file used as /proc/self/mountinfo, or "" if nothing is mounted.
    """

    def __init__(self, mountinfo: str = "") -> None:
        self.mountinfo = mountinfo
        self.box_is_gone = False
        self.held_open: set[str] = set()
        self.left_behind: dict[str, str] = {}

    def mount(self, container_id: str, source: str, flags: list[str], *, fails: bool) -> bool:
        """Whether the source was mounted. `fails`: the target, or something else, is invalid."""
        real = os.path.realpath(source)
        tunnel = os.path.realpath("/tmp") + f"/.hostmnttunnel-{container_id}/tmpdir"
        if _holds(real, tunnel) or _holds(tunnel, real):
            self.box_is_gone = True
            return False
        if fails or not Path(real).is_dir():
            self.box_is_gone = self.box_is_gone or container_id in self.left_behind
            return False
        if real in self.held_open or ("rbind" in flags and self._mounted_below(real)):
            self.left_behind[container_id] = real
            if self.mountinfo:
                with Path(self.mountinfo).open("a") as file:
                    file.write(
                        f"99 1 0:1 {real} /tmp/.hostmnttunnel-{container_id}/tmpdir rw - ext4 "
                        "/dev/root rw\n"
                    )
        return True

    def _mounted_below(self, source: str) -> bool:
        lines = Path(self.mountinfo).read_text().splitlines() if self.mountinfo else []
        return any(line.split()[4].startswith(source.rstrip("/") + "/") for line in lines)


def _holds(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")

# SPDX-License-Identifier: Apache-2.0
"""Refuses mounts with which Dobby would delete files of the host.

Each mount goes through a directory of the host, the tunnel /tmp/.hostmnttunnel-ID/tmpdir. Dobby
deletes files of the host in two cases: the source contains the tunnel; or an earlier mount is stuck
in the tunnel, and a later one fails (docs/dobby.md, Mount: the tunnel).
"""

import asyncio
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import Lookup
from ocibridge.errors import DobbyRefused, InvalidArgs
from ocibridge.files import Readers, raise_shortage
from ocibridge.model import Container
from ocibridge.text import quoted

TUNNEL: Final = ".hostmnttunnel-"
INNER: Final = "tmpdir"
# The kernel's own file systems; nothing in them is for a container.
KERNEL: Final = ("proc", "sys", "dev")
# By default Linux allows 100,000 mounts in a namespace.
MAX_MOUNTINFO_BYTES: Final = 8 << 20
ESCAPE: Final = re.compile(r"\\([0-7]{3})")
DANGER: Final = "Dobby would delete files of this host"
CONTAINS: Final = f"contains Dobby's mount tunnel (/tmp/{TUNNEL}*); {DANGER}"
Identity = tuple[int, int]  # device and inode


class Host(NamedTuple):
    """Paths of the host. Tests replace them by paths of their own."""

    root: str = "/"
    tmp: str = "/tmp"  # noqa: S108 - where Dobby has its tunnels
    mountinfo: str = "/proc/self/mountinfo"


THIS_HOST = Host()


class Mount(NamedTuple):
    """A line of mountinfo (proc(5))."""

    device: str  # major:minor
    root: str  # the directory of the file system that is mounted
    point: str


class Mounts:
    """Mounts one at a time: the check of a mount holds only while no other is in progress."""

    def __init__(self, find: Lookup, dobby: DobbyApi, host: Host | None = None) -> None:
        self._find = find
        self._dobby = dobby
        self._host = host or THIS_HOST
        self._readers = Readers("looks at mount sources")
        self._turn = asyncio.Lock()
        self._is_unanswered = False

    async def mount(
        self, container: Container, source: str, target: str, flags: list[str], data: str
    ) -> bool:
        """Have Dobby mount the directory that `source` resolves to. Returns Dobby's reply.

        Raises InvalidArgs, DobbyRefused.
        """
        async with self._turn:
            if self._is_unanswered:
                # The caller of the last mount gave up, but Dobby may still be at it. Dobby works
                # in order, so the answer to a List means that the mount is over.
                await self._dobby.refresh(fresh=True)
                self._is_unanswered = False
            resolved = await self._readers.run(
                lambda: checked_source(source, "rbind" in flags, self._host)
            )
            self._find.present(container, container.id)
            # Nothing is awaited between the check and the call.
            answer = self._dobby.mount(container, resolved, target, flags, data)
            self._is_unanswered = True
            mounted = await answer
            self._is_unanswered = False
            return mounted


def checked_source(source: str, recursive: bool, host: Host) -> str:
    """The resolved path of `source`. Raises InvalidArgs, DobbyRefused if a mount is not safe.

    It reads the file system, so run it in a thread.
    """
    named = f"source {quoted(source)}"
    resolved, own = _directory(source, named)
    try:
        tmp = os.path.realpath(host.tmp, strict=True)
        mounts = list(_mounts(host.mountinfo))
        _check_left_behind(mounts, tmp)
        _check_place(named, resolved, own, tmp, host)
        _check_file_system(named, resolved, tmp, mounts)
    except (OSError, ValueError) as error:
        raise_shortage(error, named)
        raise DobbyRefused(
            f"mount: not done, because Dobby's mounts cannot be read: {error}"
        ) from None
    problem = _problem_of_mounts(resolved, recursive, mounts)
    if problem is not None:
        raise InvalidArgs(f"{named}: {problem}")
    return resolved


def _directory(source: str, named: str) -> tuple[str, Identity]:
    try:
        resolved = os.path.realpath(source, strict=True)
        resolved.encode()  # D-Bus strings are UTF-8
        status = Path(resolved).stat()
    except (OSError, ValueError) as error:
        raise_shortage(error, named)
        reason = error.strerror if isinstance(error, OSError) else "its resolved path is not UTF-8"
        raise InvalidArgs(
            f"{named}: ocibridge cannot see it, so it cannot check it: {reason}"
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidArgs(f"{named}: is not a directory; Dobby mounts only directories")
    return resolved, (status.st_dev, status.st_ino)


def _check_place(named: str, resolved: str, own: Identity, tmp: str, host: Host) -> None:
    """Check by path, and by device and inode: a bind mount shows a directory at another path."""
    root = host.root.rstrip("/")
    for name in KERNEL:
        if _is_below(resolved, f"{root}/{name}"):
            raise InvalidArgs(
                f"{named}: lies in /{name}, from where nothing is mounted into containers"
            )
    if any(part.startswith(TUNNEL) for part in resolved.split("/")):
        raise InvalidArgs(f"{named}: lies in Dobby's mount tunnel; {DANGER}")
    # All directories that contain tunnels: /tmp, /, and those between if /tmp is a symbolic link.
    around = {_identity(directory) for directory in (*_upwards(tmp), host.root)}
    if own in around:
        raise InvalidArgs(f"{named}: {CONTAINS}")
    tunnels = set(_tunnels(tmp))
    if any(_identity(directory) in tunnels for directory in _upwards(resolved)):
        raise InvalidArgs(
            f"{named}: is a part of Dobby's mount tunnel under another path; {DANGER}"
        )


def _check_file_system(named: str, resolved: str, tmp: str, mounts: list[Mount]) -> None:
    """Check by path in the file system: a bind mount on /tmp gives it other parents as well."""
    source, tunnels = _location(resolved, mounts), _location(tmp, mounts)
    if source is None or tunnels is None:
        return  # our root directory is no mount (chroot), so mountinfo does not tell
    if source[0] == tunnels[0] and _is_below(tunnels[1], source[1]):
        raise InvalidArgs(f"{named}: {CONTAINS}")


def _location(path: str, mounts: list[Mount]) -> tuple[str, str] | None:
    """The device and the path in its file system. The last of equal mount points covers others."""
    around = [mount for mount in reversed(mounts) if _is_below(path, mount.point)]
    if not around:
        return None
    mount = max(around, key=lambda mount: len(mount.point))
    rest = path[len(mount.point.rstrip("/")) :]
    return mount.device, f"{mount.root.rstrip('/')}{rest}" or "/"


def _check_left_behind(mounts: list[Mount], tmp: str) -> None:
    for _, _, point in mounts:
        parts = (
            point.removeprefix(f"{tmp.rstrip('/')}/").split("/") if _is_below(point, tmp) else []
        )
        if len(parts) > 1 and parts[0].startswith(TUNNEL) and parts[1] == INNER:
            raise DobbyRefused(
                "mount: not done, because an earlier mount is stuck in Dobby's tunnel at "
                f"{quoted(point)}: if another mount failed now, Dobby would delete its files. "
                f"Unmount it on the host (umount {quoted(point)})"
            )


def _problem_of_mounts(resolved: str, recursive: bool, mounts: list[Mount]) -> str | None:
    below = (
        [point for _, _, point in mounts if point != resolved and _is_below(point, resolved)]
        if recursive
        else []
    )
    if below:
        return (
            f"{quoted(below[0])} is mounted below it, and Dobby cannot undo an rbind of that; "
            "use bind, or another source"
        )
    if any(TUNNEL in root and _is_below(resolved, point) for _, root, point in mounts):
        return "is a part of Dobby's mount tunnel, which is mounted there"
    return None


def _mounts(mountinfo: str) -> Iterator[Mount]:
    """All mounts of our namespace."""
    with Path(mountinfo).open("rb") as file:
        content = file.read(MAX_MOUNTINFO_BYTES + 1)
    if len(content) > MAX_MOUNTINFO_BYTES:
        raise ValueError(f"{mountinfo} is larger than {MAX_MOUNTINFO_BYTES >> 20} MiB")
    for line in os.fsdecode(content).split("\n")[:-1]:
        _, _, device, root, point, _ = line.split(" ", 5)
        yield Mount(device, _unescaped(root), _unescaped(point))


def _unescaped(text: str) -> str:
    """mountinfo writes blanks, tabs, newlines and backslashes as three octal digits."""
    return ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), text)


def _tunnels(tmp: str) -> Iterator[Identity]:
    """The identities of each tunnel and of the directory in it where Dobby mounts."""
    with os.scandir(tmp) as entries:
        for entry in entries:
            if entry.name.startswith(TUNNEL):
                yield from _identities(entry.path, f"{entry.path}/{INNER}")


def _identities(*paths: str) -> Iterator[Identity]:
    for path in paths:
        try:
            yield _identity(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # it vanished, or we may not enter it, whatever its path


def _identity(path: str) -> Identity:
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def _upwards(path: str) -> Iterator[str]:
    """The directory and its parents."""
    return map(str, (Path(path), *Path(path).parents))


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")

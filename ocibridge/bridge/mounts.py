"""Mounting a directory into a container without letting Dobby remove the host's files.

Each of Dobby's mounts goes through a "tunnel", /tmp/.hostmnttunnel-ID/tmpdir. Two things make it remove the files of
the host recursively: a source that the tunnel is a part of, and a mount that could not be unmounted from the tunnel,
once a later mount fails.
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
# The kernel's own file systems: nothing in them is for a container.
KERNEL: Final = ("proc", "sys", "dev")
MAX_MOUNTINFO_BYTES: Final = (
    8 << 20
)  # bytes of mountinfo: Linux allows 100,000 mounts a namespace by default
ESCAPE: Final = re.compile(r"\\([0-7]{3})")
Identity = tuple[int, int]


class Host(NamedTuple):
    """Where things are on the machine; tests make a small machine of their own."""

    root: str = "/"
    tmp: str = "/tmp"  # noqa: S108 - where Dobby has its tunnels
    mountinfo: str = "/proc/self/mountinfo"


THIS_HOST = Host()


class Mounts:
    """Mounts, one at a time: each is checked when the one before is over."""

    def __init__(self, find: Lookup, dobby: DobbyApi, host: Host | None = None) -> None:
        self._find = find
        self._dobby = dobby
        self._host = host or THIS_HOST
        self._readers = Readers()
        self._turn = asyncio.Lock()
        self._is_unanswered = False

    async def mount(
        self, container: Container, source: str, target: str, flags: list[str], data: str
    ) -> bool:
        """Have Dobby mount the directory that `source` resolves to; what Dobby says. Raises InvalidArgs, DobbyRefused."""
        async with self._turn:
            if self._is_unanswered:
                # Its caller has given up, not Dobby. Dobby works in order: this answer means that the mount is over.
                await self._dobby.refresh(fresh=True)
                self._is_unanswered = False
            resolved = await self._readers.run(
                lambda: checked_source(source, "rbind" in flags, self._host)
            )
            self._find.present(container, container.id)
            # From here to the call nothing is awaited: it goes out as it was checked.
            answer = self._dobby.mount(container, resolved, target, flags, data)
            self._is_unanswered = True
            mounted = await answer
            self._is_unanswered = False
            return mounted


def checked_source(source: str, recursive: bool, host: Host) -> str:
    """The directory that `source` means, resolved, if Dobby can mount it without harm. Raises InvalidArgs, DobbyRefused.

    It reads files, and so is for a thread.
    """
    named = f"source {quoted(source)}"
    resolved, own = _directory(source, named)
    try:
        tmp = os.path.realpath(host.tmp, strict=True)
        mounts = list(_mounts(host.mountinfo))
        _check_left_behind(mounts, tmp)
        _check_place(named, resolved, own, tmp, host)
    except (OSError, ValueError) as error:
        raise_shortage(error, named)
        raise DobbyRefused(
            f"mount: not done, since what Dobby has mounted cannot be seen: {error}"
        ) from None
    problem = _problem_of_mounts(resolved, recursive, mounts)
    if problem is not None:
        raise InvalidArgs(f"{named}: {problem}")
    return resolved


def _directory(source: str, named: str) -> tuple[str, Identity]:
    try:
        resolved = os.path.realpath(source, strict=True)
        resolved.encode()  # D-Bus carries no other
        status = Path(resolved).stat()
    except (OSError, ValueError) as error:
        raise_shortage(error, named)
        reason = error.strerror if isinstance(error, OSError) else "its resolved path is not UTF-8"
        raise InvalidArgs(
            f"{named}: ocibridge cannot see it, and mounts nothing unseen: {reason}"
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidArgs(f"{named}: is not a directory, and Dobby mounts nothing else")
    return resolved, (status.st_dev, status.st_ino)


def _check_place(named: str, resolved: str, own: Identity, tmp: str, host: Host) -> None:
    """By name and by identity, since a bind mount shows the same directory under another name."""
    root = host.root.rstrip("/")
    for name in KERNEL:
        if _is_below(resolved, f"{root}/{name}"):
            raise InvalidArgs(
                f"{named}: lies in /{name}, and Dobby is not asked to mount from there"
            )
    danger = "Dobby would remove the files of this machine"
    if any(part.startswith(TUNNEL) for part in resolved.split("/")):
        raise InvalidArgs(f"{named}: lies in Dobby's mount tunnel; {danger}")
    # All that the tunnels are in: /tmp, /, and what is between where /tmp is a symbolic link.
    around = {_identity(directory) for directory in (*_upwards(tmp), host.root)}
    if own in around:
        raise InvalidArgs(f"{named}: Dobby's mount tunnel (/tmp/{TUNNEL}*) lies in it; {danger}")
    tunnels = set(_tunnels(tmp))
    if any(_identity(directory) in tunnels for directory in _upwards(resolved)):
        raise InvalidArgs(
            f"{named}: is a part of Dobby's mount tunnel under another name; {danger}"
        )


def _check_left_behind(mounts: list[tuple[str, str]], tmp: str) -> None:
    for _, point in mounts:
        parts = (
            point.removeprefix(f"{tmp.rstrip('/')}/").split("/") if _is_below(point, tmp) else []
        )
        if len(parts) > 1 and parts[0].startswith(TUNNEL) and parts[1] == INNER:
            raise DobbyRefused(
                f"mount: not done, since an earlier mount is still in Dobby's tunnel at {quoted(point)}: if another mount failed now, "
                f"Dobby would remove the files that it shows. Unmount it on the host (umount {quoted(point)})"
            )


def _problem_of_mounts(resolved: str, recursive: bool, mounts: list[tuple[str, str]]) -> str | None:
    below = (
        [point for _, point in mounts if point != resolved and _is_below(point, resolved)]
        if recursive
        else []
    )
    if below:
        return f"{quoted(below[0])} is mounted below it, and Dobby cannot undo an rbind of that; use bind, or another source"
    if any(TUNNEL in root and _is_below(resolved, point) for root, point in mounts):
        return "is a part of Dobby's mount tunnel, which is mounted there"
    return None


def _mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """(root in its file system, mount point) of each mount of this namespace (proc(5))."""
    with Path(mountinfo).open("rb") as file:
        content = file.read(MAX_MOUNTINFO_BYTES + 1)
    if len(content) > MAX_MOUNTINFO_BYTES:
        raise ValueError(f"{mountinfo} is larger than {MAX_MOUNTINFO_BYTES >> 20} MiB")
    for line in os.fsdecode(content).split("\n")[:-1]:
        _, _, _, root, point, _ = line.split(" ", 5)
        yield _unescaped(root), _unescaped(point)


def _unescaped(text: str) -> str:
    """Blanks, tabs, newlines and backslashes are written as three octal digits."""
    return ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), text)


def _tunnels(tmp: str) -> Iterator[Identity]:
    """Of each tunnel that there is, and of the directory in it where Dobby mounts."""
    with os.scandir(tmp) as entries:
        for entry in entries:
            if entry.name.startswith(TUNNEL):
                yield from _identities(entry.path, f"{entry.path}/{INNER}")


def _identities(*paths: str) -> Iterator[Identity]:
    for path in paths:
        try:
            yield _identity(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # gone meanwhile, or not to be entered by us, under whatever name


def _identity(path: str) -> Identity:
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def _upwards(path: str) -> Iterator[str]:
    """The directory and all that it lies in."""
    return map(str, (Path(path), *Path(path).parents))


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")

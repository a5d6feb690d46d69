"""Which directories Dobby may mount, on a host made of plain files; nothing is mounted."""
# ruff: noqa: S108 - /tmp is where Dobby has its tunnels

import asyncio
import errno
import os
from pathlib import Path
from typing import Any, cast

import pytest

from ocibridge.bridge import mounts
from ocibridge.bridge.dobby_api import DobbyApi
from ocibridge.bridge.lookup import Lookup
from ocibridge.bridge.mounts import Host, Mounts, checked_source
from ocibridge.errors import DobbyRefused, InvalidArgs, LimitsExceeded, NoSuchContainer, Timeout
from ocibridge.model import Container


class Machine:
    """A root directory with a /tmp, which may be a symbolic link, and a mountinfo."""

    def __init__(self, directory: Path, tmp: str) -> None:
        self.root = directory / "root"
        for name in (tmp, "srv/data/below", "proc/1", "sys", "dev/shm", "var"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        if tmp != "tmp":
            (self.root / "tmp").symlink_to(self.root / tmp)
        self.tmp = self.root / tmp
        self.mountinfo = directory / "mountinfo"
        self.mountinfo.write_text("")
        self.host = Host(str(self.root), str(self.root / "tmp"), str(self.mountinfo))

    def mounted(self, *points: str, root: str = "/") -> None:
        """Write the mountinfo; all mount points are below the host's root."""
        lines = (
            f"36 35 98:0 {root} {self.root}{point} rw,noatime master:1 - ext4 /dev/root rw\n"
            for point in points
        )
        self.mountinfo.write_text("".join(lines))

    def check(self, source: str, *, recursive: bool = False) -> str:
        """The mounts, below the host's root."""
        return checked_source(f"{self.root}{source}", recursive, self.host).removeprefix(
            str(self.root)
        )

    def refusal(self, source: str, *, recursive: bool = False) -> str:
        with pytest.raises(InvalidArgs, match="source") as refused:
            self.check(source, recursive=recursive)
        return refused.value.text


@pytest.fixture(params=["tmp", "var/volatile/tmp"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """A host with /tmp as a directory, and one as on RDK, where it is a symbolic link."""
    return Machine(tmp_path, request.param)


def test_what_may_be_mounted_comes_back_resolved(machine: Machine) -> None:
    (machine.root / "link").symlink_to("srv/data")
    assert machine.check("/srv/data") == "/srv/data"
    assert machine.check("/srv//./data/../data/") == "/srv/data"
    assert machine.check("/link/below", recursive=True) == "/srv/data/below"
    (machine.tmp / "own").mkdir()
    assert machine.check("/tmp/own") == f"{machine.tmp}/own".removeprefix(str(machine.root))


@pytest.mark.parametrize("source", ["", "/", "/srv/..", "/tmp", "/tmp/.", "/link"])
def test_what_the_tunnel_lies_in(machine: Machine, source: str) -> None:
    (machine.root / "link").symlink_to("/" if source == "" else machine.tmp)
    assert "contains Dobby's mount tunnel (/tmp/.hostmnttunnel-*)" in machine.refusal(source)


def test_what_a_linked_tmp_lies_in(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "var/volatile/tmp")
    for source in ("/var", "/var/volatile", "/var/volatile/tmp"):
        assert "contains Dobby's mount tunnel" in machine.refusal(source)
    (machine.root / "var/log").mkdir()
    assert machine.check("/var/log") == "/var/log"


@pytest.mark.parametrize(
    "source",
    [
        "/tmp/.hostmnttunnel-app",
        "/tmp/.hostmnttunnel-app/tmpdir",
        "/tmp/.hostmnttunnel-app/tmpdir/x",
    ],
)
def test_the_tunnel_itself(machine: Machine, source: str) -> None:
    (machine.tmp / ".hostmnttunnel-app/tmpdir/x").mkdir(parents=True)
    assert "lies in Dobby's mount tunnel" in machine.refusal(source)


@pytest.mark.parametrize("source", ["/proc", "/proc/1", "/sys", "/dev/shm", "/link"])
def test_the_kernels_own(machine: Machine, source: str) -> None:
    (machine.root / "link").symlink_to("dev/shm")
    assert "lies in /" in machine.refusal(source)
    (machine.root / "process").mkdir()
    assert machine.check("/process") == "/process"


def test_what_is_no_directory_or_not_to_be_seen(machine: Machine) -> None:
    (machine.root / "file").touch()
    (machine.root / "loop").symlink_to("loop")
    (machine.root / "dangling").symlink_to("nowhere")
    (machine.root / "srv/\udcff").mkdir()
    (machine.root / "odd").symlink_to("srv/\udcff")
    assert "is not a directory" in machine.refusal("/file")
    assert "Not a directory" in machine.refusal("/file/x")
    assert "No such file" in machine.refusal("/srv/none")
    assert "No such file" in machine.refusal("/dangling")
    assert "symbolic links" in machine.refusal("/loop")
    assert "not UTF-8" in machine.refusal("/odd")
    assert "cannot see it" in machine.refusal("/srv\x00")


def alias(machine: Machine, monkeypatch: pytest.MonkeyPatch, point: str, original: Path) -> None:
    """Give `point` the identity of `original`, as a bind mount would."""
    (machine.root / point).mkdir(parents=True, exist_ok=True)
    stat, real = Path.stat, original.stat()
    same = machine.root / point
    monkeypatch.setattr(
        Path, "stat", lambda path, **options: real if path == same else stat(path, **options)
    )


def test_a_bind_mount_of_the_root_directory_elsewhere(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias(machine, monkeypatch, "srv/again", machine.root)
    assert "contains Dobby's mount tunnel" in machine.refusal("/srv/again")


def test_a_bind_mount_of_tmp_elsewhere(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    alias(machine, monkeypatch, "srv/again", machine.tmp)
    assert "contains Dobby's mount tunnel" in machine.refusal("/srv/again")


@pytest.mark.parametrize("part", ["", "/tmpdir"])
def test_a_bind_mount_of_a_tunnel_elsewhere(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    tunnel = machine.tmp / ".hostmnttunnel-app"
    (tunnel / "tmpdir").mkdir(parents=True)
    alias(machine, monkeypatch, "srv/again", Path(f"{tunnel}{part}"))
    (machine.root / "srv/again/x").mkdir()
    for source in ("/srv/again", "/srv/again/x"):
        assert "under another path" in machine.refusal(source)


def test_a_bind_mount_of_a_tunnel_that_we_cannot_enter(machine: Machine) -> None:
    """mountinfo has the root of each mount."""
    machine.mounted("/srv/data", root="/tmp/.hostmnttunnel-app/tmpdir")
    assert "is mounted there" in machine.refusal("/srv/data/below")


@pytest.mark.parametrize(
    ("written", "point"),
    [
        ("/below", "/below"),
        ("/below/deep", "/below/deep"),
        ("/a\\040b\\134", "/a b\\"),
        ("/a\\012b", "/a\\nb"),
        ("/\\0471", "/'1"),
    ],
)
def test_rbind_of_what_has_a_mount_below_it(machine: Machine, written: str, point: str) -> None:
    machine.mounted("/srv", "/srv/data", f"/srv/data{written}", "/srv/database")
    assert f'/srv/data{point}" is mounted below it' in machine.refusal("/srv/data", recursive=True)
    assert machine.check("/srv/data") == "/srv/data"


def test_rbind_of_what_has_none_below_it(machine: Machine) -> None:
    machine.mounted("/", "/srv", "/srv/data", "/srv/database")
    assert machine.check("/srv/data", recursive=True) == "/srv/data"


@pytest.mark.parametrize("below", ["", "/deep", "/a\\040b", "//deleted"])
def test_a_mount_left_in_any_tunnel(machine: Machine, below: str) -> None:
    tmp = str(machine.tmp).removeprefix(str(machine.root))
    point = f"{tmp}/.hostmnttunnel-other/tmpdir{below}"
    machine.mounted("/", point)
    with pytest.raises(DobbyRefused, match=r"\.hostmnttunnel-other/tmpdir"):
        machine.check("/srv/data")


def test_the_mounts_that_dobby_always_has(machine: Machine) -> None:
    tmp = str(machine.tmp).removeprefix(str(machine.root))
    machine.mounted(
        tmp,
        f"{tmp}/.hostmnttunnel-other",
        f"{tmp}/.hostmnttunnel-other/else",
        f"{tmp}/x.hostmnttunnel-other/tmpdir",
        "/srv/.hostmnttunnel-x/tmpdir",
    )
    assert machine.check("/srv/data") == "/srv/data"


@pytest.mark.parametrize("content", [None, b"36 35 98:0\n", b"\0" * 10])
def test_a_mountinfo_that_cannot_be_read(machine: Machine, content: bytes | None) -> None:
    if content is None:
        machine.mountinfo.unlink()
    else:
        machine.mountinfo.write_bytes(content + b"x\n")
    with pytest.raises(DobbyRefused, match="cannot be read"):
        machine.check("/srv/data")


@pytest.mark.parametrize("call", ["realpath", "scandir"])
def test_no_descriptor_left(machine: Machine, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def starved(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os.path if call == "realpath" else os, call, starved)
    with pytest.raises(LimitsExceeded, match="Too many open files"):
        machine.check("/srv/data")


def test_the_mounts_of_this_machine_can_be_read() -> None:
    assert any(point == "/" for _, point in mounts._mounts(mounts.THIS_HOST.mountinfo))


# Mounts one at a time.


class OneDobby:
    """A Dobby that answers when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, asyncio.Future[Any]]] = []
        self._news = asyncio.Event()
        self.has_ended = False

    def present(self, container: Container, _: str) -> Container:
        if self.has_ended:
            raise NoSuchContainer("it has ended")
        return container

    def mount(self, _container: Container, source: str, *_: Any) -> asyncio.Future[bool]:
        return self._ask(f"mount {source}")

    def refresh(self, *, fresh: bool) -> asyncio.Future[Any]:
        return self._ask(f"list {fresh}")

    def _ask(self, what: str) -> asyncio.Future[Any]:
        self.calls.append((what, asyncio.get_running_loop().create_future()))
        self._news.set()
        return self.calls[-1][1]

    async def until_asked(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.calls) < count:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def dobby() -> OneDobby:
    return OneDobby()


def mounting(dobby: OneDobby, machine: Machine) -> Mounts:
    return Mounts(cast("Lookup", dobby), cast("DobbyApi", dobby), machine.host)


async def test_a_mount_is_checked_when_the_one_before_it_is_over(
    machine: Machine, dobby: OneDobby
) -> None:
    through, source = mounting(dobby, machine), str(machine.root / "srv/data")
    first, second = (
        asyncio.create_task(through.mount(Container("a", 1), source, "/x", ["bind"], ""))
        for _ in range(2)
    )
    await dobby.until_asked(1)
    machine.mounted(f"{machine.tmp}/.hostmnttunnel-a/tmpdir".removeprefix(str(machine.root)))
    dobby.calls[0][1].set_result(True)
    assert await first is True
    with pytest.raises(DobbyRefused, match="earlier mount"):
        await second
    assert [what for what, _ in dobby.calls] == [f"mount {source}"]


async def test_a_container_that_ends_while_the_source_is_looked_at(
    machine: Machine, dobby: OneDobby
) -> None:
    """Its descriptor may have been reused."""
    dobby.has_ended = True
    with pytest.raises(NoSuchContainer):
        await mounting(dobby, machine).mount(
            Container("a", 1), str(machine.root / "srv/data"), "/x", ["bind"], ""
        )
    assert dobby.calls == []


@pytest.mark.parametrize("how", ["timed out", "given up"])
async def test_a_mount_without_an_answer_is_waited_for_by_the_next(
    machine: Machine, dobby: OneDobby, how: str
) -> None:
    through, source = mounting(dobby, machine), str(machine.root / "srv/data")
    first = asyncio.create_task(through.mount(Container("a", 1), source, "/x", ["bind"], ""))
    await dobby.until_asked(1)
    if how == "timed out":
        dobby.calls[0][1].set_exception(Timeout("no answer"))
    else:
        first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(through.mount(Container("a", 1), source, "/y", ["bind"], ""))
    await dobby.until_asked(2)
    assert dobby.calls[1][0] == "list True"
    dobby.calls[1][1].set_result(None)
    await dobby.until_asked(3)
    dobby.calls[2][1].set_result(False)
    assert await second is False
    assert [what.split()[0] for what, _ in dobby.calls] == ["mount", "list", "mount"]

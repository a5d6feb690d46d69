# SPDX-License-Identifier: Apache-2.0
"""Which directories Dobby may be asked to mount, on a tree of plain files: nothing is mounted."""
# ruff: noqa: S108 - /tmp is where Dobby has its tunnels

import errno
import os
import re
from pathlib import Path

import pytest

from ocibridge.bridge import mounts
from ocibridge.bridge.mounts import Host, checked_source
from ocibridge.errors import DobbyRefused, InvalidArgs, LimitsExceeded


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
        """Each is below the machine's root, and a file system of its own."""
        self.bound(*((f"98:{minor}", root, point) for minor, point in enumerate(points)))

    def bound(self, *mounts: tuple[str, str, str]) -> None:
        """As mountinfo writes it: device, root in its file system, point below our root."""
        lines = (
            f"36 35 {device} {root} {self.root}{point} rw,noatime master:1 - ext4 /dev/root rw\n"
            for device, root, point in mounts
        )
        self.mountinfo.write_text("".join(lines))

    @property
    def tmp_point(self) -> str:
        """The resolved /tmp, below the machine's root."""
        return str(self.tmp).removeprefix(str(self.root))

    def check(self, source: str, *, recursive: bool = False) -> str:
        """What is mounted, below the machine's root."""
        return checked_source(f"{self.root}{source}", recursive, self.host).removeprefix(
            str(self.root)
        )

    def refusal(self, source: str, *, recursive: bool = False) -> str:
        with pytest.raises(InvalidArgs, match="source") as refused:
            self.check(source, recursive=recursive)
        return refused.value.text


@pytest.fixture(params=["tmp", "var/volatile/tmp"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """As on most, and as on RDK's: /tmp is a symbolic link."""
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


def alias(machine: Machine, monkeypatch: pytest.MonkeyPatch, shown: str, original: Path) -> None:
    """Has the directory `shown` be the same as `original`, as a bind mount would."""
    (machine.root / shown).mkdir(parents=True, exist_ok=True)
    stat, real = Path.stat, original.stat()
    same = machine.root / shown
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
    """mountinfo tells what it is a mount of."""
    machine.mounted("/srv/data", root="/tmp/.hostmnttunnel-app/tmpdir")
    assert "is mounted there" in machine.refusal("/srv/data/below")


@pytest.mark.parametrize("source", ["/opt", "/opt/tmp"])
def test_what_is_bound_on_tmp(machine: Machine, source: str) -> None:
    """/opt/tmp is mounted on /tmp, so the tunnels are in /opt/tmp as well."""
    for name in ("tmp/own", "tmp/.hostmnttunnel-app", "tmpfiles"):
        (machine.root / "opt" / name).mkdir(parents=True)
    machine.bound(("98:0", "/", ""), ("98:0", "/opt/tmp", machine.tmp_point))
    assert "contains Dobby's mount tunnel (/tmp/.hostmnttunnel-*)" in machine.refusal(source)
    assert "lies in Dobby's mount tunnel" in machine.refusal("/opt/tmp/.hostmnttunnel-app")
    assert machine.check("/opt/tmp/own") == "/opt/tmp/own"
    assert machine.check("/opt/tmpfiles") == "/opt/tmpfiles"


def test_a_part_of_a_file_system_as_root_directory(machine: Machine) -> None:
    """All of the file system is mounted at /srv; the root directory is @ in it."""
    (machine.root / "srv/@").mkdir()
    machine.bound(("0:40", "/@", ""), ("0:40", "/", "/srv"))
    assert "contains Dobby's mount tunnel" in machine.refusal("/srv")
    assert "contains Dobby's mount tunnel" in machine.refusal("/srv/@")
    assert machine.check("/srv/data") == "/srv/data"


@pytest.mark.parametrize("last", ["98:0", "98:1"])
def test_of_two_mounts_on_one_directory_the_last_counts(machine: Machine, last: str) -> None:
    (machine.root / "opt/tmp").mkdir(parents=True)
    first = "98:1" if last == "98:0" else "98:0"
    machine.bound(
        ("98:0", "/", ""),
        *((device, "/opt/tmp", machine.tmp_point) for device in (first, last)),
    )
    if last == "98:0":
        assert "contains Dobby's mount tunnel" in machine.refusal("/opt")
    else:
        assert machine.check("/opt") == "/opt"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("/below", "/below"),
        ("/below/deep", "/below/deep"),
        ("/a\\040b\\134", "/a b\\"),
        ("/a\\012b", "/a\\nb"),
        ("/\\0471", "/'1"),
    ],
)
def test_rbind_of_what_has_a_mount_below_it(machine: Machine, written: str, shown: str) -> None:
    machine.mounted("/srv", "/srv/data", f"/srv/data{written}", "/srv/database")
    assert f'/srv/data{shown}" is mounted below it' in machine.refusal("/srv/data", recursive=True)
    assert machine.check("/srv/data") == "/srv/data"


def test_rbind_of_what_has_none_below_it(machine: Machine) -> None:
    machine.mounted("/", "/srv", "/srv/data", "/srv/database")
    assert machine.check("/srv/data", recursive=True) == "/srv/data"


@pytest.mark.parametrize("below", ["", "/deep", "/a\\040b", "//deleted"])
def test_a_mount_left_in_any_tunnel(machine: Machine, below: str) -> None:
    tmp = machine.tmp_point
    point = f"{tmp}/.hostmnttunnel-other/tmpdir{below}"
    machine.mounted("/", point)
    with pytest.raises(DobbyRefused, match=r"\.hostmnttunnel-other/tmpdir"):
        machine.check("/srv/data")


def test_the_mounts_that_dobby_always_has(machine: Machine) -> None:
    tmp = machine.tmp_point
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
    found = list(mounts._mounts(mounts.THIS_HOST.mountinfo))
    assert any(mount.point == "/" for mount in found)
    assert all(re.fullmatch("[0-9]+:[0-9]+", mount.device) for mount in found)

"""Bundles, specs, and what is remembered of them."""

import asyncio
import errno
import json
import os
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ocibridge import readers
from ocibridge.bundles import Bundles
from ocibridge.errors import InvalidArgs, LimitsExceeded, NotSupported
from ocibridge.journal import Journal
from ocibridge.memory import MOST_KEPT, Memory
from ocibridge.model import Origin, Plan


def bundle(directory: Path, config: Any) -> Path:
    (directory / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return directory


@pytest.mark.parametrize(
    ("config", "plugins"), [({"rdkPlugins": {}}, True), ({}, False), ({"rdkPlugins": None}, False), ({"rdkPlugins": []}, False)]
)
async def test_whether_a_bundle_has_plugins(tmp_path: Path, config: Any, plugins: bool) -> None:
    assert await Bundles().plan(str(bundle(tmp_path, config))) == Plan(Origin.BUNDLE, str(tmp_path), plugins)


@pytest.mark.parametrize("config", ["", "{", "[]", "nonsense", "[" * 100000])
async def test_a_config_that_cannot_be_parsed(tmp_path: Path, config: str) -> None:
    with pytest.raises(InvalidArgs, match=r"config\.json"):
        await Bundles().plan(str(bundle(tmp_path, config)))


async def test_a_fifo_for_a_config_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    async with asyncio.timeout(5):
        with pytest.raises(InvalidArgs, match="regular"):
            await Bundles().plan(str(tmp_path))


async def test_what_we_cannot_see_is_left_to_dobby(tmp_path: Path) -> None:
    assert await Bundles().plan(str(tmp_path / "none")) == Plan(Origin.BUNDLE, str(tmp_path / "none"), None)


async def test_half_an_encrypted_bundle_is_a_plain_one(tmp_path: Path) -> None:
    bundle(tmp_path, {})
    (tmp_path / "rootfs.img").touch()
    assert (await Bundles().plan(str(tmp_path))).origin is Origin.BUNDLE
    (tmp_path / "config.json.jwt").touch()
    with pytest.raises(NotSupported, match="OMI"):
        await Bundles().plan(str(tmp_path))


async def test_specs(tmp_path: Path) -> None:
    assert await Bundles().spec_text('{"a": 1}') == '{"a": 1}'
    file = tmp_path / "spec"
    file.write_text('{"a": 2}')
    assert await Bundles().spec_text(str(file)) == '{"a": 2}'
    file.write_bytes(b'{"a": "' + b"x" * (1 << 20) + b'"}')
    with pytest.raises(InvalidArgs, match="larger than 1 MiB"):
        await Bundles().spec_text(str(file))
    file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InvalidArgs, match="dobbySpec"):
        await Bundles().spec_text(str(file))


def test_what_is_kept_comes_back_for_the_same_dobby_alone(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "deep" / "file.json")
    plan = Plan(Origin.BUNDLE, "/b", plugins=False)
    under_way = Plan(Origin.SPEC, plugins=True)
    memory.keep("bus/:1.7", {("a", 91): plan, ("b", 0): under_way})
    assert memory.recall("bus/:1.7") == {("a", 91): plan, ("b", 0): under_way}
    assert memory.recall("bus/:1.8") == {}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"life": 1}', "[" * 9000])
def test_a_broken_memory_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(content)
    assert Memory(file).recall("x") == {}


def test_a_memory_that_cannot_be_written_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Journal()
    (tmp_path / "file").touch()
    memory = Memory(tmp_path / "file" / "memory.json")
    for _ in range(3):
        memory.keep("x", {})
    assert capsys.readouterr().err.count("cannot be kept") == 1


def starved(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("lacking", ["listdir", "open"])
async def test_no_descriptor_left_is_not_what_we_cannot_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    """An unseen bundle may make Dobby crash: not to be let through because we are short of something."""
    bundle(tmp_path, {})
    monkeypatch.setattr(os, lacking, starved)
    with pytest.raises(LimitsExceeded, match="Too many open files"):
        await Bundles().plan(str(tmp_path))


async def test_no_thread_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    looking = Bundles()
    for _ in range(2 * readers.MOST):  # its place is given back
        with pytest.raises(LimitsExceeded, match="thread"):
            await looking.plan(str(tmp_path))


async def test_readers_that_hang_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that does not answer: so many threads wait for it and no more, and others are told."""
    bundle(tmp_path, {})
    hung, looking = threading.Event(), Bundles()
    before = threading.active_count()
    monkeypatch.setattr(readers, "PATIENCE", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", lambda _: hung.wait(20))
        stuck = [asyncio.create_task(looking.plan("/hung")) for _ in range(readers.MOST)]
        await asyncio.sleep(0)
        for task in stuck[:3]:
            task.cancel()  # who gives up leaves the thread behind
        with pytest.raises(LimitsExceeded, match="file system"):
            await looking.plan(str(tmp_path))
        assert threading.active_count() <= before + readers.MOST
        hung.set()
        await asyncio.gather(*stuck, return_exceptions=True)
    async with asyncio.timeout(20):
        while (await asyncio.gather(looking.plan(str(tmp_path)), return_exceptions=True))[0] != Plan(Origin.BUNDLE, str(tmp_path), False):
            pass


async def test_a_huge_config_costs_no_more_than_its_bytes(tmp_path: Path) -> None:
    """2.7 million arrays: as Python's objects they would be 200 MiB."""
    bundle(tmp_path, '{"a": [' + "[]," * 2_700_000 + '1], "rdkPlugins": {}}')
    tracemalloc.start()
    try:
        assert (await Bundles().plan(str(tmp_path))).plugins is True
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_memory_that_can_be_written_again_is_warned_of_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Journal()
    memory = Memory(tmp_path / "memory.json")
    draft = tmp_path / "memory.new"
    for _ in range(2):
        draft.symlink_to("/dev/full")
        memory.keep("x", {})
        draft.unlink()
        memory.keep("y", {})
    assert capsys.readouterr().err.count("No space left on device") == 2
    assert [file.name for file in tmp_path.iterdir()] == ["memory.json"]


def test_memories_of_buses_that_are_gone_do_not_pile_up(tmp_path: Path) -> None:
    (tmp_path / "somebody-elses.json").touch()
    for bus in range(100):
        Memory(tmp_path / f"org.rdk.OCIContainer-{bus}.json").keep("x", {})
    assert len(list(tmp_path.glob("org.rdk.OCIContainer-*"))) == MOST_KEPT
    assert (tmp_path / "somebody-elses.json").exists()
    assert (tmp_path / "org.rdk.OCIContainer-99.json").exists()


@pytest.mark.parametrize("what", ["directory", "fifo", "large"])
async def test_what_is_refused_is_closed(tmp_path: Path, what: str) -> None:
    file = tmp_path / "spec"
    if what == "directory":
        file.mkdir()
    elif what == "fifo":
        os.mkfifo(file)
    else:
        file.write_bytes(b"x" * (2 << 20))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(InvalidArgs, match="dobbySpec"):
            await Bundles().spec_text(str(file))
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_config_that_is_there_and_cannot_be_read_is_not_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's lease on it (fcntl(2), F_SETLEASE) makes opening fail for a while: unseen, it might kill Dobby."""
    bundle(tmp_path, {})

    def leased(*_: object, **__: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "open", leased)
    with pytest.raises(InvalidArgs, match=r"config\.json cannot be read: Resource temporarily unavailable"):
        await Bundles().plan(str(tmp_path))

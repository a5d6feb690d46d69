# SPDX-License-Identifier: Apache-2.0
"""Checks of bundles and specs, and the store of their provenance."""

import asyncio
import errno
import json
import os
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ocibridge import files
from ocibridge.bridge.bundles import Bundles
from ocibridge.bridge.provenance_store import MAX_FILES, ProvenanceStore
from ocibridge.errors import InvalidArgs, LimitsExceeded, NotSupported
from ocibridge.model import Origin, Provenance
from ocibridge.systemd.journal import Journal

COMPLETE: dict[str, Any] = {"process": {}, "linux": {"resources": {"devices": []}}}
SOUND = json.dumps(COMPLETE | {"rdkPlugins": {"logging": {}}})


def bundle(directory: Path, config: Any) -> Path:
    (directory / "config.json").write_text(
        config if isinstance(config, str) else json.dumps(COMPLETE | config)
    )
    return directory


async def planned(path: Path | str, looking: Bundles | None = None) -> Provenance:
    return (await (looking or Bundles()).bundle(str(path), with_socket=False)).provenance


@pytest.mark.parametrize(
    ("config", "plugins"),
    [
        ({"rdkPlugins": {"logging": {}}}, True),
        ({"rdkPlugins": {"logging": {}, "storage": "x"}}, False),
        ({"rdkPlugins": {"logging": None}}, False),
        ({"rdkPlugins": {}}, False),
        ({}, False),
        ({"rdkPlugins": None}, False),
        ({"rdkPlugins": []}, False),
    ],
)
async def test_whether_a_bundle_has_plugins(tmp_path: Path, config: Any, plugins: bool) -> None:
    assert await planned(bundle(tmp_path, config)) == Provenance(
        Origin.BUNDLE, str(tmp_path), plugins
    )


async def test_a_damaged_config_beside_an_intact_backup(tmp_path: Path) -> None:
    """Dobby restores config.json from the backup, so the backup is checked."""
    bundle(tmp_path, "{")
    backup = tmp_path / "config-dobby.json"
    backup.write_text(SOUND)
    assert (await planned(tmp_path)).has_rdk_plugins is True
    backup.write_text(json.dumps(COMPLETE))
    assert (await planned(tmp_path)).has_rdk_plugins is False
    backup.write_text("{}")
    with pytest.raises(InvalidArgs, match=r"config-dobby\.json: process is missing"):
        await planned(tmp_path)
    backup.write_text("{")
    with pytest.raises(
        InvalidArgs, match=r"config\.json cannot be parsed.*config-dobby\.json cannot be parsed"
    ):
        await planned(tmp_path)


@pytest.mark.parametrize("config", ["missing", "a FIFO", "too large"])
async def test_a_backup_is_no_help_where_dobby_does_not_look_at_it(
    tmp_path: Path, config: str
) -> None:
    (tmp_path / "config-dobby.json").write_text(SOUND)
    if config == "a FIFO":
        os.mkfifo(tmp_path / "config.json")
    elif config == "too large":
        bundle(tmp_path, SOUND + " " * (8 << 20))
    with pytest.raises(InvalidArgs, match=r"config\.json"):
        await planned(tmp_path)


@pytest.mark.parametrize("config", ["", "{", "[]", "nonsense", "[" * 100000])
async def test_a_config_that_cannot_be_parsed(tmp_path: Path, config: str) -> None:
    with pytest.raises(InvalidArgs, match=r"config\.json"):
        await planned(bundle(tmp_path, config))


async def test_a_fifo_for_a_config_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    async with asyncio.timeout(5):
        with pytest.raises(InvalidArgs, match="regular"):
            await planned(tmp_path)


async def test_what_we_cannot_see_is_left_to_dobby(tmp_path: Path) -> None:
    assert await planned(tmp_path / "none") == Provenance(
        Origin.BUNDLE, str(tmp_path / "none"), None
    )


async def test_half_an_encrypted_bundle_is_a_plain_one(tmp_path: Path) -> None:
    bundle(tmp_path, {})
    (tmp_path / "rootfs.img").touch()
    assert (await planned(tmp_path)).origin is Origin.BUNDLE
    (tmp_path / "config.json.jwt").touch()
    with pytest.raises(NotSupported, match="OMI"):
        await planned(tmp_path)


async def test_specs(tmp_path: Path) -> None:
    assert (await Bundles().spec('{"a": 1}')).text == '{"a": 1}'
    file = tmp_path / "spec"
    file.write_text('{"a": 2}')
    assert (await Bundles().spec(str(file))).text == '{"a": 2}'
    file.write_bytes(b'{"a": "' + b"x" * (1 << 20) + b'"}')
    with pytest.raises(InvalidArgs, match="larger than 1 MiB"):
        await Bundles().spec(str(file))
    file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InvalidArgs, match="dobbySpec"):
        await Bundles().spec(str(file))


def test_what_is_kept_comes_back_for_the_same_dobby_alone(tmp_path: Path) -> None:
    store = ProvenanceStore(tmp_path / "deep" / "file.json")
    known = Provenance(Origin.BUNDLE, "/b", has_rdk_plugins=False)
    under_way = Provenance(Origin.SPEC, has_rdk_plugins=True)
    store.keep("bus/:1.7", {("a", 91): known, ("b", 0): under_way})
    assert store.recall("bus/:1.7") == {("a", 91): known, ("b", 0): under_way}
    assert store.recall("bus/:1.8") == {}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": 1}', "[" * 9000])
def test_a_broken_store_is_empty(tmp_path: Path, content: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(content)
    assert ProvenanceStore(file).recall("x") == {}


def test_a_store_that_cannot_be_written_is_logged_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Journal()
    (tmp_path / "file").touch()
    store = ProvenanceStore(tmp_path / "file" / "store.json")
    for _ in range(3):
        store.keep("x", {})
    assert capsys.readouterr().err.count("cannot be saved") == 1


def starved(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("lacking", ["listdir", "open"])
async def test_no_descriptor_left_is_not_what_we_cannot_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """An unchecked bundle can crash Dobby, so a lack of resources must not let it pass."""
    bundle(tmp_path, {})
    monkeypatch.setattr(os, lacking, starved)
    with pytest.raises(LimitsExceeded, match="Too many open files"):
        await planned(tmp_path)


async def test_no_thread_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    looking = Bundles()
    for _ in range(2 * files.MAX_THREADS):  # the semaphore is released
        with pytest.raises(LimitsExceeded, match="thread"):
            await planned(tmp_path, looking)


async def test_readers_that_hang_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that hangs blocks a bounded number of threads; further reads are refused."""
    bundle(tmp_path, {})
    hung, looking = threading.Event(), Bundles()
    before = threading.active_count()
    monkeypatch.setattr(files, "PATIENCE", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", lambda _: hung.wait(20))
        stuck = [asyncio.create_task(planned("/hung", looking)) for _ in range(files.MAX_THREADS)]
        await asyncio.sleep(0)
        for task in stuck[:3]:
            task.cancel()  # the thread stays behind
        with pytest.raises(LimitsExceeded, match="file system"):
            await planned(tmp_path, looking)
        assert threading.active_count() <= before + files.MAX_THREADS
        hung.set()
        await asyncio.gather(*stuck, return_exceptions=True)
    async with asyncio.timeout(20):
        while (await asyncio.gather(planned(tmp_path, looking), return_exceptions=True))[
            0
        ] != Provenance(Origin.BUNDLE, str(tmp_path), False):
            pass


async def test_a_huge_config_costs_no_more_than_its_bytes(tmp_path: Path) -> None:
    """2.7 million arrays, which would take 200 MiB as Python objects."""
    bundle(tmp_path, '{"a": [' + "[]," * 2_700_000 + "1], " + SOUND[1:])
    tracemalloc.start()
    try:
        assert (await planned(tmp_path)).has_rdk_plugins is True
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "member", ["process", "linux", "rdkPlugins", "hooks", "mounts", "hostname"]
)
async def test_a_huge_member_of_those_that_count_is_not_built(tmp_path: Path, member: str) -> None:
    bundle(tmp_path, f'{{"{member}": [' + "[]," * 2_600_000 + "1]}")
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgs, match="together are larger than 512 KiB"):
            await planned(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


async def test_the_largest_that_is_built_is_no_more_than_32_mib(tmp_path: Path) -> None:
    bundle(tmp_path, SOUND[:-1] + ', "hooks": [' + "[]," * 170_000 + "1]}")
    tracemalloc.start()
    try:
        assert (await planned(tmp_path)).has_rdk_plugins is True
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_store_that_fails_again_is_logged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Journal()
    store = ProvenanceStore(tmp_path / "store.json")
    draft = tmp_path / "store.new"
    for _ in range(2):
        draft.symlink_to("/dev/full")
        store.keep("x", {})
        draft.unlink()
        store.keep("y", {})
    assert capsys.readouterr().err.count("No space left on device") == 2
    assert [file.name for file in tmp_path.iterdir()] == ["store.json"]


def test_memories_of_buses_that_are_gone_do_not_pile_up(tmp_path: Path) -> None:
    (tmp_path / "somebody-elses.json").touch()
    for bus in range(100):
        ProvenanceStore(tmp_path / f"org.rdk.OCIContainer-{bus}.json").keep("x", {})
    assert len(list(tmp_path.glob("org.rdk.OCIContainer-*"))) == MAX_FILES
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
            await Bundles().spec(str(file))
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_config_that_is_there_and_cannot_be_read_is_not_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease on the file (fcntl(2), F_SETLEASE) makes opening it fail for a while."""
    bundle(tmp_path, {})

    def leased(*_: object, **__: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "open", leased)
    with pytest.raises(
        InvalidArgs, match=r"config\.json cannot be read: Resource temporarily unavailable"
    ):
        await planned(tmp_path)

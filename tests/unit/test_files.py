"""Bundles, specs, and what is remembered of them."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ocibridge.bundles import plan_bundle, spec_text
from ocibridge.errors import InvalidArgs, NotSupported
from ocibridge.journal import Journal
from ocibridge.memory import Memory
from ocibridge.model import Origin, Plan


def bundle(directory: Path, config: Any) -> Path:
    (directory / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return directory


@pytest.mark.parametrize(
    ("config", "plugins"), [({"rdkPlugins": {}}, True), ({}, False), ({"rdkPlugins": None}, False), ({"rdkPlugins": []}, False)]
)
async def test_whether_a_bundle_has_plugins(tmp_path: Path, config: Any, plugins: bool) -> None:
    assert await plan_bundle(str(bundle(tmp_path, config))) == Plan(Origin.BUNDLE, str(tmp_path), plugins)


@pytest.mark.parametrize("config", ["", "{", "[]", "nonsense", "[" * 100000])
async def test_a_config_that_cannot_be_parsed(tmp_path: Path, config: str) -> None:
    with pytest.raises(InvalidArgs, match=r"config\.json"):
        await plan_bundle(str(bundle(tmp_path, config)))


async def test_a_fifo_for_a_config_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    async with asyncio.timeout(5):
        with pytest.raises(InvalidArgs, match="regular"):
            await plan_bundle(str(tmp_path))


async def test_what_we_cannot_see_is_left_to_dobby(tmp_path: Path) -> None:
    assert await plan_bundle(str(tmp_path / "none")) == Plan(Origin.BUNDLE, str(tmp_path / "none"), None)


async def test_half_an_encrypted_bundle_is_a_plain_one(tmp_path: Path) -> None:
    bundle(tmp_path, {})
    (tmp_path / "rootfs.img").touch()
    assert (await plan_bundle(str(tmp_path))).origin is Origin.BUNDLE
    (tmp_path / "config.json.jwt").touch()
    with pytest.raises(NotSupported, match="OMI"):
        await plan_bundle(str(tmp_path))


async def test_specs(tmp_path: Path) -> None:
    assert await spec_text('{"a": 1}') == '{"a": 1}'
    file = tmp_path / "spec"
    file.write_text('{"a": 2}')
    assert await spec_text(str(file)) == '{"a": 2}'
    file.write_bytes(b'{"a": "' + b"x" * (1 << 20) + b'"}')
    with pytest.raises(InvalidArgs, match="larger than 1 MiB"):
        await spec_text(str(file))
    file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InvalidArgs, match="dobbySpec"):
        await spec_text(str(file))


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

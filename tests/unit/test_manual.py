# SPDX-License-Identifier: Apache-2.0
"""The manual pages and the shipped configuration are complete and correct."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from ocibridge import errors
from ocibridge.cli import _parser
from ocibridge.config.schema import Config, config_of, mapping_of

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "man").glob("*.rst"))
INTERFACES = sorted((ROOT / "dbus-policy").glob("*.xml"))
MANUAL = (ROOT / "man" / "org.rdk.OCIContainer1.5.rst").read_text()


def members(kind: str) -> list[ET.Element]:
    return [member for file in INTERFACES for member in ET.parse(file).iter(kind)]


def arguments(member: ET.Element, direction: str | None) -> str:
    return ", ".join(
        f"{a.get('type')} {a.get('name')}"
        for a in member.iter("arg")
        if a.get("direction") == direction
    )


def entries(heading: str) -> list[str]:
    """The text below each line that equals `head`."""
    return re.split(rf"^{re.escape(heading)}$", MANUAL, flags=re.MULTILINE)[1:]


def entry(heading: str, number: int = 0) -> str:
    """The text of an entry, up to the next one."""
    found = entries(heading)
    assert len(found) > number, f"not in the manual: {heading}"
    return re.split(r"^\S", found[number].lstrip("\n"), flags=re.MULTILINE)[0]


def test_there_are_interfaces() -> None:
    assert [len(members(kind)) for kind in ("method", "property", "signal")] == [31, 13, 6]


@pytest.mark.parametrize("method", members("method"), ids=lambda m: str(m.get("name")))
def test_a_method_is_in_the_manual(method: ET.Element) -> None:
    """With its signature, its errors, and an example command of the right types."""
    gives = arguments(method, "out")
    takes = "".join(a.get("type", "") for a in method.iter("arg") if a.get("direction") == "in")
    heading = f"{method.get('name')}({arguments(method, 'in')})" + (
        f" → ({gives})" if gives else ""
    )
    assert len(entries(heading)) == 1
    text = entry(heading)
    assert re.search(r"^    Errors: \w+", text, re.MULTILINE)
    assert re.search(
        rf"^        .*\b{method.get('name')}{f' {takes} ' if takes else ''}", text, re.MULTILINE
    ), text


@pytest.mark.parametrize("property_", members("property"), ids=lambda p: str(p.get("name")))
def test_a_property_is_in_the_manual(property_: ET.Element) -> None:
    text = entry(f"{property_.get('type')} {property_.get('name')}")
    assert f" {property_.get('name')}\n" in text
    assert "busctl get-property" in text


@pytest.mark.parametrize("signal", members("signal"), ids=lambda s: str(s.get("name")))
def test_a_signal_is_in_the_manual(signal: ET.Element) -> None:
    assert f"member='{signal.get('name')}'" in entry(
        f"{signal.get('name')}({arguments(signal, None)})"
    )


@pytest.mark.parametrize("error", errors.BridgeError.__subclasses__(), ids=lambda e: e.__name__)
def test_an_error_is_in_the_manual(error: type[errors.BridgeError]) -> None:
    assert "::" in entry(error.dbus_name)


def test_every_error_that_a_method_names_is_one() -> None:
    known = {error.__name__ for error in errors.BridgeError.__subclasses__()}
    found = re.findall(r"^    Errors: (.*?)\.\n\n", MANUAL, re.MULTILINE | re.DOTALL)
    assert len(found) == len(members("method"))
    for errors_ in found:
        line = " ".join(errors_.split())
        assert set(re.sub(r" \([^)]*\)", "", line).split(", ")) <= known, line


def keys(struct: type[msgspec.Struct], before: str = "") -> list[str]:
    found: list[str] = []
    for field in msgspec.structs.fields(struct):
        section = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
        found += keys(field.type, f"{field.name}.") if section else [before + field.name]
    return found


def test_every_key_is_in_the_manual_and_in_the_shipped_file() -> None:
    manual = (ROOT / "man" / "ocibridge.yaml.5.rst").read_text()
    assert re.findall(r"^\*\*([a-z_.]+)\*\*$", manual, re.MULTILINE) == keys(Config)
    shipped = (ROOT / "config" / "ocibridge.yaml").read_text()
    assert mapping_of(shipped, "shipped") == {}
    active = re.sub(r"^#(?! )", "", shipped, flags=re.MULTILINE)
    mapping = mapping_of(re.sub(r"^#(  )", r"\1", active, flags=re.MULTILINE), "shipped")
    assert config_of(mapping) == Config()
    assert [*flat(mapping)] == keys(Config)


def flat(mapping: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        else:
            yield before + key


def test_every_option_is_in_the_manual_and_completed() -> None:
    options = {
        word
        for action in _parser()._actions
        for word in action.option_strings
        if word.startswith("--")
    }
    manual = (ROOT / "man" / "ocibridge.8.rst").read_text()
    completion = (ROOT / "packaging" / "ocibridge.bash-completion").read_text()
    for option in options:
        assert f"**{option}**" in manual
        assert option in completion
    assert set(re.findall(r"--[a-z-]{2,}", completion)) == options


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_renders_without_a_warning(page: Path, tmp_path: Path) -> None:
    subprocess.run([ROOT / "tools" / "build-man", tmp_path], check=True)
    built = tmp_path / page.stem
    environment = {"LC_ALL": "C.UTF-8", "MANWIDTH": "80", "PATH": "/usr/bin:/bin"}
    show = ["man", "--warnings", "-E", "UTF-8", "-l", str(built)]
    rendered = subprocess.run(show, capture_output=True, text=True, check=True, env=environment)
    assert rendered.stderr == ""
    assert page.stem.rpartition(".")[0] in rendered.stdout
    assert "@VERSION@" not in built.read_text()

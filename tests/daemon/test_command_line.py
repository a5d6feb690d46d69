# SPDX-License-Identifier: Apache-2.0
"""The command line: output and exit codes (docs/design.md, systemd and the journal)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocibridge import __version__

PROGRAM = str(Path(sys.executable).with_name("ocibridge"))


def run(*arguments: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, timeout=seconds, check=False
    )


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"ocibridge {__version__}\n")


def test_help_names_every_option_and_exit_code() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in ("--config", "--check-config", "--bus", "--version", "64", "69", "70", "78"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nope"],
        ["--bus"],
        ["--bus", "nonsense"],
        ["--bus", "unix:path=/a\nb"],
        ["--bus", "unix:path=/a\x1bb"],
        ["surplus"],
        ["--conf", "x"],
    ],
)
def test_a_wrong_command_line(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == os.EX_USAGE
    assert done.stderr.startswith("usage: ocibridge")


def test_no_bus(tmp_path: Path) -> None:
    done = run("--bus", f"unix:path={tmp_path}/none")
    assert done.returncode == os.EX_UNAVAILABLE
    assert f"{tmp_path}/none" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tiemouts: {}", "tiemouts"),
        ("timeouts: {read: fast}", "timeouts.read"),
        ("limits: {in_flight: many}", "limits.in_flight"),
        ("limits: {in_flight: 0}", "limits.in_flight"),
        ("callsign: org..x", "callsign"),
        ("bus: 5", "bus"),
        ("- a", "object"),
        ("{", "line"),
        ('limits: {queued: !!int ""}', "limits.queued"),
        ("log: {level: !!bool x}", "log.level"),
        ("bus: session\nbus: session", "twice"),
        ("sweep_interval: 1:30", "sweep_interval"),
        ("callsign: org.rdk.dobby", "dobby.service"),
        ("callsign: org.freedesktop.DBus", "callsign"),
        ('bus: "unix:path=/a\\0b"', "bus"),
    ],
)
def test_a_wrong_configuration(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    for options in ([], ["--check-config"]):
        done = run("--config", str(file), *options)
        assert done.returncode == os.EX_CONFIG
        assert str(file) in done.stderr
        assert said in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    done = run("--config", str(tmp_path / "none.yaml"), "--check-config")
    assert (done.returncode, "none.yaml" in done.stderr) == (os.EX_CONFIG, True)


def test_a_right_configuration(tmp_path: Path) -> None:
    file = tmp_path / "right.yaml"
    file.write_text(
        "timeouts: {read: 150ms, start: 1min 30s}\nlimits: {queued: 10}\nlog: {level: debug}\n"
    )
    assert run("--config", str(file), "--check-config").returncode == 0
    assert run("--check-config").returncode == 0

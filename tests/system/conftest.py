# SPDX-License-Identifier: Apache-2.0
"""Boxes with a real systemd, system bus and journal, made by the tool at $SYSBOX.

ocibridge is installed in them as on a device.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSBOX = Path(os.environ.get("SYSBOX") or ROOT.parent / "shared" / "tools" / "sysbox")
# dbus-user-session is for the user unit.
PACKAGES = "python3,python3-systemd,python3-dbus,python3-gi,libglib2.0-bin,dbus-user-session"
INSIDE = "/src/tests/system/box/inside.py"
BOUND = 60
Done = subprocess.CompletedProcess[str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first box on a machine is built from Debian's packages, which may take minutes."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(600))


class Box:
    """A booted box. Commands are text for its shell."""

    def __init__(self, path: Path, bus: str) -> None:
        self.path = path
        self.bus = bus

    def sysbox(self, command: str, *arguments: str, **options: Any) -> Done:
        """Run the tool."""
        return subprocess.run(
            [SYSBOX, command, self.path, *arguments],
            check=True,
            capture_output=True,
            text=True,
            **options,
        )

    def boot(self) -> None:
        self.sysbox("boot", "--bind-ro", f"{ROOT}:/src", "--bus", self.bus)

    def command(self, script: str, user: str = "root") -> list[str]:
        """The command on this machine that runs `script` in the box."""
        return [
            str(SYSBOX),
            "exec",
            str(self.path),
            "--user",
            user,
            "--timeout",
            str(BOUND),
            "--",
            "sh",
            "-c",
            script,
        ]

    def tried(self, script: str, user: str = "root") -> Done:
        """The result, also of a failure."""
        return subprocess.run(
            self.command(script, user), check=False, capture_output=True, text=True
        )

    def run(self, script: str, user: str = "root") -> str:
        """The output of a command that must succeed."""
        done = self.tried(script, user)
        assert done.returncode == 0, f"{script}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    # ocibridge.

    def oci(self, arguments: str, user: str = "root") -> str:
        return self.run(f"{CALL} {arguments}", user)

    def refused(self, arguments: str, user: str = "root") -> str:
        """The error text of a call that must fail."""
        done = self.tried(f"{CALL} {arguments}", user)
        assert done.returncode == 1, done.stdout
        return done.stderr.strip().removeprefix("Call failed: ")

    def start(self, container_id: str, bundle: str = "/opt/bundles/sleep") -> int:
        return int(
            self.oci(f'startContainer ssssas {container_id} {bundle} "" "" 0').removeprefix("i ")
        )

    def until(self, name: str, value: str) -> None:
        """Until a property of the manager has that value."""
        self.run(f"{INSIDE_CALL} until {name} {value}")

    def owner(self, former: str = "-") -> str:
        """The unique name of ocibridge, once it differs from `former`."""
        return self.run(f"{INSIDE_CALL} owner {former}")

    def show(self, unit: str, *names: str) -> list[str]:
        """Properties of a unit, in the order of `names`."""
        values = dict(
            line.split("=", 1)
            for line in self.run(f"systemctl show {unit} -p {','.join(names)}").splitlines()
        )
        return [values[name] for name in names]

    def status(self) -> str:
        """The status line in `systemctl status`."""
        return self.show("ocibridge", "StatusText")[0]

    # The journal.

    def cursor(self) -> str:
        """The present end of the journal."""
        return self.run("journalctl --sync; journalctl -n 1 --show-cursor -q").partition(
            "-- cursor: "
        )[2]

    def journal(self, since: str, *matches: str) -> list[dict[str, str]]:
        """The matching entries after that cursor."""
        wanted = " ".join(map(shlex.quote, matches))
        # Not --after-cursor: with a match it skips the first matching entry.
        lines = self.run(
            f"journalctl --sync; journalctl -q -o json --cursor={shlex.quote(since)} {wanted}"
        ).splitlines()
        return [entry for entry in map(json.loads, lines) if entry["__CURSOR"] != since]


CALL = (
    "busctl --timeout=40 -- call org.rdk.OCIContainer /org/rdk/OCIContainer org.rdk.OCIContainer1"
)
INSIDE_CALL = f"python3 {INSIDE}"


def install(box: Box, directory: Path) -> None:
    """Install ocibridge with tools/install, and the fake Dobby beside it."""
    subprocess.run(
        [ROOT / "tools" / "install"], env=os.environ | {"DESTDIR": str(directory)}, check=True
    )
    files = subprocess.run(
        ["tar", "-C", directory, "-c", "usr"], stdout=subprocess.PIPE, check=True
    ).stdout
    subprocess.run(box.command("tar -x -C / --no-same-owner"), input=files, check=True)
    box.run(f"""
        set -e
        cp /src/tests/system/box/dobby.service /etc/systemd/system/
        cp /src/tests/system/box/dobby.conf /etc/dbus-1/system.d/
        systemd-sysusers
        useradd --create-home other
        useradd --create-home --groups ocibridge member
        useradd --create-home --groups ocibridge-callers launcher
        useradd --create-home --groups ocibridge-callers caller
        PYTHONPATH=/src python3 -c '{BUNDLES}'
        systemctl daemon-reload
        systemctl reload dbus
        journalctl --update-catalog
        systemctl enable ocibridge dobby
    """)


BUNDLES = """
from pathlib import Path
from tests.fake_dobby.bundles import make_bundle
make = lambda *a, **k: make_bundle(Path("/opt/bundles"), *a, **k)
make("sleep")
make("slow-start", start="2000")
make("no-plugins", plugins=False)
make("crashing", exit="139 200")
for folder in ("/opt/apps", "/opt/apps/more", "/opt/apps-evil"):
    make_bundle(Path(folder), "app")
"""


@pytest.fixture(scope="session", params=["daemon", "broker"])
def booted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    """One box per kind of bus, booted again after the installation."""
    if not SYSBOX.exists():
        pytest.skip(
            f"no sysbox at {SYSBOX} (set SYSBOX): nothing of systemd, the system bus and the "
            "journal is tested"
        )
    box = Box(tmp_path_factory.mktemp("box"), request.param)
    box.sysbox("create", "--include", PACKAGES)
    try:
        box.boot()
        install(box, tmp_path_factory.mktemp("root"))
        box.sysbox("stop")
        box.boot()
        yield box
    finally:
        box.sysbox("destroy")


@pytest.fixture
def box(booted: Box) -> Iterator[Box]:
    """The box with both daemons just started, no containers, and a former test's changes undone."""
    booted.run("systemctl unmask --runtime -q dobby ocibridge; systemctl restart dobby ocibridge")
    booted.until("DobbyStatus", "ready")
    yield booted
    restore = [
        "rm -rf /etc/ocibridge /run/systemd/system/*.service.d",
        "systemctl daemon-reload",
        "systemctl reset-failed",
    ]
    booted.run("; ".join(restore))


@pytest.fixture
def background(box: Box) -> Iterator[Any]:
    """Starts a script in the box beside the test. `communicate` reads its output."""
    started: list[subprocess.Popen[str]] = []

    def begin(script: str, user: str = "root") -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                box.command(script, user), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.terminate()
        process.communicate(timeout=BOUND)

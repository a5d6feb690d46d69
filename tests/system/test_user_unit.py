# SPDX-License-Identifier: Apache-2.0
"""The user unit, with the user's own systemd and session bus."""

from collections.abc import Iterator

import pytest

from tests.system.conftest import Box

CALL = "busctl --user -- call org.rdk.OCIContainer /org/rdk/OCIContainer org.rdk.OCIContainer1"
DOBBY = (
    "systemd-run --user -q --unit=dobby -p Type=dbus -p BusName=org.rdk.dobby"
    " --setenv=PYTHONPATH=/src:/src/.venv/lib/python3.11/site-packages "
    "--setenv=PYTHONDONTWRITEBYTECODE=1"
    " /usr/bin/python3 -m dbusmock --session --template /src/tests/fake_dobby/dobby.py "
    "--parameters {}"
)


class Desk:
    """The session of the user `other`."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def run(self, script: str) -> str:
        return self.box.run(f"export XDG_RUNTIME_DIR=/run/user/$(id -u); {script}", "other")


@pytest.fixture
def desk(box: Box) -> Iterator[Desk]:
    box.run("loginctl enable-linger other; systemctl start user@$(id -u other)")
    desk = Desk(box)
    yield desk
    desk.run("systemctl --user disable -q --now ocibridge; systemctl --user stop dobby; true")


def test_a_life(desk: Desk) -> None:
    desk.run("systemctl --user enable -q --now ocibridge")
    output = desk.run("systemctl --user show ocibridge -p ActiveState,StatusText")
    assert set(output.splitlines()) == {
        "ActiveState=active",
        "StatusText=waiting for org.rdk.dobby",
    }
    desk.run(DOBBY)
    desk.run("gdbus wait --session --timeout 30 org.rdk.dobby")
    started = desk.run(
        f"until {CALL} listContainers 2>/dev/null; do :; done; {CALL} startContainer ssssas app "
        '/opt/bundles/sleep "" "" 0'
    )
    assert started.startswith("a(is) 0\ni ")
    pid = desk.run("systemctl --user show ocibridge -p MainPID --value")
    desk.run("systemctl --user reload ocibridge")
    desk.run(
        "systemctl --user kill -s KILL ocibridge; gdbus wait --session --timeout 30 "
        "org.rdk.OCIContainer"
    )
    assert desk.run(f"until {CALL} listContainers 2>/dev/null; do :; done").startswith("a(is) 1")
    assert desk.run("systemctl --user show ocibridge -p MainPID --value") != pid


def test_activated_by_a_call(desk: Desk) -> None:
    desk.run("systemctl --user enable -q ocibridge")
    said = desk.run(f"{CALL} listContainers 2>&1; true")
    assert "Dobby is not on the bus" in said
    assert desk.run("systemctl --user is-active ocibridge") == "active"

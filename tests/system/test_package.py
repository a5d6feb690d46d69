# SPDX-License-Identifier: Apache-2.0
"""The Debian package in a bare box: installed, used, upgraded, removed and purged.

With both kinds of bus.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocibridge import __version__
from tests.package.build import build
from tests.system.conftest import ROOT, SYSBOX, Box

NEWER = f"{__version__}+test"
JSON_RPC = (
    "busctl call org.rdk.OCIContainer /org/rdk/OCIContainer org.rdk.OCIContainer1.JsonRpc invoke s "
    """'{"jsonrpc": "2.0", "id": 1, "method": "listContainers"}'"""
)


@pytest.fixture(scope="module")
def packages() -> tuple[Path, Path]:
    """This version, and the same code with a higher version."""
    return build(), build(NEWER)


@pytest.fixture(params=["daemon", "broker"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    """A box without Python."""
    if not SYSBOX.exists():
        pytest.skip(f"no sysbox at {SYSBOX} (set SYSBOX): the package is not tried")
    box = Box(tmp_path / "box", request.param)
    box.path.mkdir()
    box.sysbox("create")
    try:
        box.boot()
        assert box.tried("command -v python3").returncode != 0
        box.run("apt-get update -qq")
        yield box
    finally:
        box.sysbox("destroy")


def apt(box: Box, command: str) -> None:
    box.run(f"DEBIAN_FRONTEND=noninteractive apt-get {command} -y -qq --no-install-recommends 2>&1")


def files(box: Box) -> set[str]:
    """All files with the name, except the journal's and apt's."""
    elsewhere = " -o ".join(
        f"-path {folder}" for folder in ("/proc", "/sys", "/src", "/var/log", "/var/cache/apt")
    )
    return set(
        box.run(
            rf"find / /run -xdev \( {elsewhere} \) -prune -o -iname '*oci*container*' -print -o "
            r"-iname '*ocibridge*' -print"
        ).split()
    )


def test_install_upgrade_and_purge(bare: Box, packages: tuple[Path, Path]) -> None:
    """The package from its installation to its purge.

    Installed, it is enabled and active, and answers those it should. An upgrade loses nothing. A
    purge leaves nothing.
    """
    this, newer = (f"/src/{path.relative_to(ROOT)}" for path in packages)
    before = files(bare)

    apt(bare, f"install {this}")
    assert bare.run("systemctl is-enabled ocibridge dbus-org.rdk.OCIContainer.service").split() == [
        "enabled",
        "alias",
    ]
    assert bare.show("ocibridge", "ActiveState", "NRestarts", "StatusText") == [
        "active",
        "0",
        "waiting for org.rdk.dobby",
    ]
    bare.run("""
        useradd --create-home other
        useradd --create-home --groups ocibridge member
        useradd --create-home --groups ocibridge-callers caller
    """)
    for user in ("root", "member", "caller", "other"):
        assert bare.refused("listContainers", user).startswith("Dobby is not on the bus")
    assert bare.refused("stopContainer sb app false", "member").startswith(
        "Dobby is not on the bus"
    )
    for user in ("caller", "other"):
        assert "ccess" in bare.refused("stopContainer sb app false", user)
    # The bus has read its policy when the groups were there: it lets them call JSON-RPC.
    for user, code in (("member", 0), ("caller", 0), ("other", 1)):
        assert (user, bare.tried(JSON_RPC, user).returncode) == (user, code)
    assert bare.run("systemctl --user --global is-enabled ocibridge || true", "root") == "disabled"
    assert bare.run("ocibridge --version") == f"ocibridge {__version__}"
    assert (
        bare.run("ocibridge --check-config")
        == "ocibridge: the configuration is valid: /etc/ocibridge/ocibridge.yaml"
    )
    bare.run(
        "journalctl --dump-catalog 4426ae53ca6240c6a51d209bd9e5ee76 | grep -q 'Dobby has left the "
        "bus'"
    )
    assert bare.tried("systemd-analyze verify --man=no ocibridge.service").stderr == ""

    apt(bare, "install python3-dbusmock python3-gi")
    smoke = bare.tried("cd /src && packaging/debian/tests/smoke")
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr

    bare.run(
        "cp /src/tests/system/box/dobby.conf /etc/dbus-1/system.d/;"
        " cp /src/tests/system/box/dobby.service /etc/systemd/system/"
    )
    bare.run("systemctl daemon-reload; systemctl reload dbus; systemctl start dobby")
    bare.run(
        "cp -r /src/examples/bundles /opt; until busctl get-property org.rdk.OCIContainer "
        "/org/rdk/OCIContainer org.rdk.OCIContainer1 DobbyStatus | grep -q ready; do :; done"
    )
    descriptor = bare.start("plain", "/opt/bundles/no-plugins")
    bare.run("echo 'log: {level: debug}' >>/etc/ocibridge/ocibridge.yaml")

    apt(bare, f"-o Dpkg::Options::=--force-confold install {newer}")
    assert bare.run("ocibridge --version") == f"ocibridge {NEWER}"
    assert (
        bare.run(
            "busctl get-property org.rdk.OCIContainer /org/rdk/OCIContainer org.rdk.OCIContainer1 "
            "Version"
        )
        == f's "{NEWER}"'
    )
    assert bare.run("systemctl service-log-level ocibridge") == "debug"
    assert bare.oci("listContainers") == f'a(is) 1 {descriptor} "plain"'
    assert "would crash Dobby" in bare.refused("getContainerInfo s plain")

    apt(bare, "remove ocibridge")
    assert bare.tried("systemctl is-active ocibridge").stdout.strip() == "inactive"
    assert bare.run("cat /etc/ocibridge/ocibridge.yaml").endswith("log: {level: debug}")
    apt(bare, "purge ocibridge")
    assert files(bare) == before
    assert bare.tried("getent passwd ocibridge").returncode == 2
    for group in ("ocibridge", "ocibridge-callers"):
        assert bare.tried(f"getent group {group}").returncode == 2
    assert bare.tried("journalctl --dump-catalog 4426ae53ca6240c6a51d209bd9e5ee76").stdout == ""

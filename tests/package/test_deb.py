# SPDX-License-Identifier: Apache-2.0
"""The Debian package as built. tests/system installs it."""

import re
import subprocess
from pathlib import Path

import pytest

from ocibridge import __version__
from tests.package.build import ROOT, build


@pytest.fixture(scope="module")
def package() -> Path:
    return build()


def test_lintian(package: Path) -> None:
    done = subprocess.run(
        ["lintian", "--fail-on", "error,warning", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, re.findall(r"^[EW]: .*", done.stdout, re.MULTILINE)) == (0, [])


def test_it_is_of_this_version_and_for_debian_12_and_13(package: Path) -> None:
    said = subprocess.check_output(
        ["dpkg-deb", "--field", package, "Version", "Depends"], text=True
    )
    assert f"Version: {__version__}\n" in said
    assert "python3 (>= 3.11), python3 (<< 3.12) | python3 (>= 3.13), python3 (<< 3.14)" in said
    listed = subprocess.check_output(["dpkg-deb", "--contents", package], text=True)
    for module in (
        "msgspec/_core.cpython-311-",
        "msgspec/_core.cpython-313-",
        "sdbus/sd_bus_internals.abi3.so",
    ):
        assert f"/usr/lib/ocibridge/{module}" in listed
    assert "/structlog/" not in listed  # comes from a package of Debian


def test_the_version_is_in_one_place(package: Path) -> None:
    """In the code.

    Everything else reads it there, and the changelog's newest heading is checked.
    """
    assert package.is_file()
    tree = ROOT / "build" / "deb" / f"ocibridge-{__version__}"
    sources = [path.relative_to(tree) for path in tree.rglob("*") if path.is_file()]
    ours = [
        path
        for path in sources
        if path.parts[0] not in {"debian", "wheels", "build"} and path.name != "requirements.lock"
    ]
    spelled = {
        str(path) for path in ours if __version__ in (tree / path).read_text(errors="replace")
    }
    assert spelled == {"ocibridge/__init__.py", "CHANGELOG.md"}
    assert (
        re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
        == __version__
    )

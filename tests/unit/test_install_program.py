# SPDX-License-Identifier: Apache-2.0
"""What the package installs besides the daemon."""

import os
import subprocess
import zipfile
from pathlib import Path

from ocibridge.bus.sd_bus import KNOWN_VERSION

ROOT = Path(__file__).parents[2]


def test_the_version_of_sdbus_can_be_told(tmp_path: Path) -> None:
    """Without the version no reply signature is read, and only Python types are checked."""
    for name, version in (("sdbus", KNOWN_VERSION), ("other", "1.0")):
        with zipfile.ZipFile(tmp_path / f"{name}.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "")
            wheel.writestr(f"{name}-{version}.dist-info/METADATA", "")
    wheels = [str(tmp_path / f"{name}.whl") for name in ("sdbus", "other")]
    root = tmp_path / "root"
    subprocess.run(
        [ROOT / "tools" / "install-program", *wheels],
        env=os.environ | {"DESTDIR": str(root)},
        check=True,
    )
    home = root / "usr" / "lib" / "ocibridge"
    assert [path.name for path in home.glob("*.dist-info")] == [f"sdbus-{KNOWN_VERSION}.dist-info"]
    assert (home / "other" / "__init__.py").exists()
    assert (home / "ocibridge" / "py.typed").exists()

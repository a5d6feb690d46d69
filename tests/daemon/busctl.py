# SPDX-License-Identifier: Apache-2.0
"""Calls of org.rdk.OCIContainer1 with busctl."""

import subprocess
from pathlib import Path

TIMEOUT_SECONDS = 15.0


def busctl_command(address: str, *arguments: str, to: str = "org.rdk.OCIContainer") -> list[str]:
    """The command for a call: options of busctl, the member, its signature, its arguments."""
    options = [a for a in arguments if a.startswith("--")]
    manager = [to, "/org/rdk/OCIContainer", "org.rdk.OCIContainer1"]
    return [
        "busctl",
        f"--address={address}",
        *options,
        "call",
        *manager,
        *arguments[len(options) :],
    ]


def busctl(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Make a call, successful or not."""
    return subprocess.run(
        busctl_command(address, *arguments),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def start_slowly(address: str, bundle: Path) -> "subprocess.Popen[str]":
    """Call startContainer for the id "slow". Returns when it is Starting."""
    call = subprocess.Popen(
        busctl_command(address, "startContainer", "ssssas", "slow", str(bundle), "", "", "0"),
        stdout=subprocess.PIPE,
        text=True,
    )
    while "Starting" not in busctl(address, "getContainerState", "s", "slow").stdout:
        assert call.poll() is None
    return call

# SPDX-License-Identifier: Apache-2.0
"""Runs a private bus, the fake Dobby and ocibridge, for `make run` and the tests."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FAKE_DOBBY = Path(__file__).with_name("dobby.py")

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>{kind}</type>
  <listen>unix:dir={directory}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
  {limits}
</busconfig>
"""
# The limit of a system bus that a bridge can reach: 128 pending replies (docs/sdbus.md, Calling).
SYSTEM_LIMITS = '<limit name="max_replies_per_connection">128</limit>'


class Process:
    """A child process. It is ended, and waited for, at the end of its `with` block."""

    def __init__(self, arguments: list[str], environment: dict[str, str], **options: Any) -> None:
        # In a session of its own, so that Ctrl-C in the terminal reaches only us. We end the
        # children.
        self.child = subprocess.Popen(
            arguments, env=os.environ | environment, start_new_session=True, bufsize=0, **options
        )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for pipe in (self.child.stdout, self.child.stderr):
            if pipe is not None:
                pipe.close()

    def end(self, seconds: float = 10) -> int:
        """SIGTERM, then SIGKILL after `seconds`. Returns the exit code."""
        if self.child.poll() is None:
            self.child.terminate()
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped by SIGSTOP inside the `with` block."""
        self.child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL, and wait."""
        self.child.kill()
        self.child.wait()


@contextmanager
def private_bus(kind: str = "session", limits: dict[str, int] | None = None) -> Iterator[str]:
    """Runs a dbus-daemon that allows everything, and gives its address.

    `limits` are named as in dbus-daemon(1).
    """
    with tempfile.TemporaryDirectory(prefix="ocibridge-bus-") as directory:
        Path(directory).chmod(0o755)
        config = Path(directory, "bus.conf")
        lines = [SYSTEM_LIMITS] if kind == "system" else []
        lines += [f'<limit name="{name}">{value}</limit>' for name, value in (limits or {}).items()]
        config.write_text(
            BUS_CONFIG.format(kind=kind, directory=directory, limits="\n  ".join(lines))
        )
        arguments = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"]
        with Process(arguments, {}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as bus:
            yield next_line(bus.child, 10)


def fake_dobby(address: str, directory: Path = ROOT, **parameters: Any) -> Process:
    """Start the fake Dobby on that bus, with `directory` as its working directory.

    It takes its name a moment later. dobby.py lists the parameters.
    """
    arguments = [
        sys.executable,
        "-m",
        "dbusmock",
        "--session",
        "--template",
        str(FAKE_DOBBY),
        "--parameters",
        json.dumps(parameters),
    ]
    environment = {"DBUS_SESSION_BUS_ADDRESS": address, "PYTHONPATH": str(ROOT)}
    return Process(arguments, environment, stdout=subprocess.DEVNULL, cwd=directory)


def ocibridge(
    address: str, *options: str, environment: dict[str, str] | None = None, **popen: Any
) -> Process:
    """Start the daemon on that bus."""
    program = str(Path(sys.executable).with_name("ocibridge"))
    return Process([program, "--bus", address, *options], environment or {}, **popen)


def until_owned(address: str, name: str = "org.rdk.OCIContainer") -> None:
    """Wait until the name has an owner on that bus, for 20 s at most."""
    wait = ["gdbus", "wait", "--session", "--timeout=20", name]
    subprocess.run(wait, env=os.environ | {"DBUS_SESSION_BUS_ADDRESS": address}, check=True)


def memory_kib(pid: int, field: str = "VmRSS") -> int:
    """VmRSS, or VmHWM for its peak (proc(5)), in KiB. 0 for a process that has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


def open_files(pid: int) -> int:
    """The number of open file descriptors of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def next_line(child: "subprocess.Popen[bytes]", seconds: float) -> str:
    """The next line that the child prints. Raises TimeoutError.

    Its pipe is unbuffered, so select sees all output.
    """
    assert child.stdout is not None
    if not select.select([child.stdout], [], [], seconds)[0]:
        raise TimeoutError(f"{child.args!r} printed nothing within {seconds} s")
    return child.stdout.readline().decode().strip()

# SPDX-License-Identifier: Apache-2.0
"""The commands of the README and of docs/, typed into a shell beside `make run`."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_dobby.processes import ROOT, Process, next_line

BOUND = 30  # seconds; a bound for what hangs, not a measure
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
THUNDER = ROOT / "docs" / "thunder.md"
EXAMPLES = ROOT / "examples"
SHOWN = {"client.py": README, "watch.py": TUTORIAL, "watch.sh": TUTORIAL, "thunder.sh": THUNDER}
OCI = (
    "oci() { busctl --user -- call org.rdk.OCIContainer /org/rdk/OCIContainer"
    ' org.rdk.OCIContainer1 "$@"; }; oci'
)
SLEEP = '"$PWD/examples/bundles/sleep"'


@pytest.fixture
def running() -> Iterator[tuple[Process, list[str]]]:
    """`make run`, and what it printed. SIGINT is ignored, as in a shell without job control."""
    command = [
        "bash",
        "-c",
        'trap "" INT; exec "$@"',
        "-",
        sys.executable,
        "-m",
        "tests.fake_dobby.run",
    ]
    with Process(command, {}, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        lines = []
        while "Ctrl-C" not in (line := next_line(run.child, BOUND)):
            lines.append(line)
        yield run, lines


def shell(script: str, address: str = "") -> str:
    """What bash prints, both streams in their order."""
    environment = os.environ | {"DBUS_SESSION_BUS_ADDRESS": address}
    command = ["bash", "-c", script]
    done = subprocess.run(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BOUND,
        check=False,
    )
    return done.stdout.decode()


def exported(lines: list[str]) -> str:
    (line,) = [line for line in lines if line.startswith("export DBUS_SESSION_BUS_ADDRESS=")]
    return line.partition("=")[2].strip("'")


def steps(text: str) -> list[tuple[str, str]]:
    """(command, output) of each `$` line of the console blocks."""
    found = []
    for block in BLOCK.findall(text):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            found.append((command, output))
    return found


def fits(expected: str, said: str) -> bool:
    """Whether they are equal; "…" stands for anything."""
    return (
        re.fullmatch(".*?".join(map(re.escape, expected.split("…"))), said, re.DOTALL) is not None
    )


def type_all(lines: list[tuple[str, str]], address: str) -> None:
    """Type the commands one after the other; a shell function is there for those that follow it."""
    functions: dict[str, str] = {}
    for command, output in lines:
        if re.match(r"\w+\(\) {", command):
            functions[command.partition("(")[0]] = command
        said = shell("\n".join([*functions.values(), command]), address)
        assert fits(output.rstrip("\n"), said.strip("\n")), f"$ {command}\n{said}"


@pytest.mark.parametrize("page", [README, THUNDER], ids=lambda path: path.name)
def test_every_command_of_a_page(running: tuple[Process, list[str]], page: Path) -> None:
    lines = steps(page.read_text())
    assert lines
    type_all(lines, exported(running[1]))


def test_every_command_of_the_tutorial(running: tuple[Process, list[str]]) -> None:
    """Its first monitor listens meanwhile, and hears what the page shows."""
    address = exported(running[1])
    lines = steps(TUTORIAL.read_text())
    monitors = [step for step in lines if step[0].startswith("gdbus monitor")]
    (monitor, expected) = monitors[0]
    with Process(
        ["stdbuf", "-oL", *monitor.split()],
        {"DBUS_SESSION_BUS_ADDRESS": address},
        stdout=subprocess.PIPE,
    ) as listener:
        while "is owned by" not in next_line(listener.child, BOUND):
            pass
        type_all([step for step in lines if step not in monitors], address)
        heard = [next_line(listener.child, BOUND)]
        while "InterfacesRemoved" not in heard[-1]:
            heard.append(next_line(listener.child, BOUND))
    text = "\n".join(
        line
        for line in heard
        if "ContainerCount" not in line and "JsonRpc.notification" not in line
    )
    assert fits(expected.rstrip("\n"), text), text


@pytest.mark.parametrize("example", SHOWN)
def test_a_page_shows_the_example(example: str) -> None:
    assert (EXAMPLES / example).read_text() in SHOWN[example].read_text()


def test_the_client(running: tuple[Process, list[str]]) -> None:
    """It starts a container, hears of its end, and passes on what an error says."""
    address = exported(running[1])
    command = [str(EXAMPLES / "client.py"), "Demo", str(EXAMPLES / "bundles" / "sleep")]
    environment = {"DBUS_SESSION_BUS_ADDRESS": address}
    with Process(command, environment, stdout=subprocess.PIPE) as client:
        assert next_line(client.child, BOUND).startswith("descriptor ")
        assert "ContainerExists" in shell(" ".join(command), address)
        assert shell(f"{OCI} stopContainer sb Demo false", address) == ""
        assert next_line(client.child, BOUND) == "requested"
        assert client.child.wait(BOUND) == 0


def maybe_line(process: Process) -> str:
    """The next line, if one comes within a moment."""
    try:
        return next_line(process.child, 0.3)
    except TimeoutError:
        return ""


@pytest.mark.parametrize("program", ["watch.py", "watch.sh"])
def test_the_clients_that_only_listen(running: tuple[Process, list[str]], program: str) -> None:
    address = exported(running[1])
    sleep = f'{SLEEP} "" "" 0'
    shell(f"{OCI} startContainer ssssas Early {sleep}", address)
    with Process(
        [str(EXAMPLES / program)],
        {"DBUS_SESSION_BUS_ADDRESS": address},
        stdout=subprocess.PIPE,
    ) as client:
        assert next_line(client.child, BOUND) == "Early Running"
        while not (heard := maybe_line(client)):  # until the shell's monitor listens, too
            shell(f"{OCI} pauseContainer s Early; oci resumeContainer s Early", address)
        assert heard == "Early Paused"
        shell(
            f"{OCI} startContainer ssssas App {sleep}; oci pauseContainer s App;"
            " oci stopContainer sb App true",
            address,
        )
        while "App" not in heard:
            heard = next_line(client.child, BOUND)
        lines = [heard, *(next_line(client.child, BOUND) for _ in range(2))]
        os.killpg(client.child.pid, signal.SIGTERM)
    assert lines == ["App Running", "App Paused", "App Stopped"]
    assert "\n".join(lines) in TUTORIAL.read_text()


def test_what_make_run_prints_can_be_pasted(running: tuple[Process, list[str]]) -> None:
    _, lines = running
    commands = [
        line for line in lines if line.startswith(("cd ", "export ", "oci() ", "oci ", "busctl "))
    ]
    assert len(commands) == 6
    said = shell("\n".join(["set -e", *commands]))
    assert said.startswith('a(is) 0\ns "ready"\nu 0\n'), said
    assert "startContainerFromDobbySpec" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_everything_that_make_run_started(
    running: tuple[Process, list[str]], number: int
) -> None:
    run, lines = running
    address = exported(lines)
    children = Path(f"/proc/{run.child.pid}/task/{run.child.pid}/children").read_text().split()
    assert len(children) == 3
    run.child.send_signal(number)
    assert run.child.wait(BOUND) == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert not Path(address.partition("=")[2].partition(",")[0]).exists()


def test_make_run_says_when_the_daemon_ends_by_itself(running: tuple[Process, list[str]]) -> None:
    run, _ = running
    children = Path(f"/proc/{run.child.pid}/task/{run.child.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    assert run.child.wait(BOUND) == 1

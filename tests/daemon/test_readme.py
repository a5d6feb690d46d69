"""The README's own lines, typed into a shell beside `make run`: the replies are as it shows them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_dobby.processes import ROOT, Process, next_line

BOUND = 30
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def running() -> Iterator[tuple[Process, list[str]]]:
    """`make run`, started as a shell without job control does (SIGINT ignored), and what it has printed."""
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
    """What a bash says to it, both streams in their order."""
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
    """(command, what it prints) of each `$` line of the blocks."""
    found = []
    for block in BLOCK.findall(text):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            found.append((command, output))
    return found


def fits(shown: str, said: str) -> bool:
    """Equal, where "…" stands for anything."""
    return re.fullmatch(".*?".join(map(re.escape, shown.split("…"))), said, re.DOTALL) is not None


def test_every_line_of_the_readme(running: tuple[Process, list[str]]) -> None:
    address = exported(running[1])
    lines = steps((ROOT / "README.md").read_text())
    monitors = [step for step in lines if step[0].startswith("gdbus monitor")]
    (monitor, shown) = monitors[0]
    with Process(
        ["stdbuf", "-oL", *monitor.split()],
        {"DBUS_SESSION_BUS_ADDRESS": address},
        stdout=subprocess.PIPE,
    ) as listener:
        while "is owned by" not in next_line(listener.child, BOUND):
            pass
        functions: dict[str, str] = {}
        for command, output in (step for step in lines if step not in monitors):
            if re.match(r"\w+\(\) {", command):
                functions[command.partition("(")[0]] = command
            said = shell("\n".join([*functions.values(), command]), address)
            assert fits(output.rstrip("\n"), said.strip("\n")), f"$ {command}\n{said}"
        told = [next_line(listener.child, BOUND)]
        while "InterfacesRemoved" not in told[-1]:
            told.append(next_line(listener.child, BOUND))
    heard = "\n".join(
        line for line in told if "ContainerCount" not in line and "JsonRpc.notification" not in line
    )
    assert fits(shown.rstrip("\n"), heard), heard


def test_the_recipe_is_the_example() -> None:
    assert (ROOT / "examples" / "thunder.sh").read_text() in (ROOT / "README.md").read_text()


def maybe_line(process: Process) -> str:
    """The next line, if one comes within a moment."""
    try:
        return next_line(process.child, 0.3)
    except TimeoutError:
        return ""


@pytest.mark.parametrize("program", ["watch.py", "watch.sh"])
def test_the_clients_that_only_listen(running: tuple[Process, list[str]], program: str) -> None:
    readme = (ROOT / "README.md").read_text()
    assert (ROOT / "examples" / program).read_text() in readme
    address = exported(running[1])
    oci = 'oci() { busctl --user -- call org.rdk.OCIContainer /org/rdk/OCIContainer org.rdk.OCIContainer1 "$@"; }; oci '
    sleep = '"$PWD/examples/bundles/sleep" "" "" 0'
    shell(f"{oci} startContainer ssssas Early {sleep}", address)
    with Process(
        [str(ROOT / "examples" / program)],
        {"DBUS_SESSION_BUS_ADDRESS": address},
        stdout=subprocess.PIPE,
    ) as client:
        assert next_line(client.child, BOUND) == "Early Running"
        while not (heard := maybe_line(client)):  # until the shell's monitor listens as well
            shell(f"{oci} pauseContainer s Early; oci resumeContainer s Early", address)
        assert heard == "Early Paused"
        shell(
            f"{oci} startContainer ssssas App {sleep}; oci pauseContainer s App; oci stopContainer sb App true",
            address,
        )
        while "App" not in heard:
            heard = next_line(client.child, BOUND)
        told = [heard, *(next_line(client.child, BOUND) for _ in range(2))]
        os.killpg(client.child.pid, signal.SIGTERM)
    assert told == ["App Running", "App Paused", "App Stopped"]
    assert "\n".join(told) in readme


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

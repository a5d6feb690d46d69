# SPDX-License-Identifier: Apache-2.0
"""The fake Dobby against captures of the real one.

The same calls in the same order get the same answers (docs/dobby-captures/README.md).
"""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ocibridge.bus.connection import ErrorReply
from tests.fake_dobby.bundles import make_capture_bundles
from tests.fake_dobby.client import Client
from tests.fake_dobby.processes import Process

CAPTURES = Path(__file__).parents[2] / "docs" / "dobby-captures"
# Those whose every call the fake Dobby can repeat.
REPLAYED = (
    "01_introspect_and_errors",
    "10_start_stop_basic",
    "11_wrong_args",
    "12_ops_success_and_failure",
    "25_exec",
)
CALL = re.compile(r"\[ *[\d.]+\] -> #(\d+) (\w+)\.(\w+)\((.*?)\) (\(.*\))$")
ANSWER = re.compile(
    r"\[ *[\d.]+\] <- (?:REPLY|ERROR ([\w.]+)) sig='\w*' body=(\(.*\)) \(#(\d+), [\d.]+ ms\)$"
)
SIGNAL = re.compile(
    r"\[ *[\d.]+\] <- SIGNAL org\.rdk\.dobby\.\w+\.(\w+) path=\S+ sig='\w*' body=(\(.*\))$"
)
STANDARD = {"Peer", "Introspectable", "Properties", "ObjectManager"}
# Not replayed: calls to other objects or without an interface, which the line does not show; Peer,
# which libdbus answers with other texts; a relative path; SetAIDbusAddress and debug1, which the
# fake does not have.
ELSEWHERE = {
    "01_introspect_and_errors": {8, 9, 11, 12, 13, 14, 21, 22, 23, 24},
    "11_wrong_args": set(range(85, 95)),
    "12_ops_success_and_failure": {5},
}


SIGNALS = ("Started", "StoppedWithStatus", "Stopped", "Hibernated", "Awoken")


@dataclass
class Replay:
    """Replays one capture. Descriptors differ between runs, so they are mapped as they appear."""

    client: Client
    descriptors: dict[int, int]
    position: int = 0

    async def call(
        self, word: str, member: str, signature: str, arguments: tuple[Any, ...]
    ) -> tuple[str | None, tuple[Any, ...]]:
        interface = f"org.{'freedesktop.DBus' if word in STANDARD else 'rdk.dobby'}.{word}"
        if arguments and signature.startswith("i"):
            arguments = (self.descriptors.get(arguments[0], arguments[0]), *arguments[1:])
        try:
            body = await self.client.call(
                "org.rdk.dobby", "/org/rdk/dobby", interface, member, signature, *arguments
            )
        except ErrorReply as error:
            return error.name, (error.text,)
        return None, body

    async def expect_signal(self, member: str, body: tuple[Any, ...]) -> None:
        await self.client.until_heard(self.position + 1, *SIGNALS)
        got_member, *got = self.client.heard(*SIGNALS)[self.position]
        self.position += 1
        if member == "Started":
            self.descriptors[body[0]] = got[0]
        assert (got_member, *got) == (member, self.descriptors[body[0]], *body[1:])

    def mapped(self, body: tuple[Any, ...]) -> tuple[Any, ...]:
        """The captured body with the descriptors of this run."""
        if len(body) == 2 and isinstance(body[0], list):
            return [self.descriptors.get(d, d) for d in body[0]], body[1]
        if len(body) == 1 and type(body[0]) is int:
            return (self.descriptors.get(body[0], body[0]),)
        return body


@pytest.mark.parametrize("name", REPLAYED)
async def test_answers_as_the_capture_shows(
    name: str, client: Client, start_dobby: Callable[..., Process], tmp_path: Path
) -> None:
    make_capture_bundles(tmp_path / "bundles")
    await client.listen()
    start_dobby()
    await client.until_signal("Ready")
    replay = Replay(client, {})
    answers: dict[str, tuple[str | None, tuple[Any, ...]]] = {}
    compared = 0
    for line in (CAPTURES / f"{name}.txt").read_text().splitlines():
        if (call := CALL.match(line)) and int(call[1]) not in ELSEWHERE.get(name, ()):
            answers[call[1]] = await replay.call(
                call[2], call[3], call[4], ast.literal_eval(call[5])
            )
        elif (answer := ANSWER.match(line)) and answer[3] in answers:
            error, body = answers[answer[3]]
            wanted = replay.mapped(ast.literal_eval(answer[2]))
            if (
                error is None
                and wanted
                and isinstance(wanted[0], str)
                and wanted[0].startswith("{")
            ):
                assert json.loads(body[0]).keys() == json.loads(wanted[0]).keys()
            else:
                assert (error, body) == (answer[1], wanted), line
            compared += 1
        elif signal := SIGNAL.match(line):
            await replay.expect_signal(signal[1], ast.literal_eval(signal[2]))
    assert compared >= 5

# SPDX-License-Identifier: Apache-2.0
"""Waits for states: which events of the mirror complete them, and with which word."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from ocibridge.bridge.waiters import ANY, StateWaiter
from ocibridge.errors import BridgeError, DobbyUnavailable
from ocibridge.mirror.observations import (
    DobbyLost,
    EndConfirmed,
    Listed,
    StartAnswered,
    StateSeen,
    StateSignal,
    StatusSeen,
    Stopped,
)
from ocibridge.model import Caller, DobbyStatus, SubState
from tests.unit.bridge.test_transitions import WiredMirror
from tests.unit.mirror.test_mirror import BUNDLE, found


class Scene(WiredMirror):
    """A mirror with a container "a", and waits that are entered by `wait`."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack
        self.run("a", 91)

    def wait(self, text: str, word: str) -> StateWaiter:
        return self._stack.enter_context(self.waits.enter(text, word))

    def send_start(self, container_id: str) -> None:
        """Send a start."""
        self.mirror.send_start(container_id, BUNDLE)

    def plan_failed(self, container_id: str) -> None:
        self(StartAnswered, self.mirror.position, container_id, 0)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def word(wait: StateWaiter) -> str:
    """The word that was reached, "" if none was."""
    return wait.reached.result() if wait.reached.done() else ""


@pytest.mark.parametrize("text", ["a", "91"])
@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("Hibernated", True),
        ("Paused", True),
        (ANY, True),
        ("Running", False),
        ("Hibernating", False),
        ("Stopped", False),
    ],
)
async def test_a_wait_ends_with_the_state_or_the_substate_that_it_names(
    scene: Scene, text: str, wanted: str, reached: bool
) -> None:
    wait = scene.wait(text, wanted)
    scene(StateSignal, 91, "a", SubState.HIBERNATED)
    assert (wait.reached.done(), word(wait)) == (reached, wanted if reached else "")


async def test_a_state_that_is_left_again_has_been_reached(scene: Scene) -> None:
    hibernated, awakening = scene.wait("a", "Hibernated"), scene.wait("91", "Awakening")
    for substate in (SubState.HIBERNATED, SubState.AWAKENING, SubState.RUNNING):
        scene(StateSignal, 91, "a", substate)
    scene(Stopped, 91, "a")
    assert (word(hibernated), word(awakening)) == ("Hibernated", "Awakening")


async def test_a_stop_of_ours_shows(scene: Scene) -> None:
    wait = scene.wait("a", "Stopping")
    scene.mirror.begin_stop(found(scene.mirror, "a"), Caller(":1.1"))
    assert word(wait) == "Stopping"


@pytest.mark.parametrize("text", ["a", "91"])
async def test_an_end_ends_each_wait_of_that_container_and_no_other(
    scene: Scene, text: str
) -> None:
    scene.run("b", 45)
    mine = [scene.wait(text, wanted) for wanted in ("Paused", "Stopped", "Hibernating", ANY)]
    others = [
        scene.wait("b", "Stopped"),
        scene.wait("45", "Paused"),
        scene.wait("never", "Running"),
    ]
    scene(Stopped, 91, "a")
    assert [word(wait) for wait in mine] == ["Stopped"] * 4
    assert [word(wait) for wait in others] == [""] * 3


@pytest.mark.parametrize("signalled", [True, False])
async def test_the_end_of_what_was_never_announced_ends_each_wait(
    scene: Scene, signalled: bool
) -> None:
    """A List found it, and it was gone before its state was known."""
    scene(Listed, scene.mirror.position, ((91, "a"), (45, "b")))
    waits = [scene.wait("b", "Stopped"), scene.wait("45", "Running"), scene.wait("a", "Stopped")]
    scene(StateSeen, scene.mirror.position, 45, SubState.INVALID)
    if signalled:
        scene(Stopped, 45, "b")
    scene(Listed, scene.mirror.position, ((91, "a"),))
    if not signalled:
        scene(EndConfirmed, "b", 45, scene.mirror.position)
    assert [word(wait) for wait in waits] == ["Stopped", "Stopped", ""]


async def test_a_container_that_comes_reaches_running(scene: Scene) -> None:
    waits = [scene.wait("c", "Running"), scene.wait("22", "Running"), scene.wait("c", "Paused")]
    scene.run("c", 22)
    assert [word(wait) for wait in waits] == ["Running", "Running", ""]


async def test_a_start_that_goes_out_and_fails(scene: Scene) -> None:
    starting, stopped, running = (
        scene.wait("c", "Starting"),
        scene.wait("c", "Stopped"),
        scene.wait("c", "Running"),
    )
    scene.send_start("c")
    assert (word(starting), word(stopped), word(running)) == ("Starting", "", "")
    scene.plan_failed("c")
    assert (word(stopped), word(running)) == ("Stopped", "")


async def test_a_start_of_what_is_there_changes_no_wait(scene: Scene) -> None:
    """Dobby will refuse the start, and the container continues to run."""
    waits = [scene.wait("a", wanted) for wanted in ("Starting", "Stopped")]
    scene.send_start("a")
    scene.plan_failed("a")
    assert [word(wait) for wait in waits] == ["", ""]


async def test_dobby_lost_ends_what_was_there_and_fails_the_rest(scene: Scene) -> None:
    there = [scene.wait(text, "Paused") for text in ("a", "91")]
    never = [scene.wait(text, "Running") for text in ("never", "45")]
    scene(DobbyLost)
    assert [word(wait) for wait in there] == ["Stopped", "Stopped"]
    for wait in never:
        assert isinstance(wait.reached.exception(), DobbyUnavailable)


async def test_a_dobby_that_is_deaf_ends_no_wait(scene: Scene) -> None:
    waits = [scene.wait("a", "Paused"), scene.wait("never", "Running")]
    scene(StatusSeen, DobbyStatus.DEAF)
    scene(StatusSeen, DobbyStatus.READY)
    assert not any(wait.reached.done() for wait in waits)


async def test_the_first_word_counts(scene: Scene) -> None:
    wait = scene.wait("a", ANY)
    wait.reach("Paused")
    wait.reach("Running")
    wait.fail(DobbyUnavailable("too late"))
    assert word(wait) == "Paused"


async def test_a_failure_that_nobody_hears_is_no_complaint(scene: Scene) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, complaint: complaints.append(complaint)
    )
    with scene.waits.enter("never", "Running") as wait:
        wait.fail(DobbyUnavailable("gone"))
    del wait
    gc.collect()
    assert complaints == []


async def test_a_wait_that_is_left_is_forgotten(scene: Scene) -> None:
    """Waits for unknown ids are kept separately, and removed when they end."""
    with pytest.raises(BridgeError), scene.waits.enter("never", "Running") as wait:
        raise BridgeError("the caller has left")
    assert wait.reached.cancelled()
    stays = scene.wait("a", "Paused")
    with scene.waits.enter("a", "Paused"):
        pass
    assert list(scene.waits._waiters) == ["a"]
    scene(StateSignal, 91, "a", SubState.PAUSED)
    assert word(stays) == "Paused"

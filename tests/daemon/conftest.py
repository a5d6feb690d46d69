# SPDX-License-Identifier: Apache-2.0
"""The real program on a private bus."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fake_dobby.processes import Process, ocibridge, private_bus

StartBridge = Callable[..., Process]


@pytest.fixture
def address() -> Iterator[str]:
    with private_bus() as address:
        yield address


@pytest.fixture
def start(address: str, tmp_path: Path) -> Iterator[StartBridge]:
    """Starts the program with the given options. Its stderr goes to the file `log` in tmp_path."""
    with ExitStack() as stack:

        def start(*options: str) -> Process:
            log = stack.enter_context((tmp_path / "log").open("ab"))
            return stack.enter_context(
                ocibridge(
                    address, *options, environment={"RUNTIME_DIRECTORY": str(tmp_path)}, stderr=log
                )
            )

        yield start

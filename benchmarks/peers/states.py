# SPDX-License-Identifier: Apache-2.0
"""What all peers do: forward getContainerState (s -> ss) as GetState (i -> i), without checks."""

from typing import Final

DOBBY: Final = "org.rdk.dobby", "/org/rdk/dobby", "org.rdk.dobby.ctrl1"
PATH: Final = "/org/rdk/OCIContainer"
INTERFACE: Final = "org.rdk.OCIContainer1"
STATES: Final = (
    "Invalid",
    "Starting",
    "Running",
    "Stopping",
    "Paused",
    "Hibernating",
    "Hibernated",
    "Awakening",
)


def descriptor(container_id: str) -> int:
    """The descriptor of a container of the backend."""
    return int(container_id.removeprefix("bench"))

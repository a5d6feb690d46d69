# SPDX-License-Identifier: Apache-2.0
"""The events as JSON-RPC notifications (docs/design.md, JSON-RPC)."""

from pathlib import Path

import pytest

from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client
from tests.fake_dobby.processes import Process


async def test_the_notifications(oci: Client, tmp_path: Path) -> None:
    """As Thunder sends them. Each precedes the D-Bus signal of the same event."""
    await oci.start("app", make_bundle(tmp_path, "crashing", exit="139 200"))
    await oci.until_signal("onContainerStopped")
    await oci.until_heard(5, "notification")
    prefix = '{"jsonrpc":"2.0","method":"org.rdk.OCIContainer.1.'
    assert [body[0] for member, *body in oci.heard("notification")] == [
        prefix + 'onContainerStateChanged","params":{"containerId":"app","state":"Running"}}',
        prefix + 'onContainerStarted","params":{"descriptor":"734","name":"app"}}',
        prefix + 'onContainerFailed","params":{"descriptor":734,"name":"app","errorCode":3}}',
        prefix + 'onContainerStateChanged","params":{"containerId":"app","state":"Stopped"}}',
        prefix + 'onContainerStopped","params":{"descriptor":"734","name":"app","exitCode":-1}}',
    ]
    members = [
        m
        for m, *_ in oci.heard(
            "notification", "onContainerStarted", "onContainerFailed", "onContainerStopped"
        )
    ]
    said = "notification"
    assert members == [
        said,
        "onContainerStarted",
        said,
        "onContainerFailed",
        said,
        said,
        "onContainerStopped",
        said,
    ]


async def ended(client: Client) -> str:
    """The notification of the end of the container "app"."""
    beginning = '{"jsonrpc":"2.0","method":"org.rdk.OCIContainer.1.onContainerStopped"'
    found: list[str] = []

    def is_there() -> bool:
        found[:] = [text for _, text in client.heard("notification") if text.startswith(beginning)]
        return bool(found)

    await client.until(is_there)
    return found[0].removeprefix(f"{beginning},")


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, -1), (11 | 128, -1)],
    ids=["success", "failure", "the largest", "signal", "signal with core"],
)
async def test_an_exit_code(app: Client, status: int, exit_code: int) -> None:
    await app.control("Exits", "si", "app", status)
    assert (
        await ended(app) == f'"params":{{"descriptor":"734","name":"app","exitCode":{exit_code}}}}}'
    )
    assert app.heard("onContainerStopped") == [("onContainerStopped", 734, "app")]


async def test_an_end_of_which_nothing_is_known(app: Client, dobby_process: Process) -> None:
    dobby_process.child.kill()
    assert await ended(app) == '"params":{"descriptor":"734","name":"app","exitCode":-1}}'

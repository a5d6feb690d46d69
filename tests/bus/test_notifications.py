# SPDX-License-Identifier: Apache-2.0
"""The events as JSON-RPC notifications (docs/design.md, JSON-RPC)."""

from pathlib import Path

from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client


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
        prefix + 'onContainerStopped","params":{"descriptor":"734","name":"app"}}',
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

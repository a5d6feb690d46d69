# SPDX-License-Identifier: Apache-2.0
"""Every method refuses a container id that is too long, before anything is stored for it."""

import pytest

from tests.fake_dobby.client import Client

LONG = "x" * (1 << 20)
CALLS = [
    ("getContainerState", "s", ()),
    ("getContainerInfo", "s", ()),
    ("startContainer", "ssssas", ("/bundle", "", "", [])),
    ("startContainerFromDobbySpec", "sss", ("{}", "")),
    ("stopContainer", "sb", (False,)),
    ("pauseContainer", "s", ()),
    ("resumeContainer", "s", ()),
    ("execCommand", "sss", ("", "true")),
    ("executeCommand", "sss", ("", "true")),
    ("hibernateContainer", "ss", ("",)),
    ("wakeupContainer", "s", ()),
    ("annotate", "sss", ("k", "v")),
    ("removeAnnotation", "ss", ("k",)),
    ("mount", "sssass", ("/opt", "/opt", ["bind"], "")),
    ("unmount", "ss", ("/opt",)),
    ("waitForState", "sst", ("Running", 1)),
    ("getLastExit", "s", ()),
]


@pytest.mark.parametrize(
    "container_id", ["x" * 129, "é" * 65, LONG], ids=["129 bytes", "130 bytes", "1 MiB"]
)
@pytest.mark.parametrize(("member", "signature", "rest"), CALLS, ids=[call[0] for call in CALLS])
async def test_a_long_id(
    oci: Client, member: str, signature: str, rest: tuple[object, ...], container_id: str
) -> None:
    before = (await oci.report())["calls"]
    name, text = await oci.refused(member, signature, container_id, *rest)
    assert (name, text.startswith("containerId "), len(text) < 400) == ("InvalidArgs", True, True)
    assert "128" in text
    assert (await oci.report())["calls"] == before

# SPDX-License-Identifier: Apache-2.0
"""Size limits on what privileged callers send, so that the bus disconnects neither Dobby nor us."""

import json
from pathlib import Path

import pytest

from ocibridge.api import json_rpc
from ocibridge.names import JSON_RPC_INTERFACE, OBJECT_PATH
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client

MIB = 1 << 20


async def test_annotations_of_a_container_are_bounded_together(oci: Client, tmp_path: Path) -> None:
    """The annotations of a container have one common limit.

    Dobby returns all of them in one message, and the bus disconnects a sender of 32 MiB.
    """
    bundle = make_bundle(tmp_path, "sleep")
    await oci.start("app", bundle)
    for number in range(2):
        await oci.oci("annotate", "sss", "app", f"plain{number}", "x" * MIB)
    name, text = await oci.refused(
        "annotate", "sss", "app", "escaped", "\x01" * (MIB // 4)
    )  # six times as long in JSON
    assert name == "InvalidArgs"
    assert '"escaped"' in text
    assert "3 MiB" in text
    # Together they take 2 MiB. If the overwritten value still counted, the new one would not fit.
    for _ in range(2):
        await oci.oci("annotate", "sss", "app", "plain1", "y" * MIB)
    # 2 MiB + 1.5 MiB is over the limit, 1 MiB + 1.5 MiB is not: removing an annotation frees its
    # share.
    await oci.oci("removeAnnotation", "ss", "app", "plain0")
    await oci.oci("annotate", "sss", "app", "escaped", "\x01" * (MIB // 4))
    await oci.oci("annotate", "sss", "app", "escaped", "smaller")
    # A value that Dobby refuses does not count.
    for _ in range(2):
        await oci.control("AnswersInstead", "sss", "Annotate", "b", "[false]")
        assert (await oci.refused("annotate", "sss", "app", "refused", "x" * MIB))[
            0
        ] == "DobbyRefused"
    await oci.oci("annotate", "sss", "app", "plain0", "x" * MIB)
    await oci.oci("stopContainer", "sb", "app", True)
    await oci.start("app", bundle)
    for number in range(2):
        await oci.oci("annotate", "sss", "app", f"plain{number}", "x" * MIB)
    assert (await oci.oci("getContainerInfo", "s", "app"))["id"] == ("s", "app")


async def test_the_answers_to_a_batch_are_bounded(
    oci: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests beyond the limit are not executed. Each is answered with an error."""
    monkeypatch.setattr(json_rpc, "MAX_ANSWERS_BYTES", 100)
    request = {"jsonrpc": "2.0", "method": "listContainers"}
    batch = json.dumps([request | {"id": number} for number in range(5)])
    (text,) = await oci.call(
        "org.rdk.OCIContainer", OBJECT_PATH, JSON_RPC_INTERFACE, "invoke", "s", batch
    )
    answers = json.loads(text)
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3, 4]
    assert ["result" in answer for answer in answers] == [True, True, False, False, False]
    assert answers[-1]["error"]["data"]["error"] == "org.freedesktop.DBus.Error.LimitsExceeded"


@pytest.mark.parametrize("length", [4096, 100_000])
async def test_a_path_that_no_system_call_takes(oci: Client, length: int) -> None:
    long = "/" + "x" * (length - 1)
    for member, signature, arguments in (
        ("startContainer", "ssssas", ("app", long, "", "", [])),
        ("startContainer", "ssssas", ("app", "/bundle", "", long, [])),
        ("mount", "sssass", ("app", long, "/x", ["bind"], "")),
        ("unmount", "ss", ("app", long)),
    ):
        name, text = await oci.refused(member, signature, *arguments)
        assert name == "InvalidArgs"
        assert "longer than 4095 bytes" in text

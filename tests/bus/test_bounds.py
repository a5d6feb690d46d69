"""What callers with all rights can make large, and what a bus would do to Dobby or to us for it."""

import json
from pathlib import Path

import pytest

from ocibridge.api import json_rpc
from ocibridge.names import JSON_RPC_INTERFACE, OBJECT_PATH
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client

MIB = 1 << 20


async def test_annotations_of_a_container_are_bounded_together(oci: Client, tmp_path: Path) -> None:
    """Dobby shows them all in one message, and the bus throws out who sends 32 MiB: it would never come back."""
    bundle = make_bundle(tmp_path, "sleep")
    await oci.start("app", bundle)
    for number in range(2):
        await oci.oci("annotate", "sss", "app", f"plain{number}", "x" * MIB)
    name, text = await oci.refused(
        "annotate", "sss", "app", "escaped", "\x01" * (MIB // 4)
    )  # as JSON six times as large
    assert name == "InvalidArgs"
    assert '"escaped"' in text
    assert "3 MiB" in text
    # Both together have 2 MiB: counted twice, the overwritten one would have no room.
    for _ in range(2):
        await oci.oci("annotate", "sss", "app", "plain1", "y" * MIB)
    # 2 MiB and 1.5 MiB have no room, 1 MiB and 1.5 MiB have: a removed annotation gives its room back.
    await oci.oci("removeAnnotation", "ss", "app", "plain0")
    await oci.oci("annotate", "sss", "app", "escaped", "\x01" * (MIB // 4))
    await oci.oci("annotate", "sss", "app", "escaped", "smaller")
    # One that Dobby refuses takes no room.
    for _ in range(2):
        await oci.fate("AnswersInstead", "sss", "Annotate", "b", "[false]")
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
    """What is beyond is not done, and said so: each request has its answer."""
    monkeypatch.setattr(json_rpc, "MOST_ANSWERED", 100)
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

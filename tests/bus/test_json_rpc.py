# SPDX-License-Identifier: Apache-2.0
"""The requests in the plugin document, read from its text and run end to end.

See docs/design.md, JSON-RPC.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client
from tests.thunder_spec import plugin

DOCUMENTED = plugin.methods()
CONTAINER = "com.bskyb.epgui"  # the document's
# The folder of the bundles and specs in the document's examples.
CONTAINERS = Path("/containers")


async def answer(client: Client, method: str, **params: Any) -> dict[str, Any]:
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": f"org.rdk.OCIContainer.1.{method}",
        "params": params,
    }
    said: dict[str, Any] = json.loads(await client.invoke(json.dumps(request)))
    return said


@pytest.fixture
def containers() -> Iterator[None]:
    if os.getuid() != 0 or CONTAINERS.exists():
        pytest.skip(
            f"only root can make {CONTAINERS}, which the document's examples name, and only where "
            "there is none"
        )
    CONTAINERS.mkdir()
    try:
        make_bundle(CONTAINERS, "myBundle")
        (CONTAINERS / "dobbySpec").write_text('{"version": "1.1", "args": ["x"], "memLimit": 1}')
        yield
    finally:
        shutil.rmtree(CONTAINERS)


@pytest.fixture
async def box(oci: Client, containers: None, tmp_path: Path) -> Client:
    """Prerequisites of all examples. `prepare` adds those of one method."""
    del containers
    make_bundle(tmp_path, "sleep")
    return oci


async def prepare(client: Client, method: str, bundle: Path) -> None:
    if not method.startswith("start"):
        await client.start(CONTAINER, bundle)
    if method == "resumeContainer":
        await client.oci("pauseContainer", "s", CONTAINER)


def shape(value: Any) -> Any:
    """The shape of a value: members in order, and types. Of an array, its first element's shape."""
    if isinstance(value, dict):
        return [(name, shape(member)) for name, member in value.items()]
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


@pytest.mark.parametrize("method", DOCUMENTED, ids=str)
async def test_the_example_of_the_document(
    box: Client, method: plugin.Method, tmp_path: Path
) -> None:
    """The request is sent byte for byte.

    The response has the same id, and the same members in the same order and of the same types. It
    contains no superfluous white space.
    """
    await prepare(box, method.name, tmp_path / "sleep")
    said = await box.invoke(method.request)
    got, expected = json.loads(said), json.loads(method.response)
    assert said == json.dumps(got, separators=(",", ":"), ensure_ascii=False)
    if method.name == "getContainerInfo":  # Dobby reports more than the document, in its own order
        mine, theirs = got["result"].pop("info"), expected["result"].pop("info")
        assert {name: shape(mine[name]) for name in theirs} == {
            name: shape(value) for name, value in theirs.items()
        }
        assert list(json.loads(said)["result"]) == ["info", "success"]
    assert shape(got) == shape(expected)
    assert got["id"] == expected["id"]
    assert got["result"]["success"] is True
    if method.name == "getContainerState":
        assert got["result"] == expected["result"]


PARAMETERS = [(m, p) for m in DOCUMENTED for p in m.parameters if not p.name.endswith("[#]")]


def request_of(method: plugin.Method) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(method.request)
    return request


@pytest.mark.parametrize(("method", "parameter"), PARAMETERS, ids=str)
async def test_a_parameter_left_out(
    box: Client, method: plugin.Method, parameter: plugin.Parameter, tmp_path: Path
) -> None:
    """A missing required parameter is refused and named. An optional one may be missing or null."""
    await prepare(box, method.name, tmp_path / "sleep")
    request = request_of(method)
    del request["params"][parameter.name]
    got = json.loads(await box.invoke(json.dumps(request)))
    if not parameter.optional:
        assert (got["error"]["code"], f"`{parameter.name}`" in got["error"]["data"]["reason"]) == (
            -32602,
            True,
        )
        return
    assert got["result"]["success"] is True
    if not method.name.startswith("start") and method.name != "execCommand":
        return  # the container has ended
    if method.name.startswith("start"):
        await box.oci("stopContainer", "sb", CONTAINER, True)
    request["params"][parameter.name] = None
    assert json.loads(await box.invoke(json.dumps(request)))["result"]["success"] is True


WRONG = {"string": 7, "boolean": "true", "array": "FOO=BAR"}


@pytest.mark.parametrize(("method", "parameter"), PARAMETERS, ids=str)
async def test_a_parameter_of_the_wrong_type(
    oci: Client, method: plugin.Method, parameter: plugin.Parameter
) -> None:
    request = request_of(method)
    request["params"][parameter.name] = WRONG[parameter.type]
    got = json.loads(await oci.invoke(json.dumps(request)))
    assert (
        got["error"]["code"],
        f"params: {parameter.name}: Expected" in got["error"]["data"]["reason"],
    ) == (-32602, True)
    assert (await oci.report())["calls"].get("StartFromBundle", 0) == 0


async def test_info_passes_through_exactly(oci: Client, tmp_path: Path) -> None:
    """Null, order, 64-bit integers, number spelling and odd strings arrive unchanged.

    Only the state's word and the white space differ.
    """
    reported = (
        '{ "z" : null,\n "memory" : {"user" : {"limit" : 9223372036854771712, '
        '"max":18446744073709551615, "odd" : 1.50, "e":1E3}},'
        ' "state" : "running", "cmd" : "a  \\"b\\" {state:\\u00e9 \\ud800}", "a" : [ 1 , [ ] ,'
        ' { "state" : "running" } ],'
        ' "big":123456789012345678901 }'
    )
    await oci.start("app", make_bundle(tmp_path, "odd", info=reported))
    said = await oci.invoke(
        '{"jsonrpc":"2.0","id":1,"method":"getContainerInfo","params":{"containerId":"app"}}'
    )
    info = (
        '{"z":null,"memory":{"user":{"limit":9223372036854771712,"max":18446744073709551615,'
        '"odd":1.50,"e":1E3}},"state":"Running","cmd":"a  \\"b\\" {state:\\u00e9 \\ud800}",'
        '"a":[1,[],{"state":"running"}],"big":123456789012345678901}'
    )
    assert said == '{"jsonrpc":"2.0","id":1,"result":{"info":' + info + ',"success":true}}'


async def test_the_methods_beyond_the_document(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    success = {"jsonrpc": "2.0", "id": 1, "result": {"success": True}}
    assert await answer(oci, "executeCommand", containerId="app", command="true") == success
    assert await answer(oci, "annotate", containerId="app", key="k", value="v") == success
    info = json.loads(json.dumps(await answer(oci, "getContainerInfo", containerId="app")))[
        "result"
    ]["info"]
    assert info["annotations"] == {"k": "v"}
    assert await answer(oci, "removeAnnotation", containerId="app", key="k") == success
    assert (
        await answer(
            oci,
            "mount",
            containerId="app",
            source="/opt",
            target="/mnt",
            type="",
            options="bind,ro",
        )
        == success
    )
    assert await answer(oci, "unmount", containerId="app", target="/mnt") == success
    for method in ("hibernateContainer", "wakeupContainer"):
        assert (await answer(oci, method, containerId="app"))["error"]["data"]["error"].startswith(
            "org.rdk.OCIContainer1.Error."
        )
    spec = {"version": "1.1", "args": ["x"], "memLimit": 1}
    assert (await answer(oci, "startContainerFromDobbySpec", containerId="spec", dobbySpec=spec))[
        "result"
    ]["success"] is True


async def test_dobby_down_is_no_empty_list(client: Client, start_bridge: Any) -> None:
    await start_bridge()
    error = (await answer(client, "listContainers"))["error"]
    assert (error["code"], error["message"]) == (1, "ERROR_GENERAL")
    assert error["data"]["error"] == "org.rdk.OCIContainer1.Error.DobbyUnavailable"
    assert "Dobby is not on the bus" in error["data"]["reason"]


async def test_a_batch_is_done_in_order(oci: Client, tmp_path: Path) -> None:
    """Requests run one after another, notifications included.

    Each is logged as a call of its own.
    """
    bundle = str(make_bundle(tmp_path, "sleep"))
    batch = [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "startContainer",
            "params": {"containerId": "app", "bundlePath": bundle},
        },
        {"jsonrpc": "2.0", "method": "pauseContainer", "params": {"containerId": "app"}},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "getContainerState",
            "params": {"containerId": "app"},
        },
        {
            "jsonrpc": "2.0",
            "id": 3,
            "method": "stopContainer",
            "params": {"containerId": "app", "force": True},
        },
        {"jsonrpc": "2.0", "id": 4, "method": "listContainers"},
    ]
    answers = json.loads(await oci.invoke(json.dumps(batch)))
    assert [each["id"] for each in answers] == [1, 2, 3, 4]
    assert (answers[1]["result"]["state"], answers[3]["result"]["containers"]) == ("Paused", [])
    assert await oci.invoke(json.dumps([batch[1]])) == ""


async def test_each_request_is_logged_as_a_call(
    oci: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    await answer(oci, "stopContainer", containerId="nosuch")
    await answer(oci, "stopContainer", container="nosuch")
    lines = [line for line in capfd.readouterr().err.splitlines() if "stopContainer" in line]
    assert len(lines) == 2
    assert all(f"by uid {os.getuid()} (python" in line and ": refused: " in line for line in lines)
    assert "invoke" not in "".join(lines)


async def test_a_request_that_is_too_large(oci: Client) -> None:
    with pytest.raises(Exception, match="InvalidArgs: request: larger than 8 MiB"):
        await oci.invoke("x" * ((8 << 20) + 1))
    large = await answer(oci, "stopContainer", containerId="x" * ((1 << 20) + 1))
    assert large["error"]["data"]["reason"] == "containerId: larger than 1 MiB"


async def test_an_answer_that_is_large(oci: Client, tmp_path: Path) -> None:
    """Larger than the socket takes at once.

    No other traffic triggers the next write.
    """
    bundle = make_bundle(tmp_path, "large", info=json.dumps({"text": "x" * 200_000}))
    await oci.start("app", bundle)
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "getContainerInfo",
        "params": {"containerId": "app"},
    }
    answers = json.loads(await oci.invoke(json.dumps([request] * 64)))
    assert [len(each["result"]["info"]["text"]) for each in answers] == [200_000] * 64


async def test_any_depth_is_answered_by_an_error_of_json_rpc(
    oci: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python's own recursion limit lies in this range.

    At a depth of 985 it was an unhandled exception.
    """
    for depth in range(900, 1001, 3):
        nested = "[" * depth + "]" * depth
        params = f'{{"containerId":"nosuch","x":{nested}}}'
        request = f'{{"jsonrpc":"2.0","id":1,"method":"stopContainer","params":{params}}}'
        error = json.loads(await oci.invoke(request))["error"]
        assert error["code"] in {1, -32602, -32700}
    assert error["code"] == -32700
    assert "foresaw" not in capfd.readouterr().err

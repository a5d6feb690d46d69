# SPDX-License-Identifier: Apache-2.0
"""Requests of both plugins, answered as docs/thunder.md shows it, to the byte.

A request of one is never answered as the other would. See docs/design.md, JSON-RPC.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import SPEC, make_bundle
from tests.fake_dobby.client import Client
from tests.thunder_spec import guide

METHODS = guide.methods()
# The methods in IOCIContainer's document; it has no second name for executeCommand.
IN_THE_DOCUMENT = [method for method in METHODS if method.name != "execCommand"]
OF_A_CONTAINER = [
    method for method in METHODS if not method.name.startswith(("start", "listContainers"))
]
OLD = ("org.rdk.OCIContainer.1.", "", "MyOCIContainer.20.")
NEW = ("org.rdk.OCIContainer.", "OCIContainer.")
# Each form that the name of a method and the version of JSON-RPC may have.
FORMS = [*product((*OLD, *NEW), ('"2.0"', "2.0"))]
# Of each kind; for tests in which each form needs a container of its own.
FEW_FORMS = [(OLD[0], '"2.0"'), (OLD[1], "2.0"), (NEW[0], '"2.0"'), (NEW[0], "2.0")]
SPEC_TEXT = json.dumps(SPEC)
# Valid values of all parameters that are strings.
VALUES = {
    "containerId": "a", "command": "sleep 1", "westerosSocket": "/run/w", "options": "",
    "key": "k", "value": "v", "source": "/opt", "target": "/mnt", "type": "ext4",
    "dobbySpec": SPEC_TEXT,
}  # fmt: skip
WRONG: dict[str, tuple[Any, ...]] = {
    "string": (7, True, ["a"], {"a": 1}),
    "boolean": ("true", 1),
    "array of strings": ("A=b", [1]),
    "string or object": (7, ["a"]),
}
NOT_FOUND = 'there is no container \\"nosuch\\"; listContainers names those that Dobby has'


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path, "sleep", info='{"id": "a", "state": "running"}')


@pytest.fixture
async def box(client: Client, start_dobby: StartDobby, start_bridge: StartBridge) -> Client:
    """As `oci`, with a Dobby that can hibernate."""
    start_dobby(hibernation=True)
    await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    return client


def request(name: str, version: str = '"2.0"', request_id: int = 7, **params: Any) -> str:
    """A request, with white space as the documents have it."""
    members = [f'"jsonrpc": {version}', f'"id": {request_id}', f'"method": "{name}"']
    if params:
        members.append(f'"params": {json.dumps(params)}')
    return "{\n    " + ",\n    ".join(members) + "\n}"


def response(result: str, request_id: int = 7) -> str:
    return f'{{"jsonrpc":"2.0","id":{request_id},"result":{result}}}'


def failure(code: int, message: str, error: str, reason: str) -> str:
    data = f'{{"error":"{error}","reason":"{reason}"}}'
    body = f'{{"code":{code},"message":"{message}","data":{data}}}'
    return f'{{"jsonrpc":"2.0","id":7,"error":{body}}}'


def invalid(reason: str) -> str:
    """The answer to what is no call, to both plugins."""
    return failure(
        -32602, "Invalid params", "org.freedesktop.DBus.Error.InvalidArgs", json.dumps(reason)[1:-1]
    )


def refused(method: guide.Method, reason: str) -> str:
    """The answer to a request of IOCIContainer's that was refused."""
    result = json.loads(method.refused) | {"errorReason": reason}
    return response(json.dumps(result, separators=(",", ":")))


def arguments(method: guide.Method, bundle: Path, **changes: Any) -> dict[str, Any]:
    """All parameters of the method, with valid values."""
    values = VALUES | {"bundlePath": str(bundle), "force": True, "envvar": ["A=b"]}
    if method.name == "mount":
        values["options"] = "bind,ro"
    return {parameter.name: values[parameter.name] for parameter in method.parameters} | changes


async def prepare(box: Client, method: str, bundle: Path) -> None:
    """Have the container as the method needs it, and no other."""
    for _, container_id in await box.oci("listContainers"):
        await box.oci("stopContainer", "sb", container_id, True)
    if method.startswith("start"):
        return
    await box.start("a", bundle)
    match method:
        case "resumeContainer":
            await box.oci("pauseContainer", "s", "a")
        case "wakeupContainer":
            await box.oci("hibernateContainer", "ss", "a", "")
        case "removeAnnotation":
            await box.oci("annotate", "sss", "a", "k", "v")
        case "unmount":
            await box.oci("mount", "sssass", "a", "/opt", "/mnt", ["bind"], "")


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_a_success(box: Client, bundle: Path, method: guide.Method) -> None:
    for prefix, version in FEW_FORMS:
        await prepare(box, method.name, bundle)
        found = await box.oci("listContainers")
        said = await box.invoke(request(prefix + method.name, version, **arguments(method, bundle)))
        ((descriptor, _),) = found or await box.oci("listContainers")
        expected = method.old if prefix in OLD else method.new
        assert said == response(expected.replace("734", str(descriptor))), (prefix, version)


@pytest.mark.parametrize("method", OF_A_CONTAINER, ids=str)
async def test_an_unknown_container(box: Client, bundle: Path, method: guide.Method) -> None:
    params = arguments(method, bundle, containerId="nosuch")
    for prefix, version in FORMS:
        said = await box.invoke(request(prefix + method.name, version, **params))
        assert said == (
            failure(1, "ERROR_GENERAL", "org.rdk.OCIContainer1.Error.NoSuchContainer", NOT_FOUND)
            if prefix in OLD
            else response(method.refused)
        ), (prefix, version)


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_any_other_refusal(
    client: Client, start_bridge: StartBridge, bundle: Path, method: guide.Method
) -> None:
    """Without Dobby, each method is refused. The text is the same for both plugins."""
    await start_bridge()
    params = arguments(method, bundle)
    old = json.loads(await client.invoke(request(OLD[0] + method.name, **params)))
    assert (old["error"]["code"], old["error"]["message"]) == (1, "ERROR_GENERAL")
    assert old["error"]["data"]["error"] == "org.rdk.OCIContainer1.Error.DobbyUnavailable"
    new = await client.invoke(request(NEW[0] + method.name, "2.0", **params))
    assert new == refused(method, old["error"]["data"]["reason"])


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("startContainer", {"bundlePath": "b"}, 'bundlePath "b": must be an absolute path'),
        (
            "startContainer",
            {"containerId": ".a"},
            'containerId ".a": an id may not begin with "." (crun would misread it)',
        ),
        ("startContainer", {"envvar": ["A"]}, 'envvar "A": must be NAME=VALUE'),
        ("executeCommand", {"command": ""}, "command: is empty"),
        ("mount", {"source": "x"}, 'source "x": must be an absolute path'),
        (
            "getContainerState",
            {"containerId": "x" * 129},
            f'containerId "{"x" * 128}…": longer than 128 bytes; no container has such an id',
        ),
        (
            "stopContainer",
            {"containerId": "a\0"},
            "params: containerId: has a NUL character, which neither D-Bus nor Dobby can carry",
        ),
        ("annotate", {"value": "x" * ((1 << 20) + 1)}, "value: larger than 1 MiB"),
    ],
)
async def test_a_value_that_is_never_valid(
    box: Client, bundle: Path, name: str, changes: dict[str, Any], reason: str
) -> None:
    """The old plugin's callers get an error, IOCIContainer's a result."""
    (method,) = [method for method in METHODS if method.name == name]
    params = arguments(method, bundle, **changes)
    for prefix, version in FORMS:
        said = json.loads(await box.invoke(request(prefix + name, version, **params)))
        expected = invalid(reason) if prefix in OLD else refused(method, reason)
        assert said == json.loads(expected), (prefix, version)


@pytest.mark.parametrize("method", [m for m in METHODS if m.parameters], ids=str)
async def test_a_parameter_that_is_missing_or_of_the_wrong_type(
    oci: Client, bundle: Path, method: guide.Method
) -> None:
    """This is no call, and the same error in all forms. An optional parameter may be missing."""

    async def answers(params: Any) -> list[str]:
        return [
            await oci.invoke(request(prefix + method.name, version, **params))
            for prefix, version in FORMS
        ]

    whole = arguments(method, bundle, containerId="nosuch")
    for parameter in method.parameters:
        rest = {name: value for name, value in whole.items() if name != parameter.name}
        for wrong in WRONG[parameter.type]:
            for said in await answers(rest | {parameter.name: wrong}):
                error = json.loads(said)["error"]
                assert error["data"]["reason"].startswith(f"params: {parameter.name}"), wrong
                assert said == invalid(error["data"]["reason"])
        missing = await answers(rest) if rest else []
        null = await answers(rest | {parameter.name: None})
        if not parameter.optional:
            reason = f"params: Object missing required field `{parameter.name}`"
            assert set(missing) <= {invalid(reason)}
            for said in null:
                assert json.loads(said)["error"]["code"] == -32602
        else:
            assert [said for said in (*missing, *null) if "params: " in said] == []


async def test_the_examples_of_the_document(oci: Client) -> None:
    """In the document of IOCIContainer, all texts are empty, and all flags are true."""
    for number, method in enumerate(IN_THE_DOCUMENT):
        params = {
            parameter.name: {"boolean": True}.get(parameter.type, "")
            for parameter in method.parameters
            if parameter.name != "envvar"
        }
        said = await oci.invoke(request(NEW[0] + method.name, "2.0", number, **params))
        if method.name == "listContainers":
            expected = '{"containers":[],"success":true,"errorReason":""}'
        else:
            reason = json.loads(said)["result"]["errorReason"]
            assert reason
            expected = method.refused.replace("…", json.dumps(reason)[1:-1]).replace(
                "Container not found", json.dumps(reason)[1:-1]
            )
        assert said == response(expected, number)
    assert len(IN_THE_DOCUMENT) == 15


async def test_a_batch_with_requests_of_both(box: Client, bundle: Path) -> None:
    """Each is answered in its own form; notifications get no answer."""
    await prepare(box, "stopContainer", bundle)
    state = [request(p + "getContainerState", v, containerId="a") for p, v in FORMS]
    notification = request(NEW[0] + "pauseContainer", "2.0", containerId="a").replace(
        '"id": 7,', ""
    )
    unknown = request(NEW[0] + "getContainerState", containerId="nosuch")
    said = await box.invoke(f"[{','.join([*state, notification, *state, unknown])}]")
    running = [
        '{"containerId":"a","state":"Running","success":true}',
        '{"state":"RUNNING","success":true,"errorReason":""}',
    ]
    paused = [text.replace("Running", "Paused").replace("RUNNING", "PAUSED") for text in running]
    expected = [texts[prefix in NEW] for texts in (running, paused) for prefix, _ in FORMS]
    expected.append('{"state":"INVALID","success":false,"errorReason":"Container not found"}')
    assert said == f"[{','.join(map(response, expected))}]"
    assert await box.invoke(notification) == await box.invoke(f"[{notification}]") == ""


async def states(box: Client, method: str = "getContainerState") -> list[str]:
    """The state of the container, as each plugin has it."""
    found = []
    for prefix in (OLD[0], NEW[0]):
        result = json.loads(await box.invoke(request(prefix + method, containerId="a")))["result"]
        found.append(str(result.get("info", result)["state"]))
    return found


async def test_the_states(box: Client, tmp_path: Path) -> None:
    """IOCIContainer's callers get each substate; in the old plugin's words some are alike."""
    start = ("startContainer", "ssssas", "a", str(make_bundle(tmp_path, "slow", start="400")))
    starting = box.bus.call(
        "org.rdk.OCIContainer", "/org/rdk/OCIContainer", "org.rdk.OCIContainer1", *start, "", "", []
    )
    while not (await box.report())["calls"].get("StartFromBundle"):
        pass
    assert await states(box) == ["Starting", "STARTING"]
    await starting
    assert await states(box) == ["Running", "RUNNING"]
    await box.oci("pauseContainer", "s", "a")
    assert await states(box) == ["Paused", "PAUSED"]
    assert await states(box, "getContainerInfo") == ["Paused", "PAUSED"]
    await box.oci("resumeContainer", "s", "a")
    await box.oci("hibernateContainer", "ss", "a", "")
    assert await states(box) == ["Paused", "HIBERNATED"]
    assert await states(box, "getContainerInfo") == ["Paused", "HIBERNATED"]

# SPDX-License-Identifier: Apache-2.0
"""JSON-RPC 2.0 without a bus: the specification's own examples, its rules, and random junk."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocibridge.api.json_rpc_params import METHODS
from ocibridge.model import Caller
from tests.unit.api.rpc_face import answer, face, invoke

PARSE_ERROR = '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}'
INVALID = '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}'
NOT_FOUND = (
    '{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "%s"}'
)
LIST = '{"jsonrpc": "2.0", "result": {"containers": [{"Descriptor": 91, "Id": "app"}], "success": true}, "id": "%s"}'

# The examples of the specification's section 7, with our methods in place of theirs.
SECTION_7 = {
    "call with named parameters": (
        '{"jsonrpc": "2.0", "method": "startContainer", "params": {"bundlePath": "/b", "containerId": "app"}, "id": 3}',
        '{"jsonrpc": "2.0", "result": {"descriptor": 91, "success": true}, "id": 3}',
    ),
    "the same in another order": (
        '{"jsonrpc": "2.0", "method": "startContainer", "params": {"containerId": "app", "bundlePath": "/b"}, "id": 4}',
        '{"jsonrpc": "2.0", "result": {"descriptor": 91, "success": true}, "id": 4}',
    ),
    "a notification": (
        '{"jsonrpc": "2.0", "method": "pauseContainer", "params": {"containerId": "app"}}',
        "",
    ),
    "a notification without parameters": ('{"jsonrpc": "2.0", "method": "foobar"}', ""),
    "call of non-existent method": (
        '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
        NOT_FOUND % 1,
    ),
    "call with invalid JSON": (
        '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
        PARSE_ERROR,
    ),
    "call with invalid Request object": (
        '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
        INVALID,
    ),
    "call Batch, invalid JSON": (
        '[{"jsonrpc": "2.0", "method": "listContainers", "params": {}, "id": "1"}, {"jsonrpc": "2.0", "method"]',
        PARSE_ERROR,
    ),
    "call with an empty Array": ("[]", INVALID),
    "call with an invalid Batch": ("[1]", f"[{INVALID}]"),
    "call with invalid Batch": ("[1,2,3]", f"[{INVALID}, {INVALID}, {INVALID}]"),
    "call Batch": (
        """[
            {"jsonrpc": "2.0", "method": "listContainers", "id": "1"},
            {"jsonrpc": "2.0", "method": "pauseContainer", "params": {"containerId": "app"}},
            {"jsonrpc": "2.0", "method": "startContainer", "params": {"containerId": "a", "bundlePath": "/b"}, "id": "2"},
            {"foo": "boo"},
            {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
            {"jsonrpc": "2.0", "method": "listContainers", "id": "9"}
        ]""",
        f"""[
            {LIST % 1},
            {{"jsonrpc": "2.0", "result": {{"descriptor": 91, "success": true}}, "id": "2"}},
            {INVALID},
            {NOT_FOUND % 5},
            {LIST % 9}
        ]""",
    ),
    "call Batch (all notifications)": (
        """[
            {"jsonrpc": "2.0", "method": "pauseContainer", "params": {"containerId": "app"}},
            {"jsonrpc": "2.0", "method": "resumeContainer", "params": {"containerId": "app"}}
        ]""",
        "",
    ),
}


@pytest.mark.parametrize(("request_", "response"), SECTION_7.values(), ids=SECTION_7)
def test_the_examples_of_the_specification(request_: str, response: str) -> None:
    said = invoke(request_)
    assert (json.loads(said) if said else said) == (json.loads(response) if response else response)


def test_parameters_by_position() -> None:
    """The specification's first examples; ours have names."""
    error = answer({"jsonrpc": "2.0", "method": "getContainerState", "params": ["app"], "id": 1})[
        "error"
    ]
    assert (error["code"], error["message"]) == (-32602, "Invalid params")
    assert error["data"]["reason"] == "params: expected an object, since the parameters have names"


def test_an_answer_to_the_byte() -> None:
    said = invoke('{"id": 7,"method":"listContainers","jsonrpc":"2.0"}')
    assert (
        said
        == '{"jsonrpc":"2.0","id":7,"result":{"containers":[{"Descriptor":91,"Id":"app"}],"success":true}}'
    )


@pytest.mark.parametrize(
    "request_id",
    ["0", "-1.50", "1e400", "12345678901234567890123", '"x\\u0000\\u00e9"', '""', "null"],
)
def test_the_id_comes_back_as_it_was(request_id: str) -> None:
    said = invoke(f'{{"jsonrpc":"2.0","id": {request_id} ,"method":"x"}}')
    assert (
        said
        == f'{{"jsonrpc":"2.0","id":{request_id},"error":{{"code":-32601,"message":"Method not found"}}}}'
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": True},
        {"id": {}},
        {"id": [1]},
        {"jsonrpc": "1.0"},
        {"jsonrpc": "2"},
        {"jsonrpc": 2.1},
        {"jsonrpc": -2},
        {"jsonrpc": True},
        {"jsonrpc": None},
        {"jsonrpc": [2]},
        {"method": None},
        {"params": 5},
    ],
)
def test_what_is_no_request(wrong: dict[str, Any]) -> None:
    said = answer({"jsonrpc": "2.0", "method": "listContainers", "id": 1} | wrong)
    assert said == {
        "jsonrpc": "2.0",
        "id": None if "id" in wrong else 1,
        "error": {"code": -32600, "message": "Invalid Request"},
    }


@pytest.mark.parametrize("version", ["2.0", "2", "2.00", "2e0", "20E-1"])
@pytest.mark.parametrize("name", ["listContainers", "org.rdk.OCIContainer.listContainers"])
def test_the_version_may_be_a_number(version: str, name: str) -> None:
    said = invoke(f'{{"jsonrpc": {version} ,"id":1,"method":"{name}"}}')
    assert said.startswith('{"jsonrpc":"2.0","id":1,"result":{')


@pytest.mark.parametrize("version", ["1e999", "2.", "02", "9" * 1000, "[" * 2000 + "]" * 2000])
def test_what_is_no_version(version: str) -> None:
    said = answer(f'{{"jsonrpc":{version},"id":1,"method":"listContainers"}}')
    assert said["error"]["code"] in {-32600, -32700}


def test_what_is_on_d_bus_alone() -> None:
    for name in ("waitForState", "getLastExit", "invoke"):
        assert (
            answer({"jsonrpc": "2.0", "method": name, "params": {"containerId": "a"}, "id": 1})[
                "error"
            ]["code"]
            == -32601
        )


def test_an_error_of_ours() -> None:
    error = answer(
        {"jsonrpc": "2.0", "method": "stopContainer", "params": {"containerId": "nosuch"}, "id": 1}
    )["error"]
    assert error == {
        "code": 1,
        "message": "ERROR_GENERAL",
        "data": {
            "error": "org.rdk.OCIContainer1.Error.NoSuchContainer",
            "reason": "there is no container nosuch",
        },
    }


@pytest.mark.parametrize(
    ("method", "params", "arguments"),
    [
        ("stopContainer", {"containerId": "a", "force": None}, ("a", False)),
        ("stopContainer", {"containerId": "a", "force": True, "unknown": [1]}, ("a", True)),
        (
            "startContainer",
            {"containerId": "a", "bundlePath": "/b", "command": None, "envvar": None},
            ("a", "/b", "", "", []),
        ),
        (
            "startContainer",
            {"containerId": "a", "bundlePath": "/b", "envvar": ["A=b"]},
            ("a", "/b", "", "", ["A=b"]),
        ),
        (
            "startContainerFromDobbySpec",
            {"containerId": "a", "dobbySpec": {"b": [1, None]}},
            ("a", '{"b":[1, null]}', "", ""),
        ),
        (
            "startContainerFromDobbySpec",
            {"containerId": "a", "dobbySpec": "{}", "westerosSocket": "/s"},
            ("a", "{}", "", "/s"),
        ),
        ("execCommand", {"containerId": "a", "command": "null"}, ("a", "", "null")),
        ("hibernateContainer", {"containerId": "a"}, ("a", "")),
        (
            "mount",
            {
                "containerId": "a",
                "source": "/s",
                "target": "/t",
                "type": "ext4",
                "options": "bind,,ro",
            },
            ("a", "/s", "/t", ["bind", "ro"], ""),
        ),
        ("mount", {"containerId": "a", "source": "/s", "target": "/t"}, ("a", "/s", "/t", [], "")),
    ],
)
def test_what_an_operation_gets(
    method: str, params: dict[str, Any], arguments: tuple[Any, ...]
) -> None:
    rpc, operations = face()
    with pytest.raises(StopIteration):
        rpc._invoke(
            json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}),
            Caller(":1.1"),
        ).send(None)
    assert operations.calls == [(method, *arguments)]


@pytest.mark.parametrize(
    ("method", "params", "reason"),
    [
        ("stopContainer", {}, "params: Object missing required field `containerId`"),
        ("stopContainer", None, "params: Object missing required field `containerId`"),
        ("stopContainer", {"containerId": None}, "params: containerId: Expected `str`, got `null`"),
        (
            "stopContainer",
            {"containerId": "a", "force": "true"},
            "params: force: Expected `bool | null`, got `str`",
        ),
        (
            "startContainer",
            {"containerId": "a", "bundlePath": "/b", "envvar": "A=b"},
            "params: envvar: Expected `array | null`, got `str`",
        ),
        (
            "startContainer",
            {"containerId": "a", "bundlePath": "/b", "envvar": [1]},
            "params: envvar[0]: Expected `str`, got `int`",
        ),
        (
            "startContainerFromDobbySpec",
            {"containerId": "a", "dobbySpec": [1]},
            "params: dobbySpec: Expected `str | object`, got `array`",
        ),
        (
            "execCommand",
            {"containerId": "a\0b", "command": "x"},
            "params: containerId: has a NUL character, which neither D-Bus nor Dobby can carry",
        ),
    ],
)
def test_what_is_wrong_with_parameters_is_named(method: str, params: Any, reason: str) -> None:
    error = answer({"jsonrpc": "2.0", "method": method, "params": params, "id": 1})["error"]
    assert (error["code"], error["data"]) == (
        -32602,
        {"error": "org.freedesktop.DBus.Error.InvalidArgs", "reason": reason},
    )


def test_the_size_of_a_batch() -> None:
    one = {"jsonrpc": "2.0", "method": "listContainers", "id": 1}
    assert len(answer([one] * 64)) == 64
    assert answer([one] * 65)["error"]["code"] == -32600


@pytest.mark.parametrize(
    "text",
    [
        '{{"jsonrpc":"2.0","id":1,"method":"stopContainer","params":{{"containerId":"a","x":{}}}}}',
        '{{"jsonrpc":"2.0","id":1,"method":"stopContainer","params":{{"containerId":{}}}}}',
        '{{"jsonrpc":"2.0","id":1,"method":"startContainerFromDobbySpec","params":{{"containerId":"a","dobbySpec":{{"x":{}}}}}}}',
        '{{"jsonrpc":"2.0","id":1,"method":"listContainers","x":{}}}',
        '[{{"jsonrpc":"2.0","id":1,"method":"listContainers","x":{}}}]',
        '{{"jsonrpc":"2.0","id":{},"method":"listContainers"}}',
    ],
)
def test_any_depth_gets_a_right_answer(text: str) -> None:
    """How deep msgspec reads depends on the Python frames above it, so each depth near the interpreter's limit is tried."""
    codes = {}
    for depth in range(800, 1001):
        (said,) = (
            said
            if isinstance(said := answer(text.format("[" * depth + "]" * depth)), list)
            else [said]
        )
        codes[depth] = said["error"]["code"] if "error" in said else 0
    assert set(codes.values()) <= {0, -32700, -32600, -32602}
    assert codes[1000] == -32700


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["app", "nosuch", "2.0", *METHODS]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["jsonrpc", "method", "params", "id", "containerId"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
REQUEST = st.fixed_dictionaries(
    {
        "jsonrpc": st.just("2.0") | st.just(2.0) | JSON,
        "method": st.sampled_from([*METHODS, *(f"OCIContainer.{name}" for name in METHODS)]) | JSON,
    },
    optional={
        "id": JSON,
        "params": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("containerId", "bundlePath", "command"), JSON)
        )
        | JSON,
    },
)
TEXT = st.one_of(
    (REQUEST | st.lists(REQUEST, max_size=70) | JSON).map(json.dumps),
    st.text(),
    st.text('{}[]",:0123456789.eE-+\\utrfalsn \n'),
)


@settings(max_examples=400, deadline=None, database=None)
@given(TEXT)
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example(
    '{"jsonrpc":"2.0","id":1,"method":"stopContainer","params":' + "[" * 5000 + "]" * 5000 + "}"
)
@example(
    '{"jsonrpc":"2.0","id":1,"method":"stopContainer","params":{"containerId":"'
    + "x" * (1 << 20)
    + '"}}'
)
@example('{"jsonrpc":"2.0","id":' + "9" * 100_000 + ',"method":"listContainers"}')
@example('{"jsonrpc":"2.0","id":"\\ud800","method":"listContainers"}')
@example('{"jsonrpc":"2.0","id":1,"id":2,"method":"x","method":"listContainers"}')
@example(
    '{"jsonrpc":"2.0","id":1e999,"method":"stopContainer","params":{"containerId":"a","containerId":1e999}}'
)
@example("\ufeff{}")
@example("")
def test_any_text_gets_a_right_answer_or_none(text: str) -> None:
    said = invoke(text)
    answers = json.loads(said, parse_int=float) if said else []
    for each in answers if isinstance(answers, list) else [answers]:
        assert set(each) in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
        assert each["jsonrpc"] == "2.0"
        if "result" in each:
            assert list(each["result"])[-1] in {"success", "errorReason"}
        else:
            assert each["error"]["code"] in {-32700, -32600, -32601, -32602, 1}
    assert answers != [] or said == ""

# SPDX-License-Identifier: Apache-2.0
"""Which dialect a request is in, and what each gives for each refusal, without a bus."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocibridge import errors
from ocibridge.api import json_rpc
from ocibridge.api.json_rpc_dialects import IOCICONTAINER, OLD_PLUGIN, Dialect, dialect_of
from ocibridge.api.json_rpc_params import METHODS, InvalidParams
from ocibridge.model import SubState
from tests.unit.api.rpc_face import answer

CALLSIGN = "org.rdk.OCIContainer"
REFUSALS = [error("the text") for error in errors.BridgeError.__subclasses__()]


@pytest.mark.parametrize(
    ("before", "dialect"),
    [
        ("", OLD_PLUGIN),
        ("org.rdk.OCIContainer.1.", OLD_PLUGIN),
        ("org.rdk.OCIContainer.0.", OLD_PLUGIN),
        ("org.rdk.OCIContainer.27.", OLD_PLUGIN),
        ("OCIContainer.1.", OLD_PLUGIN),
        ("MyOCIContainer.1.", OLD_PLUGIN),
        ("org.example.Box.1.", OLD_PLUGIN),
        ("org.example.Box.15.", OLD_PLUGIN),
        ("org.rdk.OCIContainer.", IOCICONTAINER),
        ("OCIContainer.", IOCICONTAINER),
        ("MyOCIContainer.", IOCICONTAINER),
        ("org.example.Box.", IOCICONTAINER),
        (".", None),
        ("1.", None),
        (".1.", None),
        ("Controller.", None),
        ("Controller.1.", None),
        ("Box.", None),
        ("org.example.Box2.", None),
        ("org.rdk.OCIContainers.", None),
        ("org.rdk.OCIContainer..", None),
        ("org.rdk.OCIContainer.1.1.", None),
        ("org.rdk.OCIContainer.x.", None),
        ("org.rdk.OCIContainer.-1.", None),
        ("org.rdk.OCIContainer.1 .", None),
        ("org.rdk.OCIContainer.1.0.", None),
        ("org.rdk.OCIContainer.١.", None),
        ("org.rdk.OCIContainer.²."  , None),
        ("org.rdk.ocicontainer.", None),
    ],
)  # fmt: skip
def test_the_name_decides(before: str, dialect: Dialect | None) -> None:
    assert dialect_of(f"{before}listContainers", "org.example.Box") == (dialect, "listContainers")


def test_another_callsign_is_not_ours() -> None:
    for name in ("org.example.Box.x", "org.example.Box.1.x"):
        assert dialect_of(name, CALLSIGN) == (None, "x")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
def test_each_refusal_in_each_dialect(name: str, refusal: errors.BridgeError) -> None:
    method = METHODS[name]
    reason = "Container not found" if isinstance(refusal, errors.NoSuchContainer) else "the text"
    said = IOCICONTAINER.refusal(method, refusal)
    assert [*said["result"].items()] == [
        *method.zeros.items(),
        ("success", False),
        ("errorReason", reason),
    ]
    old = OLD_PLUGIN.refusal(method, refusal)
    kind = (
        {"code": -32602, "message": "Invalid params"}
        if isinstance(refusal, errors.InvalidArgs)
        else {"code": 1, "message": "ERROR_GENERAL"}
    )
    data = {"error": refusal.dbus_name, "reason": "the text"}
    assert old == {"error": kind | {"data": data}}


def test_parameters_that_do_not_fit_are_an_error_in_both() -> None:
    refusal = InvalidParams("the text")
    for method in METHODS.values():
        said = IOCICONTAINER.refusal(method, refusal)
        assert said == OLD_PLUGIN.refusal(method, refusal)
        assert said["error"]["code"] == -32602


def test_the_words_for_states() -> None:
    state = METHODS["getContainerState"]
    words = [IOCICONTAINER.success(state, ("a", each))["result"]["state"] for each in SubState]
    assert " ".join(sorted(words)) == (
        "AWAKENING HIBERNATED HIBERNATING INVALID PAUSED RUNNING STARTING STOPPED STOPPING"
    )
    old = {str(OLD_PLUGIN.success(state, ("a", each))["result"]["state"]) for each in SubState}
    assert old == {"Invalid", "Starting", "Running", "Stopped", "Paused"}


def test_what_is_no_call_is_the_same_error_in_both() -> None:
    for wrong in (
        {"method": "nothing"},
        {"method": "listContainers", "params": 5},
        {"method": "listContainers", "jsonrpc": "1.0"},
        {"method": "stopContainer", "params": ["a"]},
        {"method": "stopContainer", "params": {"containerId": None}},
    ):
        requests = [
            {"jsonrpc": 2.0, "id": 1} | wrong | {"method": f"{CALLSIGN}{version}.{wrong['method']}"}
            for version in ("", ".1")
        ]
        first, second = answer(requests)
        assert first == second
        assert first["error"]["code"] in {-32600, -32601, -32602}


def test_what_comes_too_late_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused in its own dialect; an unknown method stays unknown."""
    monkeypatch.setattr(json_rpc, "MAX_ANSWERS_BYTES", 1)
    names = ["listContainers", "x", *METHODS]
    names += [f"{CALLSIGN}.{name}" for name in names]
    batch = [{"jsonrpc": 2.0, "id": name, "method": name} for name in names]
    for said in answer(batch)[1:]:
        word = said["id"].rpartition(".")[2]
        if word == "x":
            assert said["error"]["code"] == -32601
        elif "." in said["id"]:
            result = said["result"]
            assert result.pop("errorReason").startswith("not done: the answers to this batch")
            assert result == {**METHODS[word].zeros, "success": False}
        else:
            assert said["error"]["data"]["error"].endswith(".LimitsExceeded")


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "OCIContainer.1.", f"{CALLSIGN}.3.", f"{CALLSIGN}.", "X."]),
            st.sampled_from([*METHODS, "waitForState", ""]),
            st.sampled_from([2.0, "2.0"]),
            st.fixed_dictionaries(
                {},
                optional={
                    "containerId": st.sampled_from(["app", "nosuch", 1, "a\0"]),
                    "bundlePath": st.just("/b"),
                    "command": st.just("c"),
                },
            ),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_no_request_gets_an_answer_of_the_other_dialect(
    requests: list[tuple[str, str, Any, dict[str, Any]]],
) -> None:
    batch = [
        {"jsonrpc": version, "id": number, "method": before + word, "params": params}
        for number, (before, word, version, params) in enumerate(requests)
    ]
    answers = answer(batch)
    assert [said["id"] for said in answers] == [*range(len(batch))]
    for (before, word, _, _), said in zip(requests, answers, strict=True):
        if before == f"{CALLSIGN}." and "result" in said:
            members = [*METHODS[word].zeros, "success", "errorReason"]
            assert [*said["result"]] == members
        elif before == f"{CALLSIGN}.":
            assert said["error"]["code"] in {-32601, -32602}
        elif "result" in said:
            assert [*said["result"]][-1] == "success"
            assert said["result"]["success"] is True
            assert "X." not in before
        else:
            assert said["error"]["code"] in {1, -32601, -32602}
    assert answer(json.dumps(batch)) == answers

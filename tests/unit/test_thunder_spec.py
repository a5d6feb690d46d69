# SPDX-License-Identifier: Apache-2.0
"""The JSON-RPC parameters against the plugin document: names, types, and which are optional.

And against the D-Bus methods.
"""

import json
import re
import shlex
import types
import typing
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from ocibridge.api.json_rpc_params import METHODS, Params
from ocibridge.model import SubState
from tests.thunder_spec import guide, plugin

TYPES = {"string": str, "boolean": bool, "array": list[str]}
# Beyond the document: what the code of the plugin accepts.
OF_THE_PLUGIN = {
    "executeCommand", "hibernateContainer", "wakeupContainer", "annotate", "removeAnnotation",
    "mount", "unmount",
}  # fmt: skip
XML = Path(__file__).parents[2] / "dbus-policy" / "org.rdk.OCIContainer1.xml"


def fields(params: type[Params]) -> dict[str, tuple[object, bool]]:
    """By name, the type and whether it is optional."""
    found = {}
    for field in msgspec.structs.fields(params):
        kinds = [
            kind
            for kind in typing.get_args(field.type) or [field.type]
            if kind is not types.NoneType
        ]
        optional = types.NoneType in typing.get_args(field.type)
        assert optional == (not field.required), "null is the same as left out"
        found[field.name] = (kinds[0] if field.type is not list[str] else field.type, optional)
    return found


@pytest.mark.skipif(
    not plugin.ORIGINAL.exists(), reason="the original is beside the project where it is developed"
)
def test_the_copy_is_the_document() -> None:
    assert plugin.DOCUMENT.read_bytes() == plugin.ORIGINAL.read_bytes()


def test_the_methods() -> None:
    documented = [method.name for method in plugin.methods()]
    assert len(documented) == 9
    assert set(METHODS) == set(documented) | OF_THE_PLUGIN


@pytest.mark.parametrize("method", plugin.methods(), ids=str)
def test_the_table_of_parameters(method: plugin.Method) -> None:
    taken = fields(METHODS[method.name].params)
    if method.name == "startContainerFromDobbySpec":
        assert taken.pop("westerosSocket") == (str, True)  # as the plugin accepts it
    rows = {
        row.name: (TYPES[row.type], row.optional)
        for row in method.parameters
        if not row.name.endswith("[#]")
    }
    assert taken == rows
    assert list(taken) == list(rows)
    for row in method.parameters:
        if row.name.endswith("[#]"):
            assert taken[row.name.removesuffix("[#]")] == (list[str], True)
            assert row.type == "string"


def test_the_alias_takes_the_same() -> None:
    assert METHODS["executeCommand"] == METHODS["execCommand"]


@pytest.mark.parametrize("name", METHODS)
def test_the_names_are_those_of_the_d_bus_face(name: str) -> None:
    """In order, except for mount, whose flags and data the plugin has as options."""
    (method,) = [m for m in ET.parse(XML).iter("method") if m.get("name") == name]
    arguments = [a.get("name") for a in method.iter("arg") if a.get("direction") == "in"]
    extra = {"startContainerFromDobbySpec": ["westerosSocket"]}.get(name, [])
    assert [*METHODS[name].params.names()] == [
        {"flags": "options"}.get(str(a), a) for a in arguments
    ] + extra


TYPES_OF_THE_GUIDE = {
    "string": str,
    "boolean": bool,
    "array of strings": list[str],
    "string or object": str,
}


@pytest.mark.parametrize("method", guide.methods(), ids=str)
def test_the_parameters_in_the_guide(method: guide.Method) -> None:
    rows = {row.name: (TYPES_OF_THE_GUIDE[row.type], row.optional) for row in method.parameters}
    taken = fields(METHODS[method.name].params)
    assert (taken, [*taken]) == (rows, [*rows])


@pytest.mark.parametrize("method", guide.methods(), ids=str)
def test_the_results_in_the_guide(method: guide.Method) -> None:
    """IOCIContainer's refusals have the members of its successes, at their zeros."""
    new, refused = json.loads(method.new), json.loads(method.refused)
    assert [*new] == [*refused] == [*METHODS[method.name].zeros, "success", "errorReason"]
    assert refused | {"errorReason": ""} == {
        **METHODS[method.name].zeros,
        "success": False,
        "errorReason": "",
    }
    assert [*json.loads(method.old)][-1] == "success"


def test_the_guide_has_all_methods() -> None:
    assert [method.name for method in guide.methods()] == sorted(METHODS)


def test_the_guide_has_all_words_for_states() -> None:
    words = set(re.findall(r"`([A-Z]+)`", guide.GUIDE.read_text()))
    assert {substate.value.upper() for substate in SubState} <= words


ROWS = re.findall(
    r'^\| `(\{"method".*?\})` \| `oci (.*?)` \|$', guide.GUIDE.read_text(), re.MULTILINE
)


@pytest.mark.parametrize(("request_", "line"), ROWS)
def test_a_row_of_the_guide(request_: str, line: str) -> None:
    """The busctl line sends to D-Bus what the Thunder request asks for."""
    request = json.loads(request_)
    given = METHODS[request["method"]].params
    words: list[str] = []
    for value in msgspec.convert(request.get("params", {}), given).arguments():
        match value:
            case bool():
                words.append(str(value).lower())
            case list():
                words += [str(len(value)), *value]
            case _:
                words.append(value)
    if request["method"] == "startContainerFromDobbySpec":
        assert words.pop() == ""  # the plugin's westerosSocket is no argument on D-Bus
    (method,) = [m for m in ET.parse(XML).iter("method") if m.get("name") == request["method"]]
    signature = "".join(a.get("type", "") for a in method.iter("arg") if a.get("direction") == "in")
    assert shlex.split(line) == [request["method"], *([signature] if signature else []), *words]


def test_every_documented_method_has_a_row() -> None:
    assert {json.loads(request)["method"] for request, _ in ROWS} == {
        method.name for method in plugin.methods()
    }

# SPDX-License-Identifier: Apache-2.0
"""GetInfo's JSON as D-Bus values: nothing dropped, nothing that the bus cannot carry."""

import json
import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocibridge.api import values
from ocibridge.bridge.info import SUBSTATES, Info
from ocibridge.errors import DobbyRefused
from ocibridge.model import Container

CONTAINER = Container("app", 91)


@pytest.mark.parametrize(
    ("json_value", "variant"),
    [
        (True, ("b", True)),
        (0, ("t", 0)),
        (2**64 - 1, ("t", 2**64 - 1)),
        (9223372036854771712, ("t", 9223372036854771712)),
        (-1, ("x", -1)),
        (-(2**63), ("x", -(2**63))),
        (2**64, ("d", float(2**64))),
        (-(2**63) - 1, ("d", -float(2**63))),
        (1.0, ("d", 1.0)),
        ("a\0b\ud800c", ("s", "a\ufffdb\ufffdc")),
        ("é", ("s", "é")),
        ([], ("av", [])),
        ([1, 2], ("at", [1, 2])),
        ([1, -2], ("ax", [1, -2])),
        ([2**64 - 1, -2], ("av", [("t", 2**64 - 1), ("x", -2)])),
        ([1, 2.0], ("av", [("t", 1), ("d", 2.0)])),
        ([True], ("av", [("b", True)])),
        ([None], ("av", [("av", [])])),
        ({"a": None, "b": {"c": []}}, ("a{sv}", {"b": ("a{sv}", {"c": ("av", [])})})),
        ({"a\0": 1}, ("a{sv}", {"a\ufffd": ("t", 1)})),
    ],
)
def test_each_kind(json_value: Any, variant: values.Variant) -> None:
    assert values.variant(json_value) == variant


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_any_json_object_can_be_sent(value: dict[str, Any]) -> None:
    def check(variant: values.Variant) -> None:
        signature, content = variant
        if signature == "s":
            content.encode()
            assert "\0" not in content
        elif signature == "a{sv}":
            for key, inner in content.items():
                check(("s", key))
                check(inner)
        elif signature == "av":
            for inner in content:
                check(inner)
        elif signature in {"t", "at", "x", "ax"}:
            low, high = (0, 2**64) if "t" in signature else (-(2**63), 2**63)
            assert all(
                low <= n < high for n in (content if isinstance(content, list) else [content])
            )

    check(("a{sv}", values.dictionary(value)))


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("running", "Running"),
        ("paused", "Paused"),
        ("hibernated", "Paused"),
        ("awakening", "Paused"),
        ("stopping", "Running"),
        ("unknown", "Invalid"),
        ("x", "Invalid"),
    ],
)
def test_the_state_is_in_the_documents_words(word: str, state: str) -> None:
    assert Info(json.dumps({"state": word}), CONTAINER).value["state"] == state


@pytest.mark.parametrize("word", [*SUBSTATES, "unknown", "x", "\ud800"])
def test_the_json_has_the_state_in_the_words_that_are_asked_for(word: str) -> None:
    said = Info(json.dumps({"state": word}), CONTAINER).json(str.upper)
    assert said.decode() == f'{{"state":"{word.upper() if word in SUBSTATES else "INVALID"}"}}'


@pytest.mark.parametrize("state", ["null", "1", '{"state":"running"}'])
def test_a_state_that_is_no_text_is_left_as_it_is(state: str) -> None:
    assert (
        Info(f'{{"state": {state}}}', CONTAINER).json(str.upper).decode() == f'{{"state":{state}}}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        "null",
        "NaN",
        '{"a": NaN}',
        '{"a": Infinity}',
        "{'a': 1}",
        "[" * 5000,
        '{"a":' * 17 + "{}" + "}" * 17,
    ],
)
def test_what_is_no_information(text: str) -> None:
    with pytest.raises(DobbyRefused, match="app"):
        Info(text, CONTAINER)


@pytest.mark.parametrize("depth", [17, 100, 500, 900])
def test_nesting_is_bounded(depth: int) -> None:
    for opening, closing in ('{"a":', "}"), ('{"a":[', "]}"):
        with pytest.raises(DobbyRefused):
            Info(opening * depth + "1" + closing * depth, CONTAINER)


def test_what_is_odd_but_json() -> None:
    odd = Info(
        '{"a": %s, "b": 1e999, "c": "\\ud800", "d": -0, "e": 1, "e": 2}' % ("9" * 6000), CONTAINER
    ).value
    assert values.dictionary(odd) == {
        "a": ("d", float("inf")),
        "b": ("d", float("inf")),
        "c": ("s", "\ufffd"),
        "d": ("t", 0),
        "e": ("t", 2),
    }
    assert Info('{"a":' * 15 + "{}" + "}" * 15, CONTAINER).value


JSON_TEXT = st.recursive(
    st.sampled_from(
        [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1.50",
            "1e999",
            "-1E-2",
            "9" * 40,
            '"state"',
            '"running"',
        ]
    )
    | st.text().map(json.dumps)
    | st.sampled_from(
        [
            r'"\u00e9 \/ \b"',
            r'"\ud83d\ude00"',
            r'"\ud800"',
            r'"\\ud800"',
            r'"\udc00\ud800x"',
            '" a , : { "',
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: "[ " + " ,\n".join(items) + "\t]")
        | st.lists(
            st.tuples(
                st.sampled_from(['"state"', '"a"', r'"st\u0061te"', '"é"', r'"\ud800"']), inner
            ),
            max_size=4,
            unique_by=lambda m: m[0],
        ).map(lambda members: "{" + " , ".join(f"{key} : {value}" for key, value in members) + " }")
    ),
    max_leaves=10,
)


def as_it_stands(text: str) -> Any:
    """The JSON with every number as it is spelled."""
    return json.loads(
        text, parse_int=lambda digits: ["int", digits], parse_float=lambda digits: ["float", digits]
    )


@settings(deadline=None)
@given(JSON_TEXT.filter(lambda text: text.startswith("{")))
def test_the_json_is_what_dobby_has_sent(text: str) -> None:
    """Without blanks between its tokens; order, nulls and numbers as they came, lone surrogates too; `state` respelt."""
    said = Info(text, CONTAINER).json(str.upper).decode()
    expected = as_it_stands(text)
    if isinstance(expected.get("state"), str):
        expected["state"] = SUBSTATES.get(expected["state"], "Invalid").upper()
    assert json.dumps(as_it_stands(said)) == json.dumps(expected)
    assert re.search(r"\s", re.sub(r'"(?:[^"\\]|\\.)*"', "", said)) is None


def test_a_large_information_as_json_costs_a_few_copies_of_it() -> None:
    """No list of its tokens: that was 140 MiB for an information of 2.5 MiB, and 0.4 s."""
    processes = [
        {"pid": n, "cmdline": 'thing "a" \\ b', "processes": [1, 2, 3]} for n in range(30_000)
    ]
    text = json.dumps({"state": "running", "processes": processes})
    info = Info(text, CONTAINER)
    tracemalloc.start()
    try:
        said = info.json(str.upper)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert json.loads(said) == {"state": "RUNNING", "processes": processes}
    assert peak < 4 * len(text)

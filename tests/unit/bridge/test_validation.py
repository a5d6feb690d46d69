# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocibridge.bridge import validation
from ocibridge.errors import InvalidArgs
from ocibridge.text import quoted


@pytest.mark.parametrize(
    "good", ["a", "1a", "0x1", "a.", "a-.", "_a", "com.example.app", "A" * 128]
)
def test_ids_that_dobby_takes(good: str) -> None:
    validation.check_new_id(good)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "1",
        "12345",
        ".",
        "..",
        "a..b",
        "-a",
        ".a",
        "--help",
        "a b",
        "a/b",
        "a:b",
        "é",
        "aé",
        "a\n",
        "A" * 129,
        "-",
        "_",
    ],
)
def test_ids_that_it_does_not(bad: str) -> None:
    with pytest.raises(InvalidArgs, match="containerId"):
        validation.check_new_id(bad)


def test_commands_are_counted_as_dobby_splits_them() -> None:
    validation.check_command("")
    validation.check_command(" ".join("x" * 63))
    with pytest.raises(InvalidArgs, match="64 words"):
        validation.check_command(" ".join("x" * 64))
    with pytest.raises(InvalidArgs, match="words"):
        validation.check_command("x" + " " * 63)  # two blanks make an empty word


@pytest.mark.parametrize("bad", ["", "A", "=", "=B"])
def test_variables(bad: str) -> None:
    validation.check_environment(["A=", "A=B=C"])
    with pytest.raises(InvalidArgs, match="envvar"):
        validation.check_environment([bad])


def test_sizes_are_those_of_utf8() -> None:
    validation.check_size("x", "a" * (1 << 20))
    with pytest.raises(InvalidArgs, match="x: larger"):
        validation.check_size("x", "a" * (1 << 20) + "a")
    with pytest.raises(InvalidArgs, match="x: larger"):
        validation.check_size("x", ["a" * (1 << 19)] * 3)
    with pytest.raises(InvalidArgs, match="x: larger"):
        validation.check_size("x", "é" * (1 << 19) + "a")


@given(st.text())
def test_a_quoted_text_is_short_and_on_one_line(text: str) -> None:
    assert len(quoted(text)) <= 10 * 130
    assert quoted(text).isprintable()
    quoted(text).encode()


@pytest.mark.parametrize("many", [False, True], ids=["a string", "a list"])
def test_what_is_too_large_is_not_copied(*, many: bool) -> None:
    """With one character beyond U+FFFF, a text of 30 MiB takes 120 MiB in Python."""
    text = "x" * (8 << 20) + "\U0001f600"
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgs, match="larger than 1 MiB"):
            validation.check_size("command", [text, text] if many else text)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()

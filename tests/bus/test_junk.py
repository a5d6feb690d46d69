# SPDX-License-Identifier: Apache-2.0
"""Random junk in every argument.

There is always a reply, or one of the documented errors, and Dobby is unharmed.
"""

import asyncio
import gc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocibridge import errors
from ocibridge.bus.connection import ErrorReply
from tests.bus.test_load import dobby_is_unharmed
from tests.fake_dobby.client import Client

CLOSED_LIST = {
    error.dbus_name
    for error in vars(errors).values()
    if isinstance(error, type) and hasattr(error, "dbus_name")
} - {errors.Failed.dbus_name}
# What D-Bus can carry: no NUL and no surrogates.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
STRINGS = st.one_of(
    TEXT,
    st.sampled_from(
        [
            "",
            " ",
            "app",
            "734",
            "0",
            "-1",
            "-a",
            "--help",
            "/",
            "//",
            "/etc",
            "..",
            "a/b",
            "\n",
            "%s",
            "\x1b[2J",
            "{}",
            "null",
        ]
    ),
    st.integers().map(str),
    st.binary(max_size=40).map(lambda b: b.hex()),
)
METHODS: list[tuple[str, str]] = [
    ("getContainerState", "s"), ("getContainerInfo", "s"), ("startContainer", "ssssas"),
    ("startContainerFromDobbySpec", "sss"),
    ("stopContainer", "sb"), ("pauseContainer", "s"), ("resumeContainer", "s"),
    ("execCommand", "sss"), ("executeCommand", "sss"),
]  # fmt: skip
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "s": STRINGS,
    "b": st.booleans(),
    "as": st.lists(STRINGS, max_size=5),
}


def arguments(signature: str) -> st.SearchStrategy[tuple[Any, ...]]:
    kinds = signature.replace("as", "A")
    return st.tuples(*(VALUES["as" if kind == "A" else kind] for kind in kinds))


CALLS = st.one_of(*(st.tuples(st.just(method), arguments(method[1])) for method in METHODS))


async def outcome(client: Client, method: tuple[str, str], values: tuple[Any, ...]) -> str:
    try:
        await client.oci(method[0], method[1], *values)
    except ErrorReply as error:
        return error.name
    return "reply"


async def test_junk_gets_a_clear_error(oci: Client) -> None:
    loop = asyncio.get_running_loop()

    def check(calls: list[tuple[tuple[str, str], tuple[Any, ...]]]) -> None:
        async def all_of_them() -> list[str]:
            return await asyncio.gather(*(outcome(oci, *call) for call in calls))

        names = asyncio.run_coroutine_threadsafe(all_of_them(), loop).result()
        assert set(names) <= CLOSED_LIST | {"reply"}

    junk = given(st.lists(CALLS, min_size=1, max_size=12))(check)
    bounded = settings(
        max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )(junk)
    await asyncio.to_thread(bounded)
    assert await oci.oci("listContainers") == []
    await dobby_is_unharmed(oci)


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("", ()),
        ("i", (1,)),
        ("ss", ("a", "b")),
        ("as", (["a"],)),
        ("v", (("s", "a"),)),
        ("(s)", (("a",),)),
        ("o", ("/a",)),
    ],
)
async def test_arguments_of_the_wrong_type(
    oci: Client, signature: str, values: tuple[Any, ...]
) -> None:
    with pytest.raises(ErrorReply) as refused:
        await oci.oci("getContainerState", signature, *values)
    assert refused.value.name == "org.freedesktop.DBus.Error.InvalidArgs"


async def test_the_log_cannot_be_forged(capsys: pytest.CaptureFixture[str], oci: Client) -> None:
    await oci.refused("stopContainer", "sb", "app\nocibridge: info: \x1b[31mall is well", False)
    lines = capsys.readouterr().err.splitlines()
    assert not any(line.startswith("ocibridge: info: \x1b") for line in lines)
    assert any("\\n" in line and "\\x1b" in line for line in lines)


async def test_a_refused_call_leaves_nothing_behind(oci: Client) -> None:
    """A retained error retains its frames, and with them the arguments.

    That would be megabytes per call until the garbage collector runs.
    """
    gc.collect()
    before = {
        id(e) for e in gc.get_objects() if isinstance(e, errors.BridgeError)
    }  # of other tests' daemons
    gc.disable()
    try:
        for text in ("x" * (2 << 20), "nosuch"):
            await oci.refused("getContainerState", "s", text)
            await asyncio.sleep(0)  # let the task of the call end
            assert [
                e.text
                for e in gc.get_objects()
                if isinstance(e, errors.BridgeError) and id(e) not in before
            ] == []
    finally:
        gc.enable()

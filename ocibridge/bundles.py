"""What can be told of a bundle or a spec from its files, before Dobby is asked to start it (design 3).

Files are read in a thread, since flash can be slow, and nothing that is not a regular file is ever read.
"""

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar, cast

from ocibridge import json_text
from ocibridge.errors import InvalidArgs, NotSupported, shown
from ocibridge.model import Origin, Plan

T = TypeVar("T")

LARGEST_SPEC: Final = 1 << 20
LARGEST_CONFIG: Final = 8 << 20
CONFIG: Final = "config.json"
ENCRYPTED: Final = ("rootfs.img", "config.json.jwt")


async def plan_bundle(path: str) -> Plan:
    """Look into the bundle at `path`. Raises InvalidArgs, NotSupported; what we cannot see is left to Dobby."""
    return await _in_thread(_plan_bundle, path)


async def spec_text(dobby_spec: str) -> str:
    """The text of a Dobby spec, given as itself or as the absolute path of its file. Raises InvalidArgs."""
    if dobby_spec.startswith("/"):
        return await _in_thread(_spec_in_file, dobby_spec)
    return _checked_spec(dobby_spec, "dobbySpec")


async def _in_thread(read: Callable[[str], T], path: str) -> T:
    """`read(path)`, in a thread that may hang with its file system: asyncio's own would then keep us from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if answer.cancelled():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(cast("T", result))

    def work() -> None:
        result, error = None, None
        try:
            result = read(path)
        except BaseException as failure:  # noqa: BLE001 - it is raised again where the answer is awaited
            error = failure
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=work, daemon=True).start()
    return await answer


def _plan_bundle(path: str) -> Plan:
    try:
        entries = os.listdir(path)
    except NotADirectoryError:
        raise InvalidArgs(f"bundlePath {shown(path)}: is not a directory") from None
    except (OSError, ValueError):
        return Plan(Origin.BUNDLE, path)  # not to be seen from our sandbox
    if all(name in entries for name in ENCRYPTED):
        raise NotSupported(
            f"bundlePath {shown(path)}: is an encrypted bundle ({' and '.join(ENCRYPTED)}), which needs OMI to be decrypted; "
            "ocibridge has no OMI and does not start it as if it were plain"
        )
    return Plan(Origin.BUNDLE, path, plugins=_has_plugins(path))


def _has_plugins(path: str) -> bool | None:
    """Whether config.json has an `rdkPlugins` object; None if we may not read it. Raises InvalidArgs if it is no JSON."""
    try:
        config = json_text.parse(_read_regular(Path(path, CONFIG), LARGEST_CONFIG))
    except FileNotFoundError:
        raise InvalidArgs(f"bundlePath {shown(path)}: has no {CONFIG}") from None
    except OSError:
        return None
    except ValueError as error:
        raise InvalidArgs(f"bundlePath {shown(path)}: {CONFIG} cannot be parsed: {error}") from None
    if not isinstance(config, dict):
        raise InvalidArgs(f"bundlePath {shown(path)}: {CONFIG} is not a JSON object")
    return isinstance(config.get("rdkPlugins"), dict)


def _spec_in_file(path: str) -> str:
    try:
        content = _read_regular(Path(path), LARGEST_SPEC)
        text = content.decode()
    except OSError as error:
        raise InvalidArgs(f"dobbySpec {shown(path)}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgs(f"dobbySpec {shown(path)}: {error}") from None
    return _checked_spec(text, f"dobbySpec {shown(path)}")


def _checked_spec(text: str, named: str) -> str:
    try:
        if len(text.encode()) > LARGEST_SPEC:
            raise InvalidArgs(f"{named}: larger than 1 MiB")
        spec = json_text.parse(text)
    except ValueError as error:
        raise InvalidArgs(f"{named}: is neither a JSON object ({error}) nor the absolute path of a file that holds one") from None
    if not isinstance(spec, dict) or "\0" in text:
        raise InvalidArgs(f"{named}: is JSON, but not an object")
    return text


def _read_regular(path: Path, largest: int) -> bytes:
    """The content of a regular file. Opening never blocks (a FIFO would); raises OSError, or ValueError if too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is not a regular file")
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"is larger than {largest >> 20} MiB")
    return content

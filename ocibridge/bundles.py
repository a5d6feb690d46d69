"""What can be told of a bundle or a spec from its files, before Dobby is asked to start it (design 3).

Nothing that is not a regular file is ever read.
"""

import os
from pathlib import Path
from typing import Final

from msgspec import UNSET, Raw, Struct, UnsetType, field

from ocibridge import json_text
from ocibridge.errors import InvalidArgs, NotSupported, shown
from ocibridge.files import read_regular
from ocibridge.model import Origin, Plan
from ocibridge.readers import Readers, raise_shortage

LARGEST_SPEC: Final = 1 << 20
LARGEST_CONFIG: Final = 8 << 20
CONFIG: Final = "config.json"
ENCRYPTED: Final = ("rootfs.img", "config.json.jwt")


class _Config(Struct):
    """What counts of a config.json."""

    plugins: Raw | UnsetType = field(default=UNSET, name="rdkPlugins")


class _Spec(Struct):
    """Nothing of a spec counts, but that it is an object."""


class Bundles:
    """Looks into bundles and specs."""

    def __init__(self) -> None:
        self._readers = Readers()

    async def plan(self, path: str) -> Plan:
        """What is to be known of the bundle at `path`; what we cannot see is left to Dobby.

        Raises InvalidArgs, NotSupported, LimitsExceeded.
        """
        return await self._readers.run(lambda: _plan_bundle(path))

    async def spec_text(self, dobby_spec: str) -> str:
        """The text of a Dobby spec, given as itself or as the absolute path of its file. Raises InvalidArgs, LimitsExceeded."""
        if dobby_spec.startswith("/"):
            return await self._readers.run(lambda: _spec_in_file(dobby_spec))
        return _checked_spec(dobby_spec, "dobbySpec")


def _plan_bundle(path: str) -> Plan:
    try:
        entries = os.listdir(path)
    except NotADirectoryError:
        raise InvalidArgs(f"bundlePath {shown(path)}: is not a directory") from None
    except (OSError, ValueError) as error:
        raise_shortage(error, f"bundlePath {shown(path)}")
        return Plan(Origin.BUNDLE, path)  # not to be seen from our sandbox
    if all(name in entries for name in ENCRYPTED):
        raise NotSupported(
            f"bundlePath {shown(path)}: is an encrypted bundle ({' and '.join(ENCRYPTED)}), which needs OMI to be decrypted; "
            "ocibridge has no OMI and does not start it as if it were plain"
        )
    return Plan(Origin.BUNDLE, path, plugins=_has_plugins(path))


def _has_plugins(path: str) -> bool | None:
    """Whether config.json has an `rdkPlugins` object; None if we may not read it. Raises InvalidArgs if it is no JSON."""
    named = f"bundlePath {shown(path)}"
    try:
        config = json_text.members(read_regular(Path(path, CONFIG), LARGEST_CONFIG).decode(), _Config)
    except FileNotFoundError:
        raise InvalidArgs(f"{named}: has no {CONFIG}") from None
    except PermissionError:
        return None
    except OSError as error:  # not that we may not: somebody's lease on it, a bad disk
        raise_shortage(error, named)
        raise InvalidArgs(f"{named}: {CONFIG} cannot be read: {error.strerror}") from None
    except json_text.NotAnObject as error:
        raise InvalidArgs(f"{named}: {CONFIG} {error}") from None
    except ValueError as error:
        raise InvalidArgs(f"{named}: {CONFIG} cannot be parsed: {error}") from None
    return config.plugins is not UNSET and bytes(config.plugins).startswith(b"{")


def _spec_in_file(path: str) -> str:
    try:
        content = read_regular(Path(path), LARGEST_SPEC)
        text = content.decode()
    except OSError as error:
        raise_shortage(error, f"dobbySpec {shown(path)}")
        raise InvalidArgs(f"dobbySpec {shown(path)}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgs(f"dobbySpec {shown(path)}: {error}") from None
    return _checked_spec(text, f"dobbySpec {shown(path)}")


def _checked_spec(text: str, named: str) -> str:
    try:
        if len(text.encode()) > LARGEST_SPEC:
            raise InvalidArgs(f"{named}: larger than 1 MiB")
        json_text.members(text, _Spec)
    except json_text.NotAnObject as error:
        raise InvalidArgs(f"{named}: {error}") from None
    except ValueError as error:
        raise InvalidArgs(f"{named}: is neither a JSON object ({error}) nor the absolute path of a file that holds one") from None
    return text

# SPDX-License-Identifier: Apache-2.0
"""Reads a bundle or a spec before Dobby is asked to start it.

Only regular files are read (docs/design.md, startContainer; What is known of a bundle).
"""

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import UNSET, Raw, Struct, UnsetType, defstruct

from ocibridge.bridge import bundle_rules, json_text
from ocibridge.errors import InvalidArgs, NotSupported
from ocibridge.files import Readers, raise_shortage, read_regular
from ocibridge.model import Origin, Provenance
from ocibridge.text import quoted

MAX_SPEC_BYTES: Final = 1 << 20
MAX_CONFIG_BYTES: Final = 8 << 20
# Of the members that the rules read: as Python objects they can take 27 times as much.
MAX_MEMBERS_BYTES: Final = 512 << 10
CONFIG: Final = "config.json"
BACKUP: Final = "config-dobby.json"  # the original of a config.json that Dobby has rewritten
ENCRYPTED: Final = ("rootfs.img", "config.json.jwt")


# The members that the rules read, as raw JSON.
_CONFIG: Final = defstruct(
    "_Config", [(name, Raw | UnsetType, UNSET) for name in bundle_rules.CONFIG_MEMBERS]
)
_SPEC: Final = defstruct(
    "_Spec", [(name, Raw | UnsetType, UNSET) for name in bundle_rules.SPEC_MEMBERS]
)


class _TooLarge(Exception):
    """The members have more than MAX_MEMBERS_BYTES."""


class CheckedSpec(NamedTuple):
    """A spec's text, its container's provenance, and why Dobby will refuse the start, if known."""

    text: str
    provenance: Provenance
    refusal: str | None = None


class CheckedBundle(NamedTuple):
    """A bundle's provenance for its container, and why Dobby will refuse the start, if known."""

    provenance: Provenance
    refusal: str | None = None


class Bundles:
    """Reads and checks bundles and specs."""

    def __init__(self) -> None:
        self._readers = Readers("reads of bundles and specs")

    async def bundle(self, path: str, *, with_socket: bool) -> CheckedBundle:
        """Check the bundle at `path`. To be called for each start, since Dobby rewrites bundles.

        A bundle that we may not read is left to Dobby. Raises InvalidArgs, also for a bundle that
        would crash Dobby; NotSupported, LimitsExceeded.
        """
        return await self._readers.run(lambda: _checked_bundle(path, with_socket=with_socket))

    async def spec(self, dobby_spec: str) -> CheckedSpec:
        """Check a Dobby spec, given as its JSON text or as the absolute path of its file.

        Raises InvalidArgs, LimitsExceeded.
        """
        if dobby_spec.startswith("/"):
            return await self._readers.run(lambda: _spec_in_file(dobby_spec))
        return _checked_spec(dobby_spec, "dobbySpec")


def _checked_bundle(path: str, *, with_socket: bool) -> CheckedBundle:
    named = f"bundlePath {quoted(path)}"
    try:
        entries = os.listdir(path)
    except NotADirectoryError:
        raise InvalidArgs(f"{named}: is not a directory") from None
    except (OSError, ValueError) as error:
        raise_shortage(error, named)
        return CheckedBundle(Provenance(Origin.BUNDLE, path))  # our sandbox may hide it
    if all(name in entries for name in ENCRYPTED):
        raise NotSupported(
            f"{named}: is an encrypted bundle ({' and '.join(ENCRYPTED)}), which needs OMI to be "
            "decrypted; ocibridge has no OMI and does not start it as if it were plain"
        )
    read = _read_config(path, named, has_backup=BACKUP in entries)
    if read is None:
        return CheckedBundle(Provenance(Origin.BUNDLE, path))
    name, config = read
    crash = bundle_rules.crash_at_start(config, with_socket=with_socket)
    if crash is not None:
        raise InvalidArgs(f"{named}: {name}: {crash}; Dobby would crash at this start")
    provenance = Provenance(Origin.BUNDLE, path, has_rdk_plugins=bundle_rules.has_plugins(config))
    return CheckedBundle(provenance, bundle_rules.refusal_of_bundle(config, path))


def _read_config(path: str, named: str, *, has_backup: bool) -> tuple[str, dict[str, Any]] | None:
    """The name of the file that Dobby will use and the members read; None if we may not read it.

    Raises InvalidArgs, LimitsExceeded.
    """
    try:
        return CONFIG, _config_in(path, CONFIG, named)
    except PermissionError:
        return None
    except InvalidArgs as damaged:
        # Dobby restores a config.json that cannot be parsed from its backup.
        if not has_backup or not isinstance(damaged, _Damaged):
            raise
        try:
            return BACKUP, _config_in(path, BACKUP, named)
        except PermissionError:
            return None
        except InvalidArgs as second:
            raise InvalidArgs(f"{damaged.text}; and {second.text}") from None


class _Damaged(InvalidArgs):
    """The file exists, but holds no JSON object."""


def _config_in(path: str, name: str, named: str) -> dict[str, Any]:
    """The members read from that file. Raises PermissionError, InvalidArgs, LimitsExceeded."""
    try:
        content = read_regular(Path(path, name), MAX_CONFIG_BYTES)
    except FileNotFoundError:
        raise InvalidArgs(f"{named}: has no {name}") from None
    except PermissionError:
        raise
    except OSError as error:  # such as a lease on the file, or a disk error
        raise_shortage(error, named)
        raise InvalidArgs(f"{named}: {name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgs(f"{named}: {name} {error}") from None
    try:
        return _members(content.decode(), _CONFIG)
    except _TooLarge:
        members = ", ".join(bundle_rules.CONFIG_MEMBERS)
        raise InvalidArgs(
            f"{named}: {name}: {members} together are larger than {MAX_MEMBERS_BYTES >> 10} KiB"
        ) from None
    except json_text.NotAnObject as error:
        raise _Damaged(f"{named}: {name} {error}") from None
    except ValueError as error:
        raise _Damaged(f"{named}: {name} cannot be parsed: {error}") from None


def _members(text: str, kind: type[Struct]) -> dict[str, Any]:
    """The members that `kind` declares of a JSON object. Raises ValueError, _TooLarge."""
    found = json_text.members(text, kind)
    raw = {
        name: value
        for name in kind.__struct_fields__
        if (value := getattr(found, name)) is not UNSET
    }
    if sum(len(memoryview(value)) for value in raw.values()) > MAX_MEMBERS_BYTES:
        raise _TooLarge
    return {name: json_text.value(bytes(value)) for name, value in raw.items()}


def _spec_in_file(path: str) -> CheckedSpec:
    named = f"dobbySpec {quoted(path)}"
    try:
        content = read_regular(Path(path), MAX_SPEC_BYTES)
        text = content.decode()
    except OSError as error:
        raise_shortage(error, named)
        raise InvalidArgs(f"{named}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgs(f"{named}: {error}") from None
    return _checked_spec(text, named)


def _checked_spec(text: str, named: str) -> CheckedSpec:
    try:
        if len(text.encode()) > MAX_SPEC_BYTES:
            raise InvalidArgs(f"{named}: larger than 1 MiB")
        spec = _members(text, _SPEC)
    except _TooLarge:
        raise InvalidArgs(
            f"{named}: its plugins are larger than {MAX_MEMBERS_BYTES >> 10} KiB"
        ) from None
    except json_text.NotAnObject as error:
        raise InvalidArgs(f"{named}: {error}") from None
    except ValueError as error:
        raise InvalidArgs(
            f"{named}: is neither a JSON object ({error}) "
            "nor the absolute path of a file that holds one"
        ) from None
    return CheckedSpec(
        text,
        Provenance(Origin.SPEC, has_rdk_plugins=bundle_rules.spec_has_plugins(spec)),
        bundle_rules.refusal_of_spec(spec),
    )

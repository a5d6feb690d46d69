"""What can be told of a bundle or a spec from its files, before Dobby is asked to start it (design 3).

Nothing that is not a regular file is ever read.
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
# Bytes of what is judged: as Python's objects it may be 27 times as large.
MAX_JUDGED_BYTES: Final = 512 << 10
CONFIG: Final = "config.json"
BACKUP: Final = "config-dobby.json"  # what config.json was before Dobby rewrote it
ENCRYPTED: Final = ("rootfs.img", "config.json.jwt")


# What counts of a config.json and of a spec, not yet built.
_CONFIG: Final = defstruct(
    "_Config", [(name, Raw | UnsetType, UNSET) for name in bundle_rules.JUDGED]
)
_SPEC: Final = defstruct(
    "_Spec", [(name, Raw | UnsetType, UNSET) for name in bundle_rules.JUDGED_OF_SPEC]
)


class _TooLarge(Exception):
    """More than LARGEST_JUDGED."""


class SpecPlan(NamedTuple):
    """A spec: its text, what is known of the container to be, and why Dobby will refuse it, as far as that shows."""

    text: str
    plan: Provenance
    refusal: str | None = None


class BundlePlan(NamedTuple):
    """A bundle: what is known of the container to be, and why Dobby will refuse it, as far as that shows."""

    plan: Provenance
    refusal: str | None = None


class Bundles:
    """Looks into bundles and specs."""

    def __init__(self) -> None:
        self._readers = Readers()

    async def bundle(self, path: str, *, with_socket: bool) -> BundlePlan:
        """What is to be known of the bundle at `path`, read anew at each start since Dobby rewrites it.

        What we cannot see is left to Dobby; what would crash Dobby is refused. Raises InvalidArgs, NotSupported, LimitsExceeded.
        """
        return await self._readers.run(lambda: _plan_bundle(path, with_socket=with_socket))

    async def spec(self, dobby_spec: str) -> SpecPlan:
        """A Dobby spec, given as its text or as the absolute path of its file. Raises InvalidArgs, LimitsExceeded."""
        if dobby_spec.startswith("/"):
            return await self._readers.run(lambda: _spec_in_file(dobby_spec))
        return _checked_spec(dobby_spec, "dobbySpec")


def _plan_bundle(path: str, *, with_socket: bool) -> BundlePlan:
    named = f"bundlePath {quoted(path)}"
    try:
        entries = os.listdir(path)
    except NotADirectoryError:
        raise InvalidArgs(f"{named}: is not a directory") from None
    except (OSError, ValueError) as error:
        raise_shortage(error, named)
        return BundlePlan(Provenance(Origin.BUNDLE, path))  # not to be seen from our sandbox
    if all(name in entries for name in ENCRYPTED):
        raise NotSupported(
            f"{named}: is an encrypted bundle ({' and '.join(ENCRYPTED)}), which needs OMI to be decrypted; "
            "ocibridge has no OMI and does not start it as if it were plain"
        )
    read = _read_config(path, named, has_backup=BACKUP in entries)
    if read is None:
        return BundlePlan(Provenance(Origin.BUNDLE, path))
    name, config = read
    crash = bundle_rules.crash_at_start(config, with_socket=with_socket)
    if crash is not None:
        raise InvalidArgs(f"{named}: {name}: {crash}; Dobby would crash at this start")
    plan = Provenance(Origin.BUNDLE, path, has_rdk_plugins=bundle_rules.has_plugins(config))
    return BundlePlan(plan, bundle_rules.refusal_of_bundle(config, path))


def _read_config(path: str, named: str, *, has_backup: bool) -> tuple[str, dict[str, Any]] | None:
    """The file that Dobby will take, and what counts of it; None if we may not read it. Raises InvalidArgs, LimitsExceeded."""
    try:
        return CONFIG, _config_in(path, CONFIG, named)
    except PermissionError:
        return None
    except InvalidArgs as damaged:
        # Dobby recovers a file that cannot be parsed from the copy that it made before it rewrote it.
        if not has_backup or not isinstance(damaged, _Damaged):
            raise
        try:
            return BACKUP, _config_in(path, BACKUP, named)
        except PermissionError:
            return None
        except InvalidArgs as second:
            raise InvalidArgs(f"{damaged.text}; and {second.text}") from None


class _Damaged(InvalidArgs):
    """It is there, and is no JSON object."""


def _config_in(path: str, name: str, named: str) -> dict[str, Any]:
    """What counts of that file. Raises PermissionError, InvalidArgs, LimitsExceeded."""
    try:
        content = read_regular(Path(path, name), MAX_CONFIG_BYTES)
    except FileNotFoundError:
        raise InvalidArgs(f"{named}: has no {name}") from None
    except PermissionError:
        raise
    except OSError as error:  # not that we may not: somebody's lease on it, a bad disk
        raise_shortage(error, named)
        raise InvalidArgs(f"{named}: {name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgs(f"{named}: {name} {error}") from None
    try:
        return _judged(content.decode(), _CONFIG)
    except _TooLarge:
        members = ", ".join(bundle_rules.JUDGED)
        raise InvalidArgs(
            f"{named}: {name}: {members} together are larger than {MAX_JUDGED_BYTES >> 10} KiB"
        ) from None
    except json_text.NotAnObject as error:
        raise _Damaged(f"{named}: {name} {error}") from None
    except ValueError as error:
        raise _Damaged(f"{named}: {name} cannot be parsed: {error}") from None


def _judged(text: str, kind: type[Struct]) -> dict[str, Any]:
    """The members that `kind` declares, built, of a JSON object. Raises ValueError, NotAnObject, _TooLarge."""
    found = json_text.members(text, kind)
    raw = {
        name: value
        for name in kind.__struct_fields__
        if (value := getattr(found, name)) is not UNSET
    }
    if sum(len(memoryview(value)) for value in raw.values()) > MAX_JUDGED_BYTES:
        raise _TooLarge
    return {name: json_text.value(bytes(value)) for name, value in raw.items()}


def _spec_in_file(path: str) -> SpecPlan:
    try:
        content = read_regular(Path(path), MAX_SPEC_BYTES)
        text = content.decode()
    except OSError as error:
        raise_shortage(error, f"dobbySpec {quoted(path)}")
        raise InvalidArgs(f"dobbySpec {quoted(path)}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgs(f"dobbySpec {quoted(path)}: {error}") from None
    return _checked_spec(text, f"dobbySpec {quoted(path)}")


def _checked_spec(text: str, named: str) -> SpecPlan:
    try:
        if len(text.encode()) > MAX_SPEC_BYTES:
            raise InvalidArgs(f"{named}: larger than 1 MiB")
        spec = _judged(text, _SPEC)
    except _TooLarge:
        raise InvalidArgs(
            f"{named}: its plugins are larger than {MAX_JUDGED_BYTES >> 10} KiB"
        ) from None
    except json_text.NotAnObject as error:
        raise InvalidArgs(f"{named}: {error}") from None
    except ValueError as error:
        raise InvalidArgs(
            f"{named}: is neither a JSON object ({error}) nor the absolute path of a file that holds one"
        ) from None
    return SpecPlan(
        text,
        Provenance(Origin.SPEC, has_rdk_plugins=bundle_rules.spec_has_plugins(spec)),
        bundle_rules.refusal_of_spec(spec),
    )

# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments before Dobby is asked. All of them raise InvalidArgs.

(docs/design.md, startContainer; mount and unmount; docs/dobby.md, Descriptors and ids)
"""

from typing import Final

from ocibridge.errors import InvalidArgs
from ocibridge.model import ID_CHARACTERS, State, SubState
from ocibridge.text import quoted

MAX_STRING_BYTES: Final = 1 << 20
MAX_PATH_BYTES: Final = 4095  # PATH_MAX of limits.h, without the final NUL
MAX_ID_BYTES: Final = 128
MAX_WORDS: Final = 63  # DobbyInit's limit (docs/dobby.md, Command, environment, user and files)

STATES: Final = sorted({word.value for word in (*State, *SubState)})
# The flags that Dobby knows (docs/dobby.md, Mount and Unmount).
DOBBY_FLAGS: Final = {
    "bind",
    "rbind",
    "silent",
    "ro",
    "sync",
    "dirsync",
    "noatime",
    "nodiratime",
    "relatime",
    "strictatime",
}
# Also mount(8)'s words for what Dobby does anyway.
MOUNT_FLAGS: Final = (
    DOBBY_FLAGS
    | {"noexec", "nodev", "nosuid"}
    | {"defaults", "rw", "async", "exec", "dev", "suid", "atime", "diratime"}
)


def check_size(name: str, value: object, max_bytes: int = MAX_STRING_BYTES) -> None:
    """A string, or a list of strings together, has at most `max_bytes` of UTF-8.

    Values of other types pass. A text with more characters than that is not encoded first: the bus
    lets 30 MiB through, which can take 120 MiB in Python.
    """
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    characters = sum(map(len, texts))
    if characters > max_bytes or (
        characters > max_bytes // 4
        and sum(len(t.encode(errors="replace")) for t in texts) > max_bytes
    ):
        raise InvalidArgs(f"{name}: larger than {max_bytes >> 20} MiB")


def check_reference(container_id: str) -> None:
    """A container id or descriptor is not longer than an id can be.

    A wait keeps the text in memory.
    """
    if len(container_id.encode(errors="replace")) > MAX_ID_BYTES:
        raise InvalidArgs(
            f"containerId {quoted(container_id)}: longer than {MAX_ID_BYTES} bytes; "
            "no container has such an id"
        )


def check_new_id(container_id: str) -> None:
    """An id follows Dobby's rule and begins neither with "-" nor with ".".

    crun takes a leading "-" for an option, and fails with a leading ".".
    """
    problem = None
    if not ID_CHARACTERS.fullmatch(container_id):
        problem = 'an id is 1 to 128 ASCII letters, digits, ".", "-" and "_"'
    elif ".." in container_id:
        problem = 'an id may not have ".." in it'
    elif not any(c.isalpha() for c in container_id):
        problem = "an id must have a letter in it"
    elif container_id[0] in "-.":
        problem = f'an id may not begin with "{container_id[0]}" (crun would misread it)'
    if problem is not None:
        raise InvalidArgs(f"containerId {quoted(container_id)}: {problem}")


def check_absolute(name: str, path: str) -> None:
    """A path is absolute and not longer than system calls allow.

    Dobby and crun resolve relative paths against different directories. Paths are saved while a
    start is pending; the limit keeps a flood of starts from filling /run.
    """
    if len(path.encode(errors="replace")) > MAX_PATH_BYTES:
        raise InvalidArgs(f"{name} {quoted(path)}: longer than {MAX_PATH_BYTES} bytes")
    if not path.startswith("/"):
        raise InvalidArgs(f"{name} {quoted(path)}: must be an absolute path")


def check_command(command: str) -> None:
    """A command has at most 63 words. Dobby splits it at each single blank, without quoting."""
    words = command.count(" ") + 1
    if words > MAX_WORDS:
        raise InvalidArgs(
            f"command: {words} words (split at single blanks, as Dobby does); "
            f"Dobby accepts at most {MAX_WORDS}"
        )


def check_exec_command(command: str) -> None:
    """As `check_command`, and the command is not empty: Dobby would reply true to that."""
    if not command.strip(" "):
        raise InvalidArgs("command: is empty")
    check_command(command)


def check_environment(variables: list[str]) -> None:
    """Each entry is NAME=VALUE. crun silently drops an entry without "="."""
    for variable in variables:
        name, equals, _ = variable.partition("=")
        if not name or not equals:
            raise InvalidArgs(f"envvar {quoted(variable)}: must be NAME=VALUE")


def check_mount_flags(flags: list[str]) -> None:
    """The flags are known and include "bind" or "rbind".

    Dobby silently drops flags that it does not know, and mounts nothing without one of these two.
    """
    unknown = [flag for flag in flags if flag not in MOUNT_FLAGS]
    if unknown:
        raise InvalidArgs(
            f"flags: {quoted(unknown[0])} is unknown; Dobby knows {', '.join(sorted(MOUNT_FLAGS))}"
        )
    if not {"bind", "rbind"} & set(flags):
        raise InvalidArgs('flags: must include "bind" or "rbind", since Dobby mounts nothing else')


def check_state(word: str) -> None:
    """The word is one of `State` or `SubState`."""
    if word not in STATES:
        raise InvalidArgs(f"state {quoted(word)}: must be one of {', '.join(STATES)}")

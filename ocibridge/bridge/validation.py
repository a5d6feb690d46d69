"""What an argument must be before Dobby hears of it (design 3; facts 2, 5). Everything here raises InvalidArgs."""

import re
from typing import Final

from ocibridge.errors import InvalidArgs
from ocibridge.model import State, SubState
from ocibridge.text import quoted

MAX_STRING_BYTES: Final = 1 << 20  # bytes
MAX_PATH_BYTES: Final = 4095  # bytes (limits.h, PATH_MAX, with the NUL that ends it)
MAX_ID_BYTES: Final = 128  # bytes (facts 5)
MAX_WORDS: Final = 63  # what DobbyInit takes (facts, StartFromBundle)
ID_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

STATES: Final = sorted({word.value for word in (*State, *SubState)})
# What Dobby passes on (facts, Mount), and mount(8)'s words for what is so without any.
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
MOUNT_FLAGS: Final = (
    DOBBY_FLAGS
    | {"noexec", "nodev", "nosuid"}
    | {"defaults", "rw", "async", "exec", "dev", "suid", "atime", "diratime"}
)


def check_size(name: str, value: object, largest: int = MAX_STRING_BYTES) -> None:
    """At most `largest` bytes of UTF-8 in a string, or in all of a list of them; nothing else has a size.

    What has more characters than that is never encoded: the bus hands over 30 MiB, which may be 120 MiB of Python's.
    """
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    characters = sum(map(len, texts))
    if characters > largest or (
        characters > largest // 4 and sum(len(t.encode(errors="replace")) for t in texts) > largest
    ):
        raise InvalidArgs(f"{name}: larger than {largest >> 20} MiB")


def check_reference(container_id: str) -> None:
    """No container has a longer id; a wait for one would keep the text in memory for as long as it waits."""
    if len(container_id.encode(errors="replace")) > MAX_ID_BYTES:
        raise InvalidArgs(
            f"containerId {quoted(container_id)}: longer than {MAX_ID_BYTES} bytes; no container has such an id"
        )


def check_new_id(container_id: str) -> None:
    """Dobby's rule for ids, and crun's two traps on top: a leading "-" is an option to it, a leading "." fails."""
    problem = None
    if not ID_CHARACTERS.fullmatch(container_id):
        problem = 'an id is 1 to 128 ASCII letters, digits, ".", "-" and "_"'
    elif ".." in container_id:
        problem = 'an id may not have ".." in it'
    elif not any(c.isalpha() for c in container_id):
        problem = "an id must have a letter in it"
    elif container_id[0] in "-.":
        problem = (
            f'an id may not begin with "{container_id[0]}" (crun would take it for something else)'
        )
    if problem is not None:
        raise InvalidArgs(f"containerId {quoted(container_id)}: {problem}")


def check_absolute(name: str, path: str) -> None:
    """Dobby and crun resolve a relative path against different directories.

    A path that no system call would take is remembered as long as its start is under way: thousands would fill /run.
    """
    if len(path.encode(errors="replace")) > MAX_PATH_BYTES:
        raise InvalidArgs(f"{name} {quoted(path)}: longer than {MAX_PATH_BYTES} bytes")
    if not path.startswith("/"):
        raise InvalidArgs(f"{name} {quoted(path)}: must be an absolute path")


def check_command(command: str) -> None:
    """Dobby splits a command at each single blank, without quoting, and hands at most 63 words on."""
    words = command.count(" ") + 1
    if words > MAX_WORDS:
        raise InvalidArgs(
            f"command: {words} words (split at single blanks, as Dobby does); Dobby takes at most {MAX_WORDS}"
        )


def check_exec_command(command: str) -> None:
    """As `check_command`, and not empty: Dobby says true to nothing at all."""
    if not command.strip(" "):
        raise InvalidArgs("command: is empty")
    check_command(command)


def check_environment(variables: list[str]) -> None:
    """crun drops an entry without "=" silently; we say so."""
    for variable in variables:
        name, equals, _ = variable.partition("=")
        if not name or not equals:
            raise InvalidArgs(f"envvar {quoted(variable)}: must be NAME=VALUE")


def check_mount_flags(flags: list[str]) -> None:
    """Dobby drops a flag that it does not know silently; we say so. Without "bind" or "rbind" it mounts nothing."""
    unknown = [flag for flag in flags if flag not in MOUNT_FLAGS]
    if unknown:
        raise InvalidArgs(
            f"flags: {quoted(unknown[0])} is none that Dobby knows: {', '.join(sorted(MOUNT_FLAGS))}"
        )
    if not {"bind", "rbind"} & set(flags):
        raise InvalidArgs(
            'flags: "bind" or "rbind" must be among them, since Dobby mounts nothing else'
        )


def check_state(word: str) -> None:
    """A word of `State` or `SubState`."""
    if word not in STATES:
        raise InvalidArgs(f"state {quoted(word)}: must be one of {', '.join(STATES)}")

# SPDX-License-Identifier: Apache-2.0
"""A strict subset of YAML: the values that JSON has, and each key once.

PyYAML reads `010` as 8 and `1:30` as 90 (YAML 1.1), lets a second key replace the first, and its
constructors raise IndexError, KeyError or AttributeError for wrong values. So only its parser is
used here, which composes nodes; the values are built below.
"""

import re
from typing import Any, Final, NoReturn

import yaml

from ocibridge.text import MAX_QUOTED_CHARACTERS, quoted

PREFIX: Final = "tag:yaml.org,2002:"
NUMBER: Final = r"-?(?:0|[1-9][0-9]*)"
# JSON's spelling of each type, and YAML's of null. Any other unquoted scalar is a string.
SPELLINGS: Final = {
    "null": re.compile(r"(?:~|null|Null|NULL|)\Z"),
    "bool": re.compile(r"(?:true|false)\Z"),
    "int": re.compile(rf"{NUMBER}\Z"),
    "float": re.compile(rf"{NUMBER}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z"),
}
MAX_NUMBER_CHARACTERS: Final = 18  # an integer of that length fits into 64 bits


class NotYaml(ValueError):
    """The text is not in the subset. The message is one line that says where and why."""


class _Loader(yaml.SafeLoader):
    """Composes nodes; unquoted scalars get the tags of SPELLINGS, not those of YAML 1.1."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML declares it so
        None: [(PREFIX + kind, pattern) for kind, pattern in SPELLINGS.items()]
    }


def parse(text: str) -> Any:
    """The value of the one document in `text`, None if it is empty. Raises NotYaml.

    Aliases share one object, so that nested aliases do not multiply. A value may contain itself.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return None if node is None else _Builder().value(node, "")
    except NotYaml:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotYaml(
            f"{_place(mark)}{' '.join(filter(None, (error.context, error.problem)))}"
        ) from None
    except RecursionError:
        raise NotYaml("nested too deeply") from None
    except Exception as error:  # noqa: BLE001 - among others OverflowError for "\UFFFFFFFF"
        raise NotYaml(f"not YAML: {' '.join(str(error).split())}") from None


class _Builder:
    """Builds values from nodes. A node is built once, however many aliases it has."""

    def __init__(self) -> None:
        self._built: dict[yaml.Node, Any] = {}

    def value(self, node: yaml.Node, path: str) -> Any:
        """The value of a node. `path` is the key that errors name, "" at the top."""
        if node in self._built:
            return self._built[node]
        if isinstance(node, yaml.MappingNode):
            _expect_tag(node, "map", path)
            mapping = self._built[node] = {}
            self._fill(mapping, node, path)
            return mapping
        if isinstance(node, yaml.SequenceNode):
            _expect_tag(node, "seq", path)
            items = self._built[node] = []
            items.extend(
                self.value(item, f"{path}[{index}]") for index, item in enumerate(node.value)
            )
            return items
        return _scalar(node, path)

    def _fill(self, mapping: dict[str, Any], node: yaml.MappingNode, path: str) -> None:
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != f"{PREFIX}str":
                _refuse(key_node, path, "a key must be a string")
            key = key_node.value
            inner = f"{path}.{key}" if path else key
            if key in mapping:
                _refuse(key_node, _readable(inner), "the key is given twice; keep one of them")
            mapping[key] = self.value(value_node, _readable(inner))


def _scalar(node: yaml.Node, path: str) -> Any:
    kind = node.tag.removeprefix(PREFIX)
    text = node.value
    if kind == "str":
        return text
    if kind not in SPELLINGS:
        _expect_tag(node, "str", path)
    if not SPELLINGS[kind].match(text):
        _refuse(node, path, f"{quoted(text)} is not a value of the type !!{kind}")
    if kind == "null":
        return None
    if kind == "bool":
        return text == "true"
    if len(text) > MAX_NUMBER_CHARACTERS:
        _refuse(node, path, f"the number {quoted(text)} is too long")
    return int(text) if kind == "int" else float(text)


def _expect_tag(node: yaml.Node, kind: str, path: str) -> None:
    if node.tag != PREFIX + kind:
        _refuse(
            node,
            path,
            f"the tag {quoted(node.tag.replace(PREFIX, '!!'))} cannot be used here; leave it out",
        )


def _refuse(node: yaml.Node, path: str, problem: str) -> NoReturn:
    raise NotYaml(f"{path + ': ' if path else ''}{_place(node.start_mark)}{problem}")


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _readable(path: str) -> str:
    """A key as errors may show it: one line of bounded length."""
    return path if path.isprintable() and len(path) <= MAX_QUOTED_CHARACTERS else quoted(path)

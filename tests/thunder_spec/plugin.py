# SPDX-License-Identifier: Apache-2.0
"""The plugin document as data: its examples and its tables of parameters, read from its text."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).with_name("OCIContainer_Plugin.md")
ORIGINAL = Path(__file__).parents[3] / "shared" / "reference" / DOCUMENT.name


@dataclass(frozen=True)
class Parameter:
    """A row of a table: `params.containerId`, `params?.envvar[#]`."""

    name: str
    type: str
    optional: bool


@dataclass(frozen=True)
class Method:
    """A section: its name, its parameters, and its example byte for byte."""

    name: str
    parameters: tuple[Parameter, ...]
    request: str
    response: str

    def __str__(self) -> str:
        return self.name


def methods() -> list[Method]:
    """All sections, in the document's order."""
    sections = re.split(
        r'^<a name="method\.(\w+)"></a>$', DOCUMENT.read_text(), flags=re.MULTILINE
    )[1:]
    return [_method(name, text) for name, text in zip(sections[::2], sections[1::2], strict=True)]


def _method(name: str, text: str) -> Method:
    parameters, _, rest = text.partition("### Result")
    rows = re.findall(r"^\| params(\??)\.(\S+) \| (\w+) \|", parameters, re.MULTILINE)
    request, response = re.findall(r"```json\n(.*?)```", rest, re.DOTALL)
    return Method(
        name,
        tuple(Parameter(word, kind, bool(mark)) for mark, word, kind in rows),
        request,
        response,
    )

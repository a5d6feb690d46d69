# SPDX-License-Identifier: Apache-2.0
"""docs/thunder.md as data: the parameters of each method, and its answers to both plugins."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.thunder_spec.plugin import Parameter

GUIDE = Path(__file__).parents[2] / "docs" / "thunder.md"
OTHERS = "all others"


@dataclass(frozen=True)
class Method:
    """A method: its parameters, and its results as JSON text.

    `old`: a success, to a request of the old plugin. `new`: to one of IOCIContainer. `refused`: a
    refusal, to one of IOCIContainer. The results are those for a container "a" with descriptor 734.
    """

    name: str
    parameters: tuple[Parameter, ...]
    old: str
    new: str
    refused: str

    def __str__(self) -> str:
        return self.name


def methods() -> list[Method]:
    """All methods, in the order of the page."""
    old, new = (
        table("method", "result of a success"),
        table("method", "result of a success", "result of a refusal"),
    )
    return [
        Method(
            name,
            tuple(_parameters(parameters)),
            *(code(cell) for cell in old.get(name, old[OTHERS])),
            *(code(cell) for cell in new.get(name, new[OTHERS])),
        )
        for name, (parameters,) in table("method", "parameters").items()
    ]


def table(*heads: str) -> dict[str, list[str]]:
    """The table with these heads: by the first cell of each row, the others."""
    head = f"| {' | '.join(heads)} |\n| {' | '.join(['---'] * len(heads))} |\n"
    _, found, rest = GUIDE.read_text().partition(head)
    assert found, f"not on the page: {head}"
    lines = re.match(r"(?:\|.*\n)*", rest)
    rows = [
        [cell.strip() for cell in line.strip("|").split(" |")]
        for line in (lines[0] if lines else "").splitlines()
    ]
    assert all(len(row) == len(heads) for row in rows)
    by_name = {row[0].strip("`"): row[1:] for row in rows}
    assert len(by_name) == len(rows)
    return by_name


def code(cell: str) -> str:
    """The code in the cell, which has nothing else."""
    assert re.fullmatch("`[^`]+`", cell), cell
    return cell[1:-1]


def _parameters(cell: str) -> Iterator[Parameter]:
    for each in cell.split(", ") if cell else ():
        found = re.fullmatch(r"`(\w+)(\??)` ([a-z ]+)", each)
        assert found, each
        yield Parameter(found[1], found[3], bool(found[2]))

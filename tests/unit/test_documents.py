# SPDX-License-Identifier: Apache-2.0
"""The documents: citations and links resolve, paths and commands exist, prose keeps its width."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "ocibridge", "tests", "benchmarks", "docs", "man", "systemd", "dbus-policy", "config", "tools",
    "packaging", "examples", ".ci", ".github",
}  # fmt: skip
LAYERS = {"api", "bridge", "bus", "config", "dobby", "mirror", "systemd"}
TEXTS = {"", ".py", ".rst", ".md", ".service", ".catalog", ".conf", ".xml", ".yaml", ".yml", ".sh"}
# A copy of somebody else's document, and what `make bench` writes.
FOREIGN = {"tests/thunder_spec/OCIContainer_Plugin.md"}
GENERATED = {"benchmarks/results.md"}
MAX_README_LINES = 130
MAX_COLUMNS = 100

CITATION = re.compile(r"(?P<before>\(|; |)(?P<path>docs/[\w-]+\.md)(?P<comma>, )?")
NUMBERED = re.compile(
    r"\b(?:design|facts)(?:, (?:section|points?))? \d|\bfacts[,:]|sdbus-facts|\bcaptures, "
)
LINK = re.compile(r"\[[^]]*]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def texts() -> list[Path]:
    """All files that may cite a document."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != "requirements.lock"]
    for folder in sorted(FOLDERS):
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return sorted(
        path
        for path in found
        if path.suffix in TEXTS and "__pycache__" not in path.parts and name_of(path) not in FOREIGN
    )


PAGES = [path for path in texts() if path.suffix == ".md"]
each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.MULTILINE)


def anchors(page: str) -> set[str]:
    """Of each heading, as GitHub makes them."""
    found: list[str] = []
    for heading in headings(page):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


def unwrapped(text: str) -> str:
    """A citation may go on in the next line, of a comment as well."""
    return re.sub(r"\s*\n\s*(?:# |\.\. )?", " ", text)


def cited_headings(rest: str, *, strict: bool) -> list[str]:
    """The headings that the text after "docs/NAME.md, " names.

    `strict`: in parentheses, where nothing else stands: "(docs/NAME.md, Heading; Another)".
    """
    if strict:
        items = rest.partition(")")[0].split(";")
        return [item.strip().strip('"') for item in items if "docs/" not in item]
    quoted = re.match(r'"([^"]+)"', rest)
    if quoted:
        return [quoted[1]]
    return [rest] if rest[:1].isupper() else []


def broken_citations(text: str, root: Path) -> Iterator[str]:
    text = unwrapped(text)
    for citation in CITATION.finditer(text):
        page = root / citation["path"]
        if not page.exists():
            yield citation["path"]
            continue
        if not citation["comma"]:
            continue
        known = headings(page.read_text())
        rest = text[citation.end() : citation.end() + 200]
        strict = citation["before"] != ""
        for heading in cited_headings(rest, strict=strict):
            is_known = heading in known or (
                not strict
                and any(re.match(rf"{re.escape(name)}(?!\w| \w)", heading) for name in known)
            )
            if not is_known:
                yield f"{citation['path']}, {heading[:60]}"


def broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(CODE.sub("", FENCE.sub("", page.read_text()))):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            yield target


def wide_lines(page: str) -> Iterator[str]:
    """Code, tables and lines with a link may be wider."""
    for line in FENCE.sub("", page).splitlines():
        is_free = line.startswith(("|", "    ")) or LINK.search(line) or "://" in line
        if len(line) > MAX_COLUMNS and not is_free:
            yield line


def unknown_paths(page: str, root: Path) -> Iterator[str]:
    """Paths in the repository or the package, and targets of make, that the page names in code."""
    rules = re.findall(r"^([\w-]+(?: [\w-]+)*):", (root / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    for code in CODE.findall(FENCE.sub("", page)):
        words = code.partition("=")[0].split()
        if words[:1] == ["make"]:
            yield from (
                f"make {word}" for word in words[1:] if word.islower() and word not in targets
            )
        is_path = re.fullmatch(r"[\w.-]+/[\w./-]*", code) and not re.search(r"NAME|X\.Y", code)
        is_ours = is_path and code.partition("/")[0] in FOLDERS | LAYERS
        if is_ours and not any((top / code).exists() for top in (root, root / "ocibridge")):
            yield code


@pytest.mark.parametrize("path", texts(), ids=name_of)
def test_citations_resolve(path: Path) -> None:
    """A citation is `docs/NAME.md`, or `docs/NAME.md, Heading`."""
    if path != Path(__file__):
        assert list(broken_citations(path.read_text(errors="replace"), ROOT)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "ocibridge").rglob("*.py")), ids=name_of)
def test_no_citation_by_number(path: Path) -> None:
    """Of documents that are not in the repository."""
    assert NUMBERED.findall(path.read_text()) == []


@each_page
def test_links_resolve(page: Path) -> None:
    assert list(broken_links(page)) == []


@each_page
def test_paths_and_targets_exist(page: Path) -> None:
    assert list(unknown_paths(page.read_text(), ROOT)) == []


@each_page
def test_lines_are_not_too_wide(page: Path) -> None:
    if name_of(page) not in GENERATED:
        assert list(wide_lines(page.read_text())) == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def section(heading: str) -> str:
    return re.split(rf"^#+ {re.escape(heading)}$", ARCHITECTURE, flags=re.MULTILINE)[1].split(
        "\n#"
    )[0]


def test_the_tree_is_the_tree() -> None:
    """docs/architecture.md names each module once, and no other."""
    tree = ARCHITECTURE.partition("## The tree")[2].partition("### Beside the package")[0]
    named = re.findall(
        r"`(?:\w+/)?(\w+\.py)`", re.sub(r" \| .* \|$", " |", tree, flags=re.MULTILINE)
    )
    package = [path.name for path in (ROOT / "ocibridge").rglob("*.py")]
    assert sorted(named) == sorted(name for name in package if name != "__init__.py")


@pytest.mark.parametrize(
    ("walk", "row"),
    [
        ("getContainerState", "`getContainerState`"),
        ("startContainer", "`startContainer`"),
        ("stopContainer", "`stopContainer`"),
        ("Started, to onContainerStarted", "Dobby's `Started`"),
    ],
)
def test_a_walk_has_as_many_stops_as_its_row_says(walk: str, row: str) -> None:
    steps = re.findall(r"^\| (\d+) \| ([^|]+) \|", section(walk), re.MULTILINE)
    stops: list[str] = []
    for number, files in steps:
        assert int(number) == len(stops) + 1
        stops += re.findall(r"`([\w/.]+)`", files)
    assert all(first != second for first, second in pairwise(stops))
    counts = re.search(
        rf"^\| {re.escape(row)}.* \| (\d+) \| (\d+) \|$", section("Walks"), re.MULTILINE
    )
    assert counts is not None
    assert (len(set(stops)), len(stops) - 1) == (int(counts[1]), int(counts[2]))


# That the checks above can fail.


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    page = "# Title\n\n## Reply slots\n\n### Start, stop\n\n```\n# no heading\n```\n"
    (tmp_path / "docs" / "a.md").write_text(page)
    (tmp_path / "Makefile").write_text(".PHONY: all\n\nall unit:\n\techo\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("(docs/a.md, Reply slots)", []),
        ("(docs/a.md, Reply slots; Start, stop)", []),
        ("# as it is (docs/a.md,\n    # Reply slots)", []),
        ("See docs/a.md, Reply slots. More.", []),
        ('docs/a.md, "Reply slots" says', []),
        ("docs/a.md, which says", []),
        ("(docs/b.md, Reply slots)", ["docs/b.md"]),
        ("(docs/a.md, Slots)", ["docs/a.md, Slots"]),
        ("(docs/a.md, Reply slots; Slots)", ["docs/a.md, Slots"]),
        ("(docs/a.md, no heading)", ["docs/a.md, no heading"]),
        ("(docs/a.md, Title; docs/a.md, Slots)", ["docs/a.md, Slots"]),
        ("docs/a.md, Reply slots and more", ["docs/a.md, Reply slots and more"]),
        ('docs/a.md, "Slots"', ["docs/a.md, Slots"]),
    ],
)
def test_a_wrong_citation_is_found(small: Path, text: str, broken: list[str]) -> None:
    assert list(broken_citations(text, small)) == broken


@pytest.mark.parametrize(
    ("text", "is_numbered"),
    [
        ("(design 3)", True),
        ("(facts 1-4, 8b)", True),
        ("(facts, Mount)", True),
        ("(facts, point 3)", True),
        ("(sdbus-facts, Serving)", True),
        ("(captures, 28b_…, 6.)", True),
        ("a design of 3 parts", False),
        ("(docs/design.md, Names)", False),
    ],
)
def test_a_numbered_citation_is_found(text: str, is_numbered: bool) -> None:
    assert bool(NUMBERED.search(text)) is is_numbered


def test_a_broken_link_is_found(small: Path) -> None:
    page = small / "page.md"
    page.write_text(
        "[a](docs/a.md#reply-slots) [b](docs/a.md#start-stop) [c](https://example.org/x)\n"
        "[d](docs/b.md) [e](docs/a.md#slots) [f](#nowhere) `[g](code.md)`\n"
    )
    assert list(broken_links(page)) == ["docs/b.md", "docs/a.md#slots", "#nowhere"]


def test_an_unknown_path_is_found(small: Path) -> None:
    page = (
        "`docs/a.md` `make unit X=bus` `make bus` `docs/b.md` `/etc/docs` `docs/NAME.md` `dobby/x`"
    )
    assert list(unknown_paths(page, small)) == ["make bus", "docs/b.md", "dobby/x"]


def test_a_wide_line_is_found() -> None:
    long = "word " * 30
    assert list(wide_lines(f"| {long} |\n```\n{long}\n```\n    {long}\n{long}\n")) == [long]

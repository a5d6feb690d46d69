# SPDX-License-Identifier: Apache-2.0
"""Finding and merging configuration files (UAPI.6; docs/design.md, Configuration)."""

import os
from pathlib import Path

import pytest

from ocibridge.config.files import find, load
from ocibridge.config.schema import Config, ConfigError


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in ("etc", "run", "usr")]
    for folder in folders:
        (folder / "ocibridge.yaml.d").mkdir(parents=True)
    return folders


def test_no_file_at_all(tmp_path: Path) -> None:
    assert find([tmp_path / "none"]) == []
    assert load([]) == Config()


def test_the_first_main_file_counts_alone(folders: list[Path]) -> None:
    (folders[1] / "ocibridge.yaml").write_text("limits: {queued: 2}")
    (folders[2] / "ocibridge.yaml").write_text("limits: {queued: 3, in_flight: 3}")
    assert find(folders) == [folders[1] / "ocibridge.yaml"]
    assert (load(find(folders)).limits.queued, load(find(folders)).limits.in_flight) == (2, 32)
    (folders[0] / "ocibridge.yaml").symlink_to("/dev/null")
    assert load(find(folders)) == Config()


def test_drop_ins_by_name_over_the_main_file(folders: list[Path]) -> None:
    etc, run, usr = (folder / "ocibridge.yaml.d" for folder in folders)
    (folders[2] / "ocibridge.yaml").write_text(
        "limits: {queued: 1, in_flight: 1}\nunknown_origin: refuse"
    )
    (usr / "20-b.yaml").write_text("limits: {queued: 20}")
    (etc / "10-a.yaml").write_text("limits: {queued: 10, in_flight: 10}")
    (run / "30-c.yaml").write_text("")
    (etc / "note.txt").write_text("no configuration")
    (etc / ".#10-a.yaml").symlink_to("nobody@nowhere")
    config = load(find(folders))
    assert (config.limits.queued, config.limits.in_flight, config.unknown_origin) == (
        20,
        10,
        "refuse",
    )


def test_a_drop_in_hides_that_of_the_same_name(folders: list[Path]) -> None:
    for folder, queued in zip(folders, (1, 2, 3), strict=True):
        (folder / "ocibridge.yaml.d" / "10.yaml").write_text(f"limits: {{queued: {queued}}}")
    assert load(find(folders)).limits.queued == 1
    (folders[0] / "ocibridge.yaml.d" / "10.yaml").unlink()
    (folders[0] / "ocibridge.yaml.d" / "10.yaml").symlink_to("/dev/null")
    assert load(find(folders)) == Config()


def test_what_is_wrong_names_its_file(folders: list[Path]) -> None:
    (folders[0] / "ocibridge.yaml").write_text("limits: {queued: 1}")
    wrong = folders[2] / "ocibridge.yaml.d" / "50-wrong.yaml"
    wrong.write_text("limits: {queued: many}")
    with pytest.raises(ConfigError, match=f"^{wrong}: limits.queued: .*int"):
        load(find(folders))


def test_what_is_wrong_only_together_names_both_files(folders: list[Path]) -> None:
    main, drop_in = folders[0] / "ocibridge.yaml", folders[0] / "ocibridge.yaml.d" / "50-dobby.yaml"
    main.write_text("callsign: org.x.y")
    drop_in.write_text("dobby: {service: org.x.y}")
    with pytest.raises(ConfigError, match=f"^{main}, {drop_in}: callsign: .*dobby.service"):
        load(find(folders))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "cannot be read"),
        (b"#" * ((1 << 20) + 1), "cannot be read: is larger than 1 MiB"),
        (None, "cannot be read: is not a regular file"),
    ],
    ids=["no text", "too large", "a folder"],
)
def test_what_cannot_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "c.yaml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{file}: .*{said}"):
        load([file])


def test_a_folder_that_cannot_be_looked_into(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", forbidden)
    with pytest.raises(ConfigError, match=r"etc/ocibridge\.yaml: .*Permission denied"):
        find(folders)


def test_what_is_no_regular_file_is_refused_and_blocks_nobody(folders: list[Path]) -> None:
    """Reading a FIFO would block the daemon until the watchdog ends it."""
    file = folders[0] / "ocibridge.yaml"
    os.mkfifo(file)
    with pytest.raises(ConfigError, match=f"^{file}: .*not a regular file"):
        load(find(folders))
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=f"^{file}: .*not a regular file"):
        load(find(folders))


@pytest.mark.parametrize(
    ("content", "problem"), [(b"limits: &a [*a]", "limits"), (b"\0", "special character")]
)
def test_what_no_editor_writes(folders: list[Path], content: bytes, problem: str) -> None:
    file = folders[0] / "ocibridge.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{file}: .*{problem}"):
        load(find(folders))


def test_aliases_of_aliases_are_no_bomb(folders: list[Path]) -> None:
    """YAML's "billion laughs": nested aliases must not be expanded."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)
    ]
    (folders[0] / "ocibridge.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError):
        load(find(folders))

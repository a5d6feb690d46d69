# SPDX-License-Identifier: Apache-2.0
"""The limit on the annotations of one container, without Dobby."""

import gc

import pytest

from ocibridge.bridge.annotation_quota import MAX_BYTES, OVERHEAD_BYTES, AnnotationQuota
from ocibridge.errors import InvalidArgs
from ocibridge.mirror.observations import Stopped
from ocibridge.model import Container
from tests.unit.mirror.test_mirror import Seen, found

# The size of a value whose annotation takes a third of the limit, with a key of one letter.
THIRD = MAX_BYTES // 3 - OVERHEAD_BYTES - len('"k"') - len('""')


def alive(container_id: str) -> int:
    """How many Container objects with that id are still referenced."""
    gc.collect()
    return sum(isinstance(o, Container) and o.id == container_id for o in gc.get_objects())


@pytest.fixture
def seen() -> Seen:
    seen = Seen()
    seen.run("a", 91)
    return seen


@pytest.fixture
def annotations(seen: Seen) -> AnnotationQuota:
    return AnnotationQuota(seen.mirror)


@pytest.fixture
def full(seen: Seen, annotations: AnnotationQuota) -> AnnotationQuota:
    """Annotations x, y and z of container a use up its limit to the byte."""
    for key in "xyz":
        annotations.add(found(seen.mirror, "a"), key, "v" * THIRD)
    return annotations


def test_the_room_is_used_to_the_last_byte(seen: Seen, full: AnnotationQuota) -> None:
    with pytest.raises(InvalidArgs, match=r'"w".*3 MiB'):
        full.add(found(seen.mirror, "a"), "w", "")
    with pytest.raises(InvalidArgs, match='"z"'):
        full.add(found(seen.mirror, "a"), "z", "v" * (THIRD + 1))


def test_an_overwritten_annotation_counts_once(seen: Seen, full: AnnotationQuota) -> None:
    container = found(seen.mirror, "a")
    for _ in range(3):
        full.add(container, "x", "w" * THIRD)
    full.add(container, "x", "")
    with pytest.raises(InvalidArgs):  # one byte more than "x" has left
        full.add(container, "w", "v" * (THIRD - OVERHEAD_BYTES - len('"x"') - len('""') + 1))
    full.add(container, "w", "v" * (THIRD - OVERHEAD_BYTES - len('"x"') - len('""')))


def test_a_refused_annotation_takes_no_room(seen: Seen, annotations: AnnotationQuota) -> None:
    container = found(seen.mirror, "a")
    annotations.add(container, "x", "v" * THIRD)
    for _ in range(3):
        with pytest.raises(InvalidArgs):
            annotations.add(container, "y", "v" * (3 * THIRD))
    annotations.add(container, "y", "v" * THIRD)
    annotations.add(container, "z", "v" * THIRD)


def test_a_removed_annotation_gives_its_room_back(seen: Seen, full: AnnotationQuota) -> None:
    container = found(seen.mirror, "a")
    full.remove(container, "y")
    full.add(container, "w", "v" * THIRD)
    with pytest.raises(InvalidArgs):
        full.add(container, "y", "")
    full.remove(container, "no such key")
    with pytest.raises(InvalidArgs):
        full.add(container, "y", "")


def test_characters_that_json_escapes_count_as_escaped(
    seen: Seen, annotations: AnnotationQuota
) -> None:
    container = found(seen.mirror, "a")
    with pytest.raises(InvalidArgs):
        annotations.add(container, "k", "\x01" * (MAX_BYTES // 6))
    with pytest.raises(InvalidArgs):
        annotations.add(container, "\x01" * (MAX_BYTES // 6), "v")


def test_many_small_annotations_are_bounded_too(
    seen: Seen, annotations: AnnotationQuota, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocibridge.bridge.annotation_quota.MAX_BYTES", 1 << 14)
    container = found(seen.mirror, "a")
    fitting = (1 << 14) // (OVERHEAD_BYTES + len('"00000"') + len('""'))
    for number in range(fitting):
        annotations.add(container, f"{number:05}", "")
    with pytest.raises(InvalidArgs):
        annotations.add(container, f"{fitting:05}", "")


def test_each_container_has_room_of_its_own(seen: Seen, full: AnnotationQuota) -> None:
    seen.run("b", 45)
    for key in "xyz":
        full.add(found(seen.mirror, "b"), key, "v" * THIRD)


def test_an_id_used_again_has_all_the_room(seen: Seen, full: AnnotationQuota) -> None:
    seen(Stopped, 91, "a")
    seen.run("a", 91)
    for key in "xyz":
        full.add(found(seen.mirror, "a"), key, "v" * THIRD)


def test_ended_containers_are_forgotten(seen: Seen, annotations: AnnotationQuota) -> None:
    """A daemon that runs for months must not keep every container that was ever annotated."""
    for number in range(20):
        seen.run("ended", number + 100)
        annotations.add(found(seen.mirror, "ended"), "k", "v")
        seen(Stopped, number + 100, "ended")
    annotations.add(found(seen.mirror, "a"), "k", "v")
    assert alive("ended") == 0
    assert annotations._sizes.keys() == {found(seen.mirror, "a")}


def test_what_dobby_refuses_to_overwrite_keeps_its_room(
    seen: Seen, annotations: AnnotationQuota
) -> None:
    container = found(seen.mirror, "a")
    assert annotations.add(container, "big", "v" * (2 * THIRD)) == 0
    former = annotations.add(container, "big", "small")
    annotations.undo(container, "big", former)
    with pytest.raises(InvalidArgs):
        annotations.add(container, "other", "v" * (2 * THIRD))
    annotations.undo(container, "big", 0)
    annotations.add(container, "other", "v" * (2 * THIRD))

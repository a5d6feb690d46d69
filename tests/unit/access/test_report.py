# SPDX-License-Identifier: Apache-2.0
"""The texts of --check-config and --check-access."""

import re
from pathlib import Path
from typing import Any

import pytest

from ocibridge.access import report
from ocibridge.access.rules import DEFAULT_RULES, Rule
from ocibridge.config.schema import checked, mapping_of
from ocibridge.model import Identity

USERS = {"root": 0, "launcher": 1001, "member": 1002, "other": 1003}
GROUPS = {"ocibridge": 100, "ocibridge-callers": 101, "apps": 102}
GROUPS_OF = {1001: ["ocibridge-callers"], 1002: ["ocibridge"], 1003: ["apps"], 0: []}


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """The users and groups of this machine."""
    names = {uid: name for name, uid in USERS.items()}
    monkeypatch.setattr(report, "uid_of", lambda n: int(n) if n.isdigit() else USERS.get(n))
    monkeypatch.setattr(report, "gid_of", GROUPS.get)
    monkeypatch.setattr(
        report,
        "identity_of",
        lambda uid: Identity(
            uid, names.get(uid, ""), tuple((GROUPS[g], g) for g in GROUPS_OF.get(uid, []))
        ),
    )


def rules(*given: dict[str, Any]) -> tuple[Rule, ...]:
    return checked({"access": list(given)}, "f").access


def test_the_default_needs_no_warning() -> None:
    assert list(report.warnings(DEFAULT_RULES)) == []


def test_a_rule_that_is_in_order_needs_none(tmp_path: Path) -> None:
    del tmp_path
    given = {"user": "launcher", "methods": ["control"], "bundles": ["/usr"]}
    assert list(report.warnings(rules(given))) == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"user": "launcher", "methods": ["*"]}, '"*": whoever the rule names is as good as root'),
        ({"user": "launcher", "methods": ["mount", "control"]}, "mount: whoever the rule names"),
        ({"user": "launcher", "methods": ["startContainer"]}, "startContainer: whoever"),
        ({"user": "nosuch", "methods": ["control"]}, 'there is no user "nosuch"'),
        ({"group": "nosuch", "methods": ["control"]}, 'there is no group "nosuch"'),
        ({"user": "other", "methods": ["control"]}, "is neither in the group ocibridge nor in oci"),
        ({"group": "apps", "methods": ["control"]}, "have to be in ocibridge-callers as well"),
        (
            {"user": "launcher", "methods": ["control"], "bundles": ["/tmp"]},  # noqa: S108
            "others than root can write to it",
        ),
        (
            {"user": "launcher", "methods": ["control"], "bundles": ["/nosuch"]},
            "/nosuch: No such file or directory",
        ),
        (
            {"user": "launcher", "methods": ["control"], "bundles": ["/etc/passwd"]},
            "/etc/passwd: is not a directory",
        ),
    ],
)
def test_warnings(rule: dict[str, Any], expected: str) -> None:
    (warning,) = report.warnings(rules({"user": "launcher", "methods": ["control"]}, rule))
    assert warning.startswith("access[1]: ")
    assert expected in warning


ROLE: dict[str, Any] = {
    "user": "launcher", "methods": ["control"], "containers": ["com.example.*"],
    "bundles": ["/opt/apps"],
}  # fmt: skip
NEEDED = "refused: no rule allows it; needed: "
KEPT_OUT = (
    'but user "other" (uid 1003) is neither in the group ocibridge nor in ocibridge-callers, '
    "so that the bus's policy, as installed, does not let it call this"
)
SHOWN = (
    'access[1] {user: launcher, methods: [control], containers: ["com.example.*"], '
    "bundles: [/opt/apps]}"
)
GIVEN = rules({"group": "ocibridge", "methods": ["*"]}, ROLE, {"group": "apps", "methods": ["*"]})


@pytest.mark.parametrize(
    ("question", "allowed", "lines"),
    [
        (("root", "mount", "a"), True, ["allowed: root may call everything"]),
        (
            ("other", "listContainers", ""),
            True,
            ["allowed: every local user may call listContainers"],
        ),
        (
            ("member", "mount", "a"),
            True,
            ['allowed: by access[0] {group: ocibridge, methods: ["*"]}'],
        ),
        (("launcher", "stopContainer", "com.example.a"), True, [f"allowed: by {SHOWN}"]),
        (
            ("launcher", "startContainer", "com.example.a"),
            True,
            [f"allowed: by {SHOWN}, for bundles below /opt/apps alone"],
        ),
        (
            ("1001", "stopContainer", "x"),
            False,
            [
                NEEDED + '{user: launcher, methods: [stopContainer], containers: ["x"]}',
                f'{SHOWN} is for user "launcher" (uid 1001), but not for the container "x"',
            ],
        ),
        (
            ("launcher", "stopContainer", ""),
            False,
            [
                "refused: no rule allows it; needed: {user: launcher, methods: [stopContainer]}",
                f'{SHOWN} is for user "launcher" (uid 1001), but not for all containers',
            ],
        ),
        (
            ("launcher", "mount", "com.example.a"),
            False,
            [
                NEEDED + '{user: launcher, methods: [mount], containers: ["com.example.a"]}',
                f'{SHOWN} is for user "launcher" (uid 1001), but not for mount',
            ],
        ),
        (
            ("other", "mount", "a"),
            True,
            [
                'allowed: by access[2] {group: apps, methods: ["*"]}',
                KEPT_OUT,
            ],
        ),
    ],
)
def test_answers(question: tuple[str, str, str], allowed: bool, lines: list[str]) -> None:
    answer = report.answer(GIVEN, *question)
    assert (answer.is_allowed, answer.lines) == (allowed, lines)


@pytest.mark.parametrize(
    ("user", "method", "expected"),
    [
        ("nosuch", "mount", 'there is no user "nosuch"'),
        ("other", "stop", 'there is no method "stop"; expected one of listContainers, '),
    ],
)
def test_questions_that_have_no_answer(user: str, method: str, expected: str) -> None:
    with pytest.raises(ValueError, match="there is no") as refused:
        report.answer(GIVEN, user, method, "")
    assert str(refused.value).startswith(expected)


GUIDE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
EXAMPLE = GUIDE.partition("### Least privilege for a launcher")[2].partition("\n###")[0]


def test_the_example_in_the_guide() -> None:
    """Its rules, and the answers that it shows."""
    shown = re.search(r"<<'END'\n(.*?)END\n", EXAMPLE, re.DOTALL)
    assert shown is not None
    given = checked(mapping_of(shown[1], "example"), "example").access
    answers = re.findall(
        r"^# ocibridge --check-access (\w+) (\w+) (\S+)\n((?:[^#`].*\n)+)", EXAMPLE, re.MULTILINE
    )
    assert len(answers) == 3
    for user, method, container_id, text in answers:
        answer = report.answer(given, user, method, container_id)
        assert answer.lines == text.splitlines()

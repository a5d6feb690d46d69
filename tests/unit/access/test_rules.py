# SPDX-License-Identifier: Apache-2.0
"""The rules of the key `access` (docs/design.md, Access)."""

import fnmatch
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocibridge.access.rules import (
    ALIASES,
    CONTROLLING,
    DEFAULT_RULES,
    JUDGED,
    OPEN,
    ROOTLIKE,
    Rights,
    Rule,
    Verdict,
    missing_rule,
)
from ocibridge.api.methods import method_specs
from ocibridge.bridge.bridge import Bridge
from ocibridge.config.schema import Config, ConfigError, checked, mapping_of
from ocibridge.model import Identity

LAUNCHER = Identity(1001, "launcher", ((1001, "launcher"), (900, "apps")))
NAMELESS = Identity(7, "", ((900, "apps"), (8, "")))
ROLE: dict[str, Any] = {
    "methods": ["control"],
    "containers": ["com.example.*"],
    "bundles": ["/opt/apps"],
}


def rules(*given: Mapping[str, Any]) -> tuple[Rule, ...]:
    return checked({"access": list(given)}, "f").access


def judge(given: tuple[Rule, ...], who: Identity, method: str, container_id: str) -> Verdict:
    return Rights(given, who).judge(method, container_id)


def is_allowed(given: tuple[Rule, ...], who: Identity, method: str, container_id: str) -> bool:
    return judge(given, who, method, container_id).is_allowed


def is_covered(given: tuple[Rule, ...], who: Identity, method: str) -> bool:
    return Rights(given, who).has(method)


def test_the_methods_are_those_that_there_are() -> None:
    specs = method_specs(Bridge.__new__(Bridge))
    assert {spec.judged_as for spec in specs} == {"", *JUDGED}
    assert all(spec.judged_as in {"", spec.name} for spec in specs)
    assert {spec.name for spec in specs if not spec.judged_as} == set(OPEN)
    assert all(spec.is_open_to_all == (spec.name in OPEN) for spec in specs)
    for spec in specs:
        if spec.on_container:
            assert spec.for_container().judged_as == spec.judged_as


def test_the_default_is_the_group() -> None:
    assert Config().access == DEFAULT_RULES
    member = Identity(5, "m", ((5, "m"), (100, "ocibridge")))
    caller = Identity(6, "c", ((6, "c"), (101, "ocibridge-callers")))
    for method in JUDGED:
        assert is_allowed(DEFAULT_RULES, member, method, "app")
        assert not is_covered(DEFAULT_RULES, caller, method)


@pytest.mark.parametrize(
    "whom",
    [
        {"user": "launcher"}, {"user": 1001}, {"user": "1001"}, {"group": "apps"},
        {"group": 900}, {"group": "900"}, {"group": "launcher"},
    ],
)  # fmt: skip
def test_whom_a_rule_is_for(whom: dict[str, Any]) -> None:
    given = rules(whom | {"methods": ["control"]})
    assert is_allowed(given, LAUNCHER, "stopContainer", "app")
    assert not is_allowed(given, Identity(1, "other", ((1, "other"),)), "stopContainer", "app")
    assert is_allowed(given, NAMELESS, "stopContainer", "app") == ("launcher" not in str(whom) and
        "user" not in whom)  # fmt: skip


@pytest.mark.parametrize("named", ["launcher", "1001", "apps"])
def test_a_user_is_no_group(named: str) -> None:
    who = Identity(1, "apps", ((1001, "x"),))
    assert is_allowed(rules({"user": named, "methods": ["*"]}), who, "mount", "a") == (
        named == "apps"
    )
    assert is_allowed(rules({"group": named, "methods": ["*"]}), who, "mount", "a") == (
        named == "1001"
    )


@pytest.mark.parametrize("method", JUDGED)
def test_control(method: str) -> None:
    given = rules({"user": "launcher"} | ROLE)
    allowed = method in CONTROLLING
    assert is_allowed(given, LAUNCHER, method, "com.example.a") == allowed
    assert not is_allowed(given, LAUNCHER, method, "com.other.a")
    assert is_covered(given, LAUNCHER, method) == (allowed or method == "startContainer")
    assert is_allowed(rules({"user": "launcher", "methods": [method]}), LAUNCHER, method, "x")


def test_bundles_are_for_starts_of_the_containers() -> None:
    given = rules(
        {"user": "launcher"} | ROLE,
        {"group": "apps", "methods": ["control"], "bundles": ["/a", "/b"]},
    )
    assert judge(given, LAUNCHER, "startContainer", "com.example.a") == Verdict(
        is_allowed=False, folders=("/opt/apps", "/a", "/b")
    )
    assert judge(given, LAUNCHER, "startContainer", "x").folders == ("/a", "/b")
    assert judge(given, LAUNCHER, "mount", "x") == Verdict(is_allowed=False)
    any_bundle = rules({"user": "launcher", "methods": ["startContainer"]})
    assert judge(any_bundle, LAUNCHER, "startContainer", "x") == Verdict(is_allowed=True)


@pytest.mark.parametrize(("given", "asked"), [("execCommand", "executeCommand")])
def test_an_alias(given: str, asked: str) -> None:
    for one, other in ((given, asked), (asked, given)):
        given_rules = rules({"user": "launcher", "methods": [one]})
        assert is_allowed(given_rules, LAUNCHER, other, "a")
        assert is_covered(given_rules, LAUNCHER, other)


@pytest.mark.parametrize("pattern", ["9*", "?1", "[0-9]*", "91", "**"])
def test_a_descriptor_that_nobody_knows(pattern: str) -> None:
    """It may become any container's."""
    given = rules({"user": "launcher", "methods": ["*"], "containers": [pattern]})
    assert not is_allowed(given, LAUNCHER, "stopContainer", "91")
    assert is_allowed(rules({"user": "launcher", "methods": ["*"]}), LAUNCHER, "mount", "91")


def test_patterns_know_cases() -> None:
    given = rules({"user": "launcher", "methods": ["*"], "containers": ["App*"]})
    assert is_allowed(given, LAUNCHER, "mount", "App1")
    assert not is_allowed(given, LAUNCHER, "mount", "app1")


def test_the_rule_that_is_missing_is_one() -> None:
    """As the text of an error has it, it would allow the call."""
    for who in (LAUNCHER, NAMELESS):
        for method in JUDGED:
            text = f"access: [{missing_rule(who, method, 'com.example.a')}]"
            found = checked(mapping_of(text, "f"), "f").access
            assert is_covered(found, who, method)
            assert is_allowed(found, who, method, "com.example.a") == (method != "startContainer")
            assert not is_allowed(found, who, method, "com.example.b")


def test_the_rule_for_a_start_is_for_bundles() -> None:
    """To start any bundle is as good as root: nobody should be led to paste that."""
    text = f"access: [{missing_rule(LAUNCHER, 'startContainer', 'a')}]"
    (rule,) = checked(mapping_of(text, "f"), "f").access
    assert (rule.methods, rule.bundles) == (("control",), ("/DIRECTORY",))


@pytest.mark.parametrize("text", ["*", "?", "[a]", 'x"]}, {user: evil, methods: ["*', "91", "\n"])
def test_the_rule_that_is_missing_has_nothing_that_a_caller_made_up(text: str) -> None:
    """Somebody may paste it. What is no id, and a pattern above all, is not repeated."""
    rule = missing_rule(LAUNCHER, "stopContainer", text)
    assert rule == '{user: launcher, methods: [stopContainer], containers: ["ID"]}'


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"methods": ["*"]}, "expected either user or group"),
        ({"user": "a", "group": "b", "methods": ["*"]}, "expected either user or group"),
        ({"user": "a"}, "missing required field `methods`"),
        ({"user": "a", "methods": []}, "methods: expected at least one"),
        ({"user": "a", "methods": "*"}, "access[0].methods: Expected `array`"),
        ({"user": "a", "methods": ["stop"]}, 'methods: expected "*", control or one of stopCon'),
        ({"user": "a", "methods": ["getLastExit"]}, "every local user may call getLastExit"),
        ({"user": "", "methods": ["*"]}, 'user: expected a name or a number, got ""'),
        ({"user": -1, "methods": ["*"]}, 'user: expected a name or a number, got "-1"'),
        ({"group": 2**32 - 1, "methods": ["*"]}, "group: expected a name or a number"),
        ({"user": True, "methods": ["*"]}, "access[0].user: Expected `int | str | null`"),
        ({"user": "a", "methods": ["*"], "containers": []}, "containers: expected patterns"),
        ({"user": "a", "methods": ["*"], "containers": [""]}, "containers: expected patterns"),
        ({"user": "a", "methods": ["*"], "bundles": ["/a"]}, "bundles: has a meaning only with"),
        ({"user": "a", "methods": ["control"], "bundles": ["a"]}, 'absolute paths, got "a"'),
        ({"user": "a", "methods": ["control"], "bundles": ["/a\0"]}, "expected absolute paths"),
        ({"user": "a", "methods": ["*"], "container": ["a"]}, "unknown field `container`"),
    ],
)  # fmt: skip
def test_a_wrong_rule(rule: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        checked({"access": [rule]}, "file.yaml")
    assert str(refused.value).startswith("file.yaml: access[0]")
    assert expected in str(refused.value)


def test_an_empty_list_leaves_root_alone() -> None:
    assert rules() == ()
    assert not any(is_covered((), LAUNCHER, method) for method in JUDGED)


# A plain model: one call, all rules, no short cuts.

NAMES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(0, 3)
WHOM = st.one_of(
    st.fixed_dictionaries({"user": NAMES | NUMBERS}),
    st.fixed_dictionaries({"group": NAMES | NUMBERS}),
)
PATTERNS = st.lists(
    st.sampled_from(["*", "a*", "?", "[ab]1", "[!a]*", "a1", "1*", "12"]), min_size=1, max_size=3
)
METHODS = st.lists(st.sampled_from(["*", "control", *JUDGED]), min_size=1, max_size=4)
RULES = st.lists(
    st.builds(
        lambda whom, methods, containers, bundles: (
            whom
            | {"methods": methods, "containers": containers}
            | ({"bundles": bundles} if "control" in methods else {})
        ),
        WHOM,
        METHODS,
        PATTERNS,
        st.lists(st.sampled_from(["/x", "/y"]), max_size=2),
    ),
    max_size=5,
)
IDENTITIES = st.builds(
    Identity,
    NUMBERS,
    NAMES | st.just(""),
    st.lists(st.tuples(NUMBERS, NAMES | st.just("")), max_size=3).map(tuple),
)


def expected_verdict(
    given: list[dict[str, list[str]]], who: Identity, method: str, container_id: str
) -> tuple[bool, set[str]]:
    folders: set[str] = set()
    allowed = False
    for rule in given:
        if "user" in rule:
            applies = rule["user"] in ([who.uid, who.user] if who.user else [who.uid])
        else:
            applies = any(rule["group"] in ([g, n] if n else [g]) for g, n in who.groups)
        fits = "*" in rule["containers"] or (
            any(c.isalpha() for c in container_id)
            and any(fnmatch.fnmatchcase(container_id, p) for p in rule["containers"])
        )
        if not (applies and fits):
            continue
        names = {name for m in rule["methods"] for name in (m, ALIASES.get(m, m))}
        wanted = {method, ALIASES.get(method, method)}
        allowed |= bool(names & {"*", *wanted}) or ("control" in names and method in CONTROLLING)
        if method == "startContainer" and "control" in names:
            folders |= set(rule.get("bundles", []))
    return allowed, folders


@given(
    RULES,
    IDENTITIES,
    st.sampled_from(JUDGED),
    st.sampled_from(["a", "a1", "b1", "12", "1", "ab", "A1", "z"]),
)
def test_random_rules_against_a_plain_model(
    given_rules: list[dict[str, list[str]]], who: Identity, method: str, container_id: str
) -> None:
    verdict = judge(rules(*given_rules), who, method, container_id)
    allowed, folders = expected_verdict(given_rules, who, method, container_id)
    assert verdict.is_allowed == allowed
    if not allowed:
        assert set(verdict.folders) == folders
    if allowed or folders:
        assert is_covered(rules(*given_rules), who, method)
    covered = any(
        expected_verdict([rule | {"containers": ["*"]}], who, method, "x") != (False, set())
        for rule in given_rules
    )
    assert is_covered(rules(*given_rules), who, method) == covered


def test_what_is_as_good_as_root_is_not_in_control() -> None:
    assert not set(ROOTLIKE) & set(CONTROLLING)

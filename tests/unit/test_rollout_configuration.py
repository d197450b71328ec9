"""Edits of the stack file: the roles change, every other byte stays."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.adapters.configuration import ConfigurationError, Roles, roles, whole, with_roles
from settings import of_stack

DEV = (Path(__file__).resolve().parents[2] / "Pulumi.dev.yaml").read_text()
COMMENTED = """\
# the stack
config:
    # four spaces
    slipway:context: 'prod'   # quoted
    slipway:models:

        # the churn model
        churn:     # sold to marketing
            # judged weekly
            stable: 1   # since March
            # tried out:
            canary:   # a bigger forest
                # from the registry
                version: 2   # @challenger
                weight: 10   # percent
                # end of canary
            # what it may use
            resources: {cpu: 200m, memory: "512Mi"}

        # another one
        iris: {stable: 4, canary: {version: 5, weight: 0}, scaling: {min: 1, max: 2}}
    slipway:bucketAccessKey:
        secure: v1:abc:def==
encryptionsalt: v1:+8u=:v1:1wv
"""
DESIGN = """\
config:
  slipway:models:
    churn:
      stable: 1
      canary: {version: 2, weight: 10}   # header x-canary: "true" always reaches the canary
      shadow: {version: 3, percent: 50}
      resources: {cpu: 250m, memory: 512Mi, gpu: 0}
"""


def changed(before: str, after: str) -> list[str]:
    """The lines taken out and put in, marked - and +."""
    lines = difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True))
    return [line.rstrip("\r\n") for line in lines if line[0] in "+-"]


def plain(stable: int = 1, **given: object) -> str:
    return f"config:\n  slipway:models:\n    churn:\n      stable: {stable}\n"


def test_the_roles_of_a_stack_file_are_read() -> None:
    assert roles(COMMENTED, "churn") == Roles(1, 2, 10)
    assert roles(COMMENTED, "iris") == Roles(4, 5, 0)
    assert roles(DESIGN, "churn") == Roles(1, 2, 10, None, (3, 50))
    assert roles(plain(7), "churn") == Roles(7)


def test_a_new_weight_changes_one_line() -> None:
    text = with_roles(COMMENTED, "churn", Roles(1, 2, 25))
    assert changed(COMMENTED, text) == [
        "-                 weight: 10   # percent",
        "+                 weight: 25   # percent",
    ]


def test_equal_roles_change_nothing() -> None:
    for text in (DEV, COMMENTED, DESIGN):
        assert with_roles(text, "churn", roles(text, "churn")) == text


def test_promotion_of_the_dev_stack_changes_its_lines_alone() -> None:
    text = with_roles(DEV, "churn", Roles(1, 2, 10))
    promoted = with_roles(text, "churn", Roles(2, None, 0, 1))
    assert changed(text, promoted) == [
        "-       stable: 1",
        "+       stable: 2",
        "+       previous: 1",
        "-       canary:",
        "-         version: 2",
        "-         weight: 10",
    ]
    back = with_roles(promoted, "churn", Roles(1, 2, 10))
    assert back == text


def test_what_belongs_to_the_canary_goes_with_it_and_nothing_else() -> None:
    text = with_roles(COMMENTED, "churn", Roles(2))
    assert changed(COMMENTED, text) == [
        "-             stable: 1   # since March",
        "+             stable: 2   # since March",
        "-             canary:   # a bigger forest",
        "-                 # from the registry",
        "-                 version: 2   # @challenger",
        "-                 weight: 10   # percent",
    ]


def test_a_canary_is_added_with_the_indent_of_the_file() -> None:
    text = with_roles(COMMENTED, "churn", Roles(1))
    assert changed(text, with_roles(text, "churn", Roles(1, 3, 5))) == [
        "+             canary:",
        "+                 version: 3",
        "+                 weight: 5",
    ]


def test_flow_style_stays_flow_style() -> None:
    text = with_roles(COMMENTED, "iris", Roles(5, None, 0, 4, (6, 20)))
    assert changed(COMMENTED, text)[1:] == [
        "+         iris: {stable: 5, shadow: {version: 6, percent: 20}, previous: 4, "
        "scaling: {min: 1, max: 2}}"
    ]
    assert with_roles(text, "iris", Roles(4, 5, 0)) == COMMENTED.replace(
        ", weight: 0}", "}"
    ).replace("{version: 5}", "{version: 5, weight: 0}")
    text = with_roles(DESIGN, "churn", Roles(1, 2, 50, None, (3, 100)))
    assert text == DESIGN.replace("weight: 10", "weight: 50").replace("percent: 50", "percent: 100")
    last = "config: {slipway:models: {churn: {stable: 1, canary: {version: 2, weight: 5}}}}"
    assert with_roles(last, "churn", Roles(1)) == "config: {slipway:models: {churn: {stable: 1}}}"
    first = "config: {slipway:models: {churn: {canary: {version: 2}, stable: 1}}}\n"
    assert (
        with_roles(first, "churn", Roles(1)) == "config: {slipway:models: {churn: {stable: 1}}}\n"
    )


def test_a_flow_mapping_over_lines_keeps_its_comments() -> None:
    text = """\
config:
  slipway:models: {
    churn: {
      stable: 1,  # the good one
      canary: {version: 2, weight: 5},  # the new one
      # limits
      scaling: {min: 1, max: 2}
    }
  }
"""
    gone = with_roles(text, "churn", Roles(1))
    assert roles(gone, "churn") == Roles(1)
    assert [line for line in changed(text, gone) if line.startswith("-")] == [
        "-       canary: {version: 2, weight: 5},  # the new one"
    ]
    assert "# the good one" in gone
    assert "# limits" in gone


def test_keys_of_the_canary_that_are_none_of_ours_stay() -> None:
    text = plain() + "      canary:\n        note: [a, b]  # why\n        version: 2\n"
    assert changed(text, with_roles(text, "churn", Roles(1, 3, 5))) == [
        "-         version: 2",
        "+         version: 3",
        "+         weight: 5",
    ]


@pytest.mark.parametrize(
    "empty", ["canary:\n", "canary:   # none yet\n", "canary: null\n", "canary: ~  # none\n"]
)
def test_an_empty_canary_is_none_and_can_be_filled(empty: str) -> None:
    text = plain() + "      " + empty + "      allow_pickle: false\n"
    assert roles(text, "churn") == Roles(1)
    assert with_roles(text, "churn", Roles(1)) == text
    filled = with_roles(text, "churn", Roles(1, 2, 5))
    assert roles(filled, "churn") == Roles(1, 2, 5)
    assert len(changed(text, filled)) == 2
    assert empty.partition("#")[2] in filled


def test_line_ends_stay_as_they_are() -> None:
    for text in (DEV, COMMENTED):
        windows = text.replace("\n", "\r\n")
        for wanted in (Roles(1, 2, 30), Roles(2, None, 0, 1), Roles(1, 3, 5, None, (4, 10))):
            assert with_roles(windows, "churn", wanted) == with_roles(
                text, "churn", wanted
            ).replace("\n", "\r\n")


def test_a_missing_newline_at_the_end_stays_missing() -> None:
    bare = plain().rstrip("\n")
    text = with_roles(bare, "churn", Roles(1, 2, 5))
    assert text == bare + "\n      canary:\n        version: 2\n        weight: 5"
    assert with_roles(text, "churn", Roles(1, 2, 6)) == text.replace("weight: 5", "weight: 6")
    assert with_roles(text, "churn", Roles(1)) == bare


def test_anchors_stay_and_what_they_lead_to_is_not_changed_elsewhere() -> None:
    text = plain().replace("stable: 1", "stable: &s 1") + "      canary: {version: 2}\n"
    assert with_roles(text, "churn", Roles(3, 2, 0)) == text.replace("&s 1", "&s 3")
    shared = text + "    iris:\n      stable: *s\n"
    assert roles(shared, "iris") == Roles(1)
    with pytest.raises(ConfigurationError, match="churn: its roles are written in a form"):
        with_roles(shared, "churn", Roles(3, 2, 0))
    with pytest.raises(ConfigurationError, match=r"iris\.stable: is an alias"):
        with_roles(shared, "iris", Roles(3))
    assert roles(with_roles(shared, "iris", Roles(1, 2, 5)), "iris") == Roles(1, 2, 5)


def test_a_model_that_is_an_alias_is_not_edited() -> None:
    text = "config:\n  slipway:models:\n    churn: &m {stable: 1}\n    iris: *m\n"
    for name in ("churn", "iris"):
        with pytest.raises(ConfigurationError) as error:
            with_roles(text, name, Roles(2))
        assert "\n" not in str(error.value)


def test_a_merged_model_gets_entries_of_its_own() -> None:
    text = (
        "config:\n  slipway:models:\n    churn: &m\n      stable: 1\n    iris:\n      <<: *m\n"
        "      allow_pickle: true\n"
    )
    edited = with_roles(text, "iris", Roles(2))
    assert roles(edited, "iris") == Roles(2)
    assert roles(edited, "churn") == Roles(1)


def test_both_forms_that_pulumi_takes_for_the_key_are_known() -> None:
    text = plain().replace("slipway:models", "models")
    assert changed(text, with_roles(text, "churn", Roles(2))) == [
        "-       stable: 1",
        "+       stable: 2",
    ]


def test_a_quoted_name_with_a_dot_is_a_name() -> None:
    text = 'config:\n  slipway:models:\n    "a.b": {stable: 3}\n'
    assert with_roles(text, "a.b", Roles(4)) == text.replace("3", "4")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "the stack file is no mapping with a `config` in it"),
        ("config:\n", "the stack file has no mapping called `config`"),
        ("config: {a: b", "the stack file is no YAML: .*line"),
        ("a: 1\na: 2\n", "the stack file is no YAML: found duplicate key"),
        ("config: {slipway:demo: true}", "slipway:models: is missing; add a model"),
        ("config: {slipway:models: 3}", "slipway:models: is 3, not a mapping"),
        (
            """config: {slipway:models: '{"churn": {"stable": 1}}'}""",
            r"slipway:models: is the text \"{\"churn\": .*, not a mapping of names to models",
        ),
        ("config: {slipway:models: {secure: v1:a}}", "slipway:models: is a secret, not a mapping"),
        (
            "config: {slipway:models: {iris: {stable: 1}}}",
            r"slipway:models.churn: there is no such model \(there: iris\)",
        ),
        ("config: {slipway:models: {churn: 1}}", "slipway:models.churn: is 1, not a mapping"),
        (
            "config: {slipway:models: {churn: {}}}",
            "slipway:models.churn.stable: is missing; name a version",
        ),
        (
            "config: {slipway:models: {churn: {stable: '1'}}}",
            'churn.stable: is the text "1", not a whole number; write it without quotes',
        ),
        (
            "config: {slipway:models: {churn: {stable: true}}}",
            "churn.stable: is true, not a whole number",
        ),
        (
            "config: {slipway:models: {churn: {stable: 1, canary: 2}}}",
            "churn.canary: is 2, not a mapping such as {version: 2, weight: 5}",
        ),
        (
            "config: {slipway:models: {churn: {stable: 1, canary: {weight: 2}}}}",
            "churn.canary.version: is missing",
        ),
        (
            "config: {slipway:models: {churn: {stable: 1, canary: {version: 2, weight: 110}}}}",
            "churn.canary.weight: 110 is not a whole percentage from 0 to 100",
        ),
        (
            "config: {slipway:models: {churn: {stable: 1, canary: {version: 2, weight: 1.5}}}}",
            "churn.canary.weight: is 1.5, not a whole number",
        ),
        (
            "config:\n  slipway:models.churn.canary.weight: '5'\n",
            "slipway:models.churn.canary.weight: was set without --path",
        ),
    ],
)
def test_a_bad_file_gets_one_line(text: str, line: str) -> None:
    for call in (lambda: roles(text, "churn"), lambda: with_roles(text, "churn", Roles(1))):
        with pytest.raises(ConfigurationError, match=line) as error:
            call()
        assert "\n" not in str(error.value)


def test_a_weight_needs_a_canary() -> None:
    with pytest.raises(ValueError, match="a weight of 5 without a canary"):
        replace(Roles(1, 2, 5), canary=None)


def test_the_whole_is_what_settings_take() -> None:
    parsed = of_stack(whole(DEV), "dev")
    assert parsed.demo is True
    assert parsed.models["churn"].stable == roles(DEV, "churn").stable
    assert parsed.gateway.node_port == 30080
    odd = "config: {slipway:registry: 5000, slipway:demo: true, other:x: 1, context: here}"
    assert whole(odd) == {
        "slipway:registry": "5000",
        "slipway:demo": "true",
        "other:x": "1",
        "slipway:context": "here",
    }
    assert of_stack(whole(odd), "dev").registry == "5000"


def test_floors_are_keyed_by_text_as_pulumi_wants_it() -> None:
    text = with_roles(COMMENTED, "churn", Roles(1, 2, 10, floors=((1, 6), (2, 3))))
    assert changed(COMMENTED, text) == [
        "+             floors:",
        '+                 "1": 6',
        '+                 "2": 3',
    ]
    raised = with_roles(text, "churn", Roles(1, 2, 10, floors=((1, 6), (2, 6))))
    assert changed(text, raised) == ['-                 "2": 3', '+                 "2": 6']
    assert with_roles(raised, "churn", Roles(1, 2, 10)) == COMMENTED
    flow = with_roles(DESIGN, "churn", Roles(1, 2, 10, None, (3, 50), ((1, 6),)))
    assert changed(DESIGN, flow) == ["+       floors:", '+         "1": 6']
    empty = COMMENTED.replace("stable: 1 ", "floors: {}\n            stable: 1 ")
    assert roles(with_roles(empty, "churn", Roles(1, 2, 10, floors=((1, 6),))), "churn").floors
    by_hand = "config: {slipway:models: {churn: {stable: 1, floors: {1: 4, '3': 2}}}}"
    assert roles(by_hand, "churn").floors == ((1, 4), (3, 2))
    parsed = of_stack(whole(flow) | {"slipway:registry": "r", "slipway:context": "c"}, "dev")
    assert parsed.models["churn"].floors == {1: 6}


versions = st.integers(1, 10**10)
wanted_roles = st.builds(
    lambda stable, canary, previous, shadow, floors: Roles(
        stable, *(canary or (None, 0)), previous, shadow, tuple(sorted(floors.items()))
    ),
    versions,
    st.none() | st.tuples(versions, st.integers(0, 100)),
    st.none() | versions,
    st.none() | st.tuples(versions, st.integers(1, 100)),
    st.dictionaries(versions, st.integers(1, 500), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([DEV, COMMENTED, DESIGN, COMMENTED.replace("\n", "\r\n"), plain()]),
    st.lists(wanted_roles, min_size=1, max_size=4),
)
def test_any_row_of_roles_can_be_written_and_is_read_back(text: str, row: list[Roles]) -> None:
    edited = text
    for wanted in row:
        edited = with_roles(edited, "churn", wanted)
        assert roles(edited, "churn") == wanted
    kept = [line for line in text.splitlines() if "canary" not in line]
    role_words = ("stable", "version", "weight", "previous", "shadow", "percent", "registry")
    for line in kept:
        if not any(word in line for word in role_words):
            assert line in edited.splitlines()

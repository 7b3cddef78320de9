"""The operator's hooks: what a file may say, and which containers it means (row V-09)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.oci_spec import hooks, runtime
from runengine.oci_spec.cdi import Hook

SHELL = hooks.Subject("/bin/sh", {"team.web": "blue-1", "other": "x"}, has_bind_mounts=True)
WHOLE: dict[str, Any] = {
    "version": "1.0.0",
    "hook": {"path": "/bin/h", "args": ["h", "x"], "env": ["A=b=c", "B="], "timeout": 3},
    "when": {"always": True},
    "stages": ["createRuntime", "poststop", "createRuntime"],
}


def parse(document: object) -> hooks.Document:
    return hooks.parse(json.dumps(document).encode(), "/h.json")


def test_a_whole_file():
    found = parse(WHOLE)
    assert found.section == WHOLE["hook"]
    assert hooks.select([found, found], SHELL) == [
        Hook("createRuntime", WHOLE["hook"]),
        Hook("poststop", WHOLE["hook"]),
        Hook("createRuntime", WHOLE["hook"]),
        Hook("poststop", WHOLE["hook"]),
    ]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"always": True}, True),
        ({"always": False}, False),
        ({"always": False, "commands": ["sh"]}, False),
        ({"commands": ["^/bin/sh$"]}, True),
        ({"commands": ["^sh$", "bash"]}, False),
        ({"commands": ["no", "/s[[:alpha:]]$"]}, True),
        ({"commands": [], "always": True}, True),
        ({"hasBindMounts": True}, True),
        ({"hasBindMounts": False}, False),
        ({"annotations": {"^team\\.": "^blue"}}, True),
        ({"annotations": {"^team\\.": "^x$"}}, False),
        ({"annotations": {"^team\\.": ".*", "^none$": ".*"}}, False),
        ({"annotations": {"^team\\.": ".*"}, "commands": ["bash"]}, False),
        ({"annotations": {"^team\\.": ".*"}, "commands": ["sh"], "hasBindMounts": True}, True),
    ],
)
def test_every_condition_must_hold(when: dict[str, Any], expected: bool):
    assert hooks.matches(parse({**WHOLE, "when": when}).when, SHELL) is expected


def test_a_bind_mount_is_wanted_and_not_there():
    when = parse({**WHOLE, "when": {"always": True, "hasBindMounts": True}}).when
    assert not hooks.matches(when, SHELL._replace(has_bind_mounts=False))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "0.1.0"}, "version: must be 1.0.0"),
        ({"hok": {}}, "document: there is no key 'hok'"),
        ({"hook": {"path": "h"}}, "hook.path: must be an absolute path"),
        ({"hook": {"path": "/\0"}}, "hook.path: must be an absolute path"),
        ({"hook": {"path": "/h", "env": ["A"]}}, "hook.env: 'A' is not NAME=VALUE"),
        ({"hook": {"path": "/h", "args": "h"}}, "hook.args: must be a list of strings"),
        ({"hook": {"path": "/h", "args": ["\ud800"]}}, "hook.args: must be a list of strings"),
        ({"hook": {"path": "/h", "timeout": 0}}, "hook.timeout: must be a number of seconds"),
        ({"hook": {"path": "/h", "timeout": True}}, "hook.timeout: must be a number of seconds"),
        ({"hook": None}, "hook: must be an object"),
        ({"when": {}}, "when: says of no container"),
        ({"when": {"always": "yes"}}, "when.always: must be true or false"),
        ({"when": {"or": True}}, "when: there is no key 'or'"),
        ({"when": {"annotations": {"(": ""}}}, "when.annotations: '(' is no regular expression"),
        ({"when": {"annotations": {"a": 1}}}, "when.annotations: must be a regular expression"),
        ({"when": {"commands": ["[[:word:]]"]}}, "when.commands: '[[:word:]]' has a class"),
        ({"when": {"commands": ["[[a]"]}}, "when.commands: '[[a]' is no regular expression"),
        ({"when": {"commands": ["(?L)a"]}}, "when.commands: '(?L)a' is no regular expression"),
        ({"stages": []}, "stages: name at least one of prestart"),
        ({"stages": ["start"]}, "stages: 'start' is none of prestart"),
        ({"stages": None}, "stages: must be a list of strings"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], words: str):
    with pytest.raises(InvalidParameter) as caught:
        parse({**WHOLE, **change})
    assert str(caught.value).startswith(f"hook /h.json: {words}")


def test_no_json():
    with pytest.raises(InvalidParameter, match=r"^hook /h\.json: no JSON: "):
        hooks.parse(b"{", "/h.json")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
FIELDS = st.fixed_dictionaries(
    {"version": st.just("1.0.0"), "stages": st.lists(st.sampled_from(hooks.STAGES)) | ANYTHING},
    optional={
        "hook": st.fixed_dictionaries(
            {"path": st.text().map(lambda text: "/" + text)},
            optional={"args": ANYTHING, "env": ANYTHING, "timeout": st.integers() | ANYTHING},
        ),
        "when": st.fixed_dictionaries(
            {},
            optional={
                "always": st.booleans() | ANYTHING,
                "commands": st.lists(st.text()) | ANYTHING,
                "annotations": st.dictionaries(st.text(), st.text()) | ANYTHING,
                "hasBindMounts": st.booleans() | ANYTHING,
            },
        ),
    },
)


@settings(max_examples=150)
@given(st.binary(max_size=64) | (FIELDS | ANYTHING).map(lambda one: json.dumps(one).encode()))
def test_no_content_makes_a_traceback(data: bytes):
    """It is refused in words that can be printed, or is a hook that the runtime takes."""
    documents, words = [], ""
    try:
        documents.append(hooks.parse(data, "/h.json"))
    except InvalidParameter as error:
        words = str(error)
    words.encode()
    for hook in hooks.select(documents, SHELL):
        runtime.Hooks.model_validate({hook.when: [json.loads(json.dumps(hook.section))]})

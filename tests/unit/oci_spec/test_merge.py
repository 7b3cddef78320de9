"""Environment and image settings (rows E-02, E-03, AA-11)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.oci_spec.env import DEFAULT_PATH, merge_env, with_defaults
from runengine.oci_spec.merge import command, merge_image
from tests.support import specs


def test_set_empty_and_remove():  # E-03
    base = ["A=1", "B=2", "C=3"]
    assert merge_env(base, ["B=", "C", "D=x=y z", "A=9"]) == ["A=9", "B=", "D=x=y z"]


@pytest.mark.parametrize("item", ["", "=x", "=", "A=\0"])
def test_bad_items_of_the_user(item):  # E-03
    with pytest.raises(InvalidParameter, match="environment"):
        merge_env([], [item])


def test_odd_items_of_an_image_are_passed_over():  # E-03: a bare key there broke Pouch
    assert merge_env(["BARE", "=x", "", "A=1"], []) == ["A=1"]


@given(st.lists(st.text(max_size=8)), st.lists(st.text(max_size=8)))
def test_each_name_is_set_once_and_the_user_wins(base, user):
    try:
        merged = merge_env(base, user)
    except InvalidParameter:
        return
    names = [item.partition("=")[0] for item in merged]
    assert len(set(names)) == len(names)
    last = {item.partition("=")[0]: item for item in user}
    for name, item in last.items():
        assert (item in merged) is ("=" in item)
        assert (name in names) is ("=" in item)


def test_defaults_where_missing():  # AA-11
    assert with_defaults(["HOME=/x", "TERM=vt100"], hostname="h", home="/root", tty=True) == [
        f"PATH={DEFAULT_PATH}",
        "HOSTNAME=h",
        "HOME=/x",
        "TERM=vt100",
    ]


IMAGE = {
    "Entrypoint": ["/init"],
    "Cmd": ["serve"],
    "Env": ["PATH=/bin", "A=1"],
    "User": "svc",
    "WorkingDir": "/srv",
    "StopSignal": "SIGINT",
    "Labels": {"a": "1", "b": "2"},
    "Volumes": {"/v": {}},
    "ExposedPorts": {"80/tcp": {}},
    "Healthcheck": {"Test": ["CMD", "true"]},
    "Shell": ["/bin/bash", "-c"],
}


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "args"),
    [
        (None, None, ["/init", "serve"]),
        (None, ["x"], ["/init", "x"]),
        (["/e"], None, ["/e"]),
        (["/e"], ["x"], ["/e", "x"]),
        ([""], ["x"], ["x"]),
    ],
)
def test_entrypoint_and_command(entrypoint, cmd, args):  # E-02
    merged = merge_image(specs.config(Entrypoint=entrypoint, Cmd=cmd), IMAGE)
    assert command(merged) == args


def test_the_users_settings_win_by_key():  # E-02
    config = specs.config(
        Env=["A=2", "B=3"], User="me", Labels={"b": "3", "c": "4"}, StopSignal="SIGHUP"
    )
    merged = merge_image(config, IMAGE)
    assert merged["Env"] == ["PATH=/bin", "A=2", "B=3"]
    assert (merged["User"], merged["WorkingDir"]) == ("me", "/srv")
    assert merged["StopSignal"] == "SIGHUP"
    assert merged["Labels"] == {"a": "1", "b": "3", "c": "4"}
    assert merged["Volumes"] == {"/v": {}}
    assert merged["ExposedPorts"] == {"80/tcp": {}}
    assert merged["Healthcheck"] == IMAGE["Healthcheck"]
    assert merged["Shell"] == ["/bin/bash", "-c"]
    assert config["Labels"] == {"b": "3", "c": "4"}


def test_an_image_with_nulls_everywhere():
    empty = dict.fromkeys(IMAGE)
    merged = merge_image(specs.config(Cmd=["x"]), empty)
    assert (merged["Env"], merged["User"], merged["Labels"]) == ([], "", {})


def test_no_command_at_all():  # AA-11
    with pytest.raises(InvalidParameter, match="no command specified"):
        command(merge_image(specs.config(Entrypoint=[""]), {}))
    with pytest.raises(InvalidParameter, match="NUL"):
        command(specs.config(Cmd=["a\0b"]))
    with pytest.raises(InvalidParameter, match="no command specified"):
        specs.build(args=[])

"""Which settings go along when a container changes its image (rows E-61, E-62)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.oci_spec.merge import command, merge_image
from runengine.oci_spec.rebase import Command, rebased
from tests.support import specs

OLD = {
    "Entrypoint": ["/init"],
    "Cmd": ["serve"],
    "Env": ["PATH=/bin", "A=1", "B=1"],
    "User": "svc",
    "WorkingDir": "/srv",
    "StopSignal": "SIGINT",
    "Labels": {"a": "1", "b": "2"},
    "Volumes": {"/v": {}},
    "ExposedPorts": {"80/tcp": {}},
    "Healthcheck": {"Test": ["CMD", "true"]},
    "Shell": ["/bin/bash", "-c"],
}
NEW = {
    "Entrypoint": ["/init2"],
    "Cmd": ["serve", "--new"],
    "Env": ["PATH=/sbin", "A=2", "C=3"],
    "User": "other",
    "Labels": {"a": "9"},
    "Volumes": {"/w": {}},
    "Healthcheck": {"Test": ["CMD", "false"]},
}


def moved(changes=None, asked=None):
    merged = merge_image(specs.config(**(changes or {})), OLD)
    return rebased(merged, OLD, NEW, asked or Command())


def test_what_is_the_images_is_the_new_ones():
    assert moved() == merge_image(specs.config(), NEW)


def test_what_is_the_users_stays():
    own = {
        "Env": ["A=9", "B", "MINE=1"],
        "User": "me",
        "WorkingDir": "/home/me",
        "Labels": {"a": "mine", "c": "3"},
        "Volumes": {"/mine": {}},
        "ExposedPorts": {"81/udp": {}},
        "Hostname": "box",
        "StopTimeout": 7,
    }
    found = moved(own)
    assert found == merge_image(specs.config(**own), NEW)
    assert found["Env"] == ["PATH=/sbin", "A=9", "C=3", "MINE=1"]
    assert found["Labels"] == {"a": "mine", "c": "3"}
    assert sorted(found["Volumes"]) == ["/mine", "/w"]


@pytest.mark.parametrize(
    ("given", "asked", "args"),
    [
        ({}, Command(), ["/init2", "serve", "--new"]),
        ({"Cmd": ["x"]}, Command(), ["/init2", "x"]),
        ({"Entrypoint": ["/mine"]}, Command(), ["/mine"]),
        ({"Entrypoint": ["/mine"], "Cmd": ["x"]}, Command(), ["/mine", "x"]),
        ({"Entrypoint": [""], "Cmd": ["x"]}, Command(), ["x"]),
        ({"Entrypoint": ["/mine"], "Cmd": ["x"]}, Command(cmd=["y"]), ["/init2", "y"]),
        ({"Cmd": ["x"]}, Command(entrypoint=["/e"]), ["/e"]),
        ({"Cmd": ["x"]}, Command(["/e"], ["y"]), ["/e", "y"]),
        ({}, Command([""], ["y"]), ["y"]),
    ],
)
def test_what_runs(given, asked, args):  # E-61
    assert command(moved(given, asked)) == args


def test_an_image_that_is_gone_counts_as_an_empty_one():
    merged = merge_image(specs.config(Env=["MINE=1"]), OLD)
    found = rebased(merged, {}, NEW, Command())
    assert command(found) == ["/init", "serve"]
    assert found["Env"] == ["PATH=/bin", "A=1", "C=3", "B=1", "MINE=1"]


NAMES = st.sampled_from("ABC")
PAIRS = st.builds("{}={}".format, NAMES, st.sampled_from("12"))
WORDS = st.lists(st.sampled_from(["a", "b"]), max_size=2)
IMAGES = st.fixed_dictionaries(
    {
        "Env": st.lists(PAIRS, max_size=3, unique_by=lambda text: text[0]),
        "Entrypoint": WORDS,
        "Cmd": WORDS,
        "Labels": st.dictionaries(NAMES, st.sampled_from("12")),
        "User": st.sampled_from(["", "one", "two"]),
    }
)


@given(IMAGES, IMAGES)
@settings(max_examples=200, deadline=None)
def test_there_and_back_is_where_it_was(old, new):
    """Of a container without anything of its own, whatever the images are."""
    plain = merge_image(specs.config(), old)
    assert rebased(plain, old, new, Command()) == merge_image(specs.config(), new)
    assert rebased(rebased(plain, old, new, Command()), new, old, Command()) == plain


@given(IMAGES, st.lists(st.one_of(PAIRS, NAMES), max_size=3))
@settings(max_examples=200, deadline=None)
def test_on_its_own_image_nothing_changes(image, env):
    merged = merge_image(specs.config(Env=env), image)
    found = rebased(merged, image, image, Command())
    assert sorted(found["Env"]) == sorted(merged["Env"])
    assert {**found, "Env": []} == {**merged, "Env": []}

"""Lists and inspection in Docker's shapes (rows N-06, N-07)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter, NotFound, StateError
from runengine.mgr.image import inspecting, listing, removal

HUB = "docker.io/library"
DIGEST = "sha256:" + "d" * 64


def image_id(number):
    return f"sha256:{number:064x}"


@pytest.fixture
def images(context):
    store = context.store.images
    for number, (created, labels, names) in enumerate(
        [
            ("2020-01-01T00:00:00Z", {"a": "1"}, [f"{HUB}/old:1", f"{HUB}/old:2"]),
            ("2021-01-01T00:00:00.123456789Z", {"a": "2"}, ["quay.io/team/mid:1"]),
            ("2022-01-01T00:00:00+02:00", None, [f"{HUB}/new@{DIGEST}"]),
            (None, {}, []),
        ]
    ):  # fmt: skip
        config: dict[str, Any] = {
            "created": created,
            "config": {"Labels": labels},
            "rootfs": {"diff_ids": []},
        }
        store.put_image(
            image_id(number), DIGEST, config=json.dumps(config), layers=[],
            size_bytes=100 + number, media_type="m",
        )  # fmt: skip
        for name in names:
            store.set_name(name, image_id(number), DIGEST)
    return context


def numbers(images, **filters):
    return [int(entry["Id"][7:], 16) for entry in listing.listed(images, filters)]


def test_newest_first_in_dockers_shape(images):
    entries = listing.listed(images)
    assert [entry["Size"] for entry in entries] == [102, 101, 100, 103]
    assert entries[2] == {
        "Id": image_id(0),
        "ParentId": "",
        "RepoTags": ["old:1", "old:2"],
        "RepoDigests": [],
        "Created": 1577836800,
        "Size": 100,
        "SharedSize": -1,
        "VirtualSize": 100,
        "Labels": {"a": "1"},
        "Containers": -1,
    }
    assert entries[0]["RepoDigests"] == [f"new@{DIGEST}"]
    assert entries[3]["Created"] == 0


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"before": ["quay.io/team/mid:1"]}, [0, 3]),
        ({"since": ["old:1"]}, [2, 1]),
        ({"since": ["old:1"], "before": [f"new@{DIGEST}"]}, [1]),
        ({"dangling": ["true"]}, [2, 3]),
        ({"dangling": ["0"]}, [2, 1, 0]),
        ({"label": ["a"]}, [1, 0]),
        ({"label": ["a=2"]}, [1]),
        ({"label": ["a", "a=1"]}, [0]),
        ({"label": ["b"]}, []),
        ({"until": ["2020-06-01T00:00:00Z"]}, [0, 3]),
        ({"reference": ["old"]}, [0]),
        ({"reference": ["old:*"]}, [0]),
        ({"reference": ["*:1"]}, [0]),
        ({"reference": ["*/*/m?d"]}, [1]),
        ({"reference": ["[a-n]ew", "quay.io/*/*:1"]}, [2, 1]),
        ({"reference": ["nosuch"]}, []),
    ],
)
def test_filters(images, filters, expected):
    assert numbers(images, **filters) == expected


def test_only_matching_names_are_listed(images):
    (entry,) = listing.listed(images, {"reference": ["old:2"]})
    assert entry["RepoTags"] == ["old:2"]


@pytest.mark.parametrize(
    "filters",
    [
        {"nosuch": ["x"]},
        {"label!": ["a"]},
        {"before": ["old:1", "old:2"]},
        {"dangling": ["maybe"]},
        {"reference": ["[a"]},
        {"reference": ["a\\"]},
        {"until": ["yesterday"]},
    ],
)
def test_bad_filters(images, filters):
    with pytest.raises(InvalidParameter):
        listing.listed(images, filters)


def test_filter_by_a_missing_image(images):
    with pytest.raises(NotFound, match="nosuch"):
        listing.listed(images, {"since": ["nosuch"]})


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a*", "a/b", False),
        ("a/*", "a/b", True),
        ("[^a]", "b", True),
        ("[^a]", "a", False),
        ("[a\\-z]", "-", True),
        ("[a-c]", "b", True),
        ("\\*", "*", True),
        ("a.c", "abc", False),
        ("(x)|", "(x)|", True),
    ],
)
def test_glob_is_gos(pattern, name, matches):
    assert bool(listing.glob(pattern).fullmatch(name)) == matches


@given(st.text(max_size=30), st.text(max_size=10))
def test_any_pattern_is_taken_or_refused(pattern, name):
    try:
        listing.glob(pattern).fullmatch(name)
    except InvalidParameter:
        return


@given(st.one_of(st.none(), st.text(max_size=40), st.integers(), st.datetimes().map(str)))
def test_any_creation_time_is_read(text):
    assert isinstance(listing.created_s({"created": text}), float)


@pytest.mark.parametrize("config", ["", "{", "[]", "{}"])
def test_a_damaged_record_hides_no_other_and_can_be_removed(images, config):  # N-01
    images.store.images.set_config(image_id(0), config)
    assert len(listing.listed(images, {"reference": ["*/*/mid"]})) == 1
    (entry,) = listing.listed(images, {"reference": ["old:1"]})
    assert (entry["Created"], entry["Labels"]) == (0, {})
    with pytest.raises(StateError, match=r"image verify --repair"):
        inspecting.inspected(images, "old:1")
    removed = removal.remove(images, image_id(0), force=True)
    assert removed[-1] == {"Deleted": image_id(0)}

"""The driver systemd: names of slices and scopes, and where they are (row AA-13)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cgroups import layout, slices
from runengine.cgroups.layout import Layout
from runengine.errors import InvalidParameter, Unavailable

V1 = Layout(1, {"cpu": "/cg/cpu", "systemd": "/cg/systemd"}, frozenset({"cpu"}))
V2 = Layout(2, {"unified": "/cg"}, frozenset({"cpu"}))


@pytest.mark.parametrize(
    ("parent", "default", "path"),
    [
        ("", "", "system.slice:runengine:id"),
        ("", "jobs.slice", "jobs.slice:runengine:id"),
        ("user-a.slice", "jobs.slice", "user-a.slice:runengine:id"),
        ("-.slice", "", "-.slice:runengine:id"),
    ],
)
def test_the_runtime_is_told_slice_prefix_and_id(parent, default, path):
    assert layout.container_path(parent, default, "id", layout.SYSTEMD) == path


@pytest.mark.parametrize(
    ("parent", "directory"),
    [
        ("system.slice", "system.slice/runengine-id.scope"),
        ("a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice/runengine-id.scope"),
        ("-.slice", "runengine-id.scope"),
    ],
)
def test_every_hierarchy_has_the_scope_inside_its_slices(parent, directory):
    path = slices.container_path(parent, "id")
    assert layout.cgroup_dirs(path, V2) == {"unified": f"/cg/{directory}"}
    assert layout.cgroup_dirs(path, V1) == {
        "cpu": f"/cg/cpu/{directory}",
        "systemd": f"/cg/systemd/{directory}",
    }
    assert slices.scope(path) == "runengine-id.scope"


@pytest.mark.parametrize(
    "name",
    ["", "jobs", "/jobs", "a/b.slice", ".slice", "-a.slice", "a-.slice", "a--b.slice", "a.scope",
     "a b.slice", "a:b.slice", "é.slice", "a\0.slice", f"{'a' * 250}.slice"],
)  # fmt: skip
def test_what_is_no_slice_is_refused_in_dockers_words(name):
    with pytest.raises(InvalidParameter, match="valid slice named as"):
        slices.check(name)


@given(st.text(max_size=30))
def test_a_name_that_passes_stays_inside_the_hierarchy(name):
    try:
        path = slices.container_path(f"{name}.slice", "id")
    except InvalidParameter:
        return
    parts = slices.directory(path).split("/")
    assert ".." not in parts
    assert parts[0] == ""
    assert parts[-1] == "runengine-id.scope"
    assert all(part.endswith(".slice") and part for part in parts[1:-1])


@pytest.mark.parametrize("path", ["/runengine/id", "/a:b:c/id", "/a.slice/id"])
def test_a_path_of_the_other_driver_is_taken_as_it_is(path):
    assert layout.cgroup_dirs(path, V2) == {"unified": f"/cg{path}"}


def test_without_systemd_the_driver_is_refused(tmp_path):
    slices.require_systemd(str(tmp_path))
    with pytest.raises(Unavailable, match="cgroup_driver"):
        slices.require_systemd(f"{tmp_path}/nowhere")

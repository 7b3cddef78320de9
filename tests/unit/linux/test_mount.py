"""The table of mounts as the kernel writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.linux import mount

LINE = "36 35 98:0 /root {} rw,noatime shared:1 master:2 - ext3 /dev/my\\043disk rw,errors=remount"

ESCAPED = {" ": "\\040", "\t": "\\011", "\n": "\\012", "\\": "\\134"}


def as_the_kernel_writes(path: str) -> str:
    return "".join(ESCAPED.get(char, char) for char in path)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch):
    """Sets what is mounted."""

    def set_to(*targets: str) -> None:
        lines = [LINE.format(as_the_kernel_writes(target)) for target in targets]
        monkeypatch.setattr(mount, "_mountinfo", lambda: "\n".join([*lines, ""]))

    return set_to


def test_a_line_is_taken_apart():
    (entry,) = mount.parse_mountinfo(LINE.format("/mnt\\0402") + "\n")
    assert entry == mount.MountInfo(
        36, 35, "98:0", "/root", "/mnt 2", "rw,noatime", ("shared:1", "master:2"), "ext3",
        "/dev/my#disk", "rw,errors=remount",
    )  # fmt: skip


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_name_comes_back(name: str):
    text = LINE.format(as_the_kernel_writes(f"/{name}"))
    entries = list(mount.parse_mountinfo(f"{text}\n{text}\n"))
    assert [entry.target for entry in entries] == [f"/{name}"] * 2


@pytest.mark.parametrize(
    "target", ["/a", "/a b", "/a\tb", "/a\nb", "/a\\b", "/a\\040b", "/a#b", "/a\rb", "/a\u2028b"]
)
def test_what_is_mounted_is_found(table, target):
    table("/", "/other", target)
    assert mount.is_mounted(target)
    assert not mount.is_mounted(f"{target}/below")
    table("/", "/other", f"{target}2")
    assert not mount.is_mounted(target)


def test_a_root_or_a_source_of_that_name_is_no_mount(table):
    table("/")
    assert not mount.is_mounted("/root")
    assert not mount.is_mounted("/dev/my#disk")


def test_nonsense_is_passed_over():
    assert list(mount.parse_mountinfo("nonsense\n1 2 3 - x\n\n")) == []

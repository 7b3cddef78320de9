"""What a runtime's build can do is asked once, and anew after an upgrade."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from runengine.errors import RuntimeFailed
from runengine.runtime.abilities import Abilities, known, parse

if TYPE_CHECKING:
    from pathlib import Path

ALLOW = "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
NEWER = {
    "mountOptions": ["ro", "rro"],
    "linux": {
        "seccomp": {"supportedFlags": [ALLOW]},
        "mountExtensions": {"idmap": {"enabled": True}},
    },
    "annotations": {"org.opencontainers.runc.version": "1.2.3"},
}


def test_what_is_read():
    assert parse(NEWER) == Abilities("1.2.3", True, (ALLOW,), True)
    older = {"mountOptions": ["ro"], "linux": {"seccomp": {"enabled": True}}}
    assert parse(older) == Abilities("", False, (), False)


@pytest.mark.parametrize("odd", [{}, {"linux": []}, {"linux": {"seccomp": 1}, "mountOptions": 1}])
def test_what_is_not_told_is_not_there(odd):
    assert parse(odd) == Abilities()


@pytest.mark.parametrize(
    ("newest", "known"),
    [("1.0.2-dev", False), ("1.2.0", False), ("1.2.1", True), ("1.3.0+dev", True), (None, False)],
)
def test_what_goes_by_the_version_of_the_specification(newest, known):
    assert parse({"ociVersionMax": newest}).exec_cpu_affinity is known


def test_memory_policies():
    document = {"linux": {"memoryPolicy": {"modes": ["MPOL_BIND"], "flags": []}}}
    assert parse(document).memory_policies == ("MPOL_BIND",)
    assert parse({"linux": {"memoryPolicy": {"modes": "MPOL_BIND"}}}).memory_policies == ()


def test_it_is_asked_once_per_build(tmp_path: Path):
    program, note, asked = tmp_path / "runc", tmp_path / "note", []
    program.write_text("1")

    def ask():
        asked.append(1)
        return NEWER

    for _ in range(3):
        assert known(str(program), str(note), ask).mapped_mounts
    assert len(asked) == 1
    program.write_text("22")
    known(str(program), str(note), ask)
    assert len(asked) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"program": 1}', '{"features": {}}'])
def test_a_broken_note_is_asked_anew(tmp_path: Path, text: str):
    note = tmp_path / "note"
    note.write_text(text)
    assert known("/nowhere/runc", str(note), lambda: NEWER).mapped_mounts
    assert json.loads(note.read_text())["features"] == NEWER


def test_neither_a_mute_runtime_nor_a_full_disk_is_in_the_way(tmp_path: Path):
    def mute():
        raise RuntimeFailed("no such command")

    assert known("runc", str(tmp_path / "note"), mute) == Abilities()
    assert known("runc", str(tmp_path / "missing" / "note"), lambda: NEWER).mapped_mounts

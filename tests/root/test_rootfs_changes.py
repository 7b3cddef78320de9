"""What a writable layer becomes: whatever overlayfs shows comes out of the new layer again."""

from __future__ import annotations

import io
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runengine.errors import Conflict
from runengine.rootfs.changes import changes_of
from runengine.rootfs.copylayer import copy_layer
from runengine.rootfs.overlay import mount_overlay, unmount
from runengine.rootfs.packlayer import pack_layer
from runengine.rootfs.unpack import complete_layer, unpack_layer
from tests.support import needs
from tests.support.treecmp import differences, manifest

pytestmark = [pytest.mark.root, needs("overlay")]

NAMES = ("a", "a/b", "a/b/c", "d", "d/e", "new")
PATHS = st.sampled_from(NAMES)


def write(path, other):
    del other
    # A fifo without a reader is refused, not waited for.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK)
    try:
        os.write(fd, b"more")
    finally:
        os.close(fd)


STEPS = {
    "write": write,
    "touch": lambda path, _: os.close(os.open(path, os.O_RDWR | os.O_CREAT)),
    "mkdir": lambda path, _: os.mkdir(path),
    "fifo": lambda path, _: os.mkfifo(path),
    "chmod": lambda path, _: os.chmod(path, 0o700),
    "chown": lambda path, _: os.chown(path, 7, 8, follow_symlinks=False),
    "xattr": lambda path, _: os.setxattr(path, "trusted.test", b"value"),
    "remove": lambda path, _: shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path),
    "link": lambda path, other: os.link(other, path),
    "symlink": lambda path, _: os.symlink("/elsewhere", path),
    "rename": lambda path, other: os.rename(other, path),
}
SCRIPTS = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), PATHS, PATHS), max_size=12)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """One directory for all examples."""
    return tmp_path_factory.mktemp("changes")


class Sink(io.BytesIO):
    """An archive in memory."""

    def copy(self, fd, size):
        self.write(os.read(fd, size))


def play(root, script):
    """Do whatever of it can be done."""
    for step, path, other in script:
        try:
            STEPS[step](f"{root}/{path}", f"{root}/{other}")
        except (OSError, shutil.SameFileError):
            continue


def tree(root):
    """A tree by whole seconds, without the times of directories, which say nothing."""
    found = manifest(root)
    return {
        name: entry._replace(mtime_ns=0 if os.path.isdir(os.fsencode(root) + b"/" + name)
                             else entry.mtime_ns // 10**9)
        for name, entry in found.items()
    }  # fmt: skip


def shown(lowers, place):
    """What layers, top first, show when mounted."""
    mount_overlay(lowers, None, None, place, readonly=True)
    try:
        return tree(place)
    finally:
        unmount(place)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(SCRIPTS, SCRIPTS)
def test_the_new_layer_shows_what_the_container_had(work, before, after):
    top = work / "example"
    shutil.rmtree(top, ignore_errors=True)
    for name in ("lower/a/b", "lower/d", "upper", "work", "merged", "packed", "copied"):
        (top / name).mkdir(parents=True)
    (top / "lower/a/b/c").write_text("lower")
    lower, upper, merged = (str(top / name) for name in ("lower", "upper", "merged"))
    play(lower, before)
    mount_overlay([lower], upper, f"{top}/work", merged)
    try:
        play(merged, after)
        wanted = tree(merged)
    finally:
        unmount(merged)
    found = changes_of(upper, [lower])
    sink = Sink()
    pack_layer(upper, found, sink)
    done = unpack_layer(io.BytesIO(sink.getvalue()), f"{top}/packed")
    complete_layer(f"{top}/packed", done, [lower])
    copy_layer(upper, found, f"{top}/copied")
    assert not differences(shown([f"{top}/packed", lower], merged), wanted)
    assert not differences(shown([f"{top}/copied", lower], merged), wanted)


def test_changes_are_docker_s(work):
    top = work / "listed"
    for name in ("lower/kept", "lower/gone", "lower/new/sub", "lower/touched", "upper", "work"):
        (top / name).mkdir(parents=True)
    (top / "merged").mkdir()
    for name in ("kept/same", "kept/more", "gone/x", "new/old"):
        (top / "lower" / name).write_text(name)
    mount_overlay([str(top / "lower")], str(top / "upper"), str(top / "work"), str(top / "merged"))
    try:
        merged = top / "merged"
        (merged / "kept/more").write_text("changed")
        os.close(os.open(merged / "kept/same", os.O_RDWR))  # copied up, and the same
        shutil.rmtree(merged / "gone")
        shutil.rmtree(merged / "new")
        (merged / "new").mkdir()
        (merged / "new/file").write_text("x")
        (merged / "proc").mkdir()
        (merged / "touched/x").write_text("x")
        (merged / "touched/x").unlink()
    finally:
        unmount(str(top / "merged"))
    found = changes_of(str(top / "upper"), [str(top / "lower")], {"proc"})
    assert [(change.kind, change.path) for change in found] == [
        ("D", "gone"),
        ("C", "kept"),
        ("C", "kept/more"),
        ("C", "new"),
        ("A", "new/file"),
        ("D", "new/old"),
        ("D", "new/sub"),
    ]


def test_a_name_that_means_a_deletion_is_refused(work):
    top = work / "refused"
    (top / "upper").mkdir(parents=True)
    (top / "upper/.wh.file").write_text("x")
    found = changes_of(str(top / "upper"), [])
    with pytest.raises(Conflict, match=r"/\.wh\.file cannot be in an image"):
        pack_layer(str(top / "upper"), found, Sink())

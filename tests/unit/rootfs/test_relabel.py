"""Labels for whole trees, with a made-up way to set one."""

from __future__ import annotations

import errno
import os

import pytest

from runengine.errors import EngineError, Unsupported
from runengine.rootfs.relabel import relabel


def test_every_file_once_and_no_link_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").touch()
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/file").touch()
    (top / "a/b/link").symlink_to(outside)
    labelled = []

    def note(path, label):
        assert label == "u:r:t:s0"
        folder, name = os.path.split(path)
        labelled.append(os.path.relpath(os.path.join(os.path.realpath(folder), name), tmp_path))

    relabel(str(top), "u:r:t:s0", note)
    assert sorted(labelled) == ["top", "top/a", "top/a/b", "top/a/b/link", "top/a/file"]
    labelled.clear()
    relabel(str(top / "a/file"), "u:r:t:s0", note)
    assert labelled == ["top/a/file"]


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.EOPNOTSUPP, Unsupported, "leave :z or :Z out"),
        (errno.EXDEV, EngineError, "mounted below"),
        (errno.EPERM, EngineError, "cannot give"),
    ],
)
def test_what_is_said_where_it_fails(tmp_path, code, kind, words):
    def fail(path, label):
        raise OSError(code, os.strerror(code), path)

    with pytest.raises(kind, match=words):
        relabel(str(tmp_path), "u:r:t:s0", fail)

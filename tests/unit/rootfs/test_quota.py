"""Limits for directories, on a made-up project quota."""

from __future__ import annotations

import errno

import pytest

from runengine.errors import EngineError, InvalidParameter, Unsupported
from runengine.rootfs import quota
from runengine.rootfs.quota import FIRST_ID, Limits
from tests.support.fake_quota import FakeQuota


@pytest.fixture
def fake(monkeypatch, tmp_path):
    made = FakeQuota()
    (tmp_path / "locks").mkdir()
    made.install(monkeypatch, str(tmp_path / "locks"))
    return made


@pytest.fixture
def tree(tmp_path):
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/file").touch()
    (top / "link").symlink_to(tmp_path)
    return top


def test_the_whole_tree_and_nothing_else(fake, tree, tmp_path):
    project = quota.limit_directory(str(tree), Limits(1 << 20, 7))
    assert project == FIRST_ID
    assert fake.limits == {FIRST_ID: (1 << 20, 7)}
    assert {fake.of(tree), fake.of(tree / "a/b"), fake.of(tree / "a/file")} == {FIRST_ID}
    assert fake.of(tmp_path) == 0
    # Again: it keeps its id.
    assert quota.limit_directory(str(tree), Limits(2 << 20)) == FIRST_ID
    assert quota.project_of(str(tree)) == FIRST_ID
    quota.assign(str(tree), 0)
    assert quota.project_of(str(tree)) == 0


def test_ids_that_somebody_uses_are_passed_over(fake, tree):
    fake.limits = {5: (1, 0), FIRST_ID: (1, 0), FIRST_ID + 1: (0, 3), FIRST_ID + 3: (1, 0)}
    assert quota.free_project(str(tree)) == FIRST_ID + 2
    fake.limits[FIRST_ID + 2] = (9, 9)
    assert quota.free_project(str(tree)) == FIRST_ID + 4
    assert quota.limit_directory(str(tree), Limits(1), 77) == 77


def test_more_than_there_is(fake, tree):
    with pytest.raises(InvalidParameter, match="more than the filesystem"):
        quota.limit_directory(str(tree), Limits(1 << 60))
    assert not fake.limits


@pytest.mark.parametrize(
    "code", [errno.ESRCH, errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL]
)
def test_a_filesystem_without(fake, tree, code):
    fake.missing = code
    with pytest.raises(Unsupported, match="no project quota"):
        quota.limit_directory(str(tree), Limits(1))
    assert quota.project_of(str(tree)) == 0


def test_another_failure(fake, tree):
    fake.missing = errno.EPERM
    with pytest.raises(EngineError, match="cannot limit the size"):
        quota.set_limits(str(tree), 1, Limits(1))

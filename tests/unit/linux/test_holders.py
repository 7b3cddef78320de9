"""Who holds a mount, by example of this very process."""

from __future__ import annotations

import os

from runengine.linux import holders


def test_an_open_file_and_a_working_directory_are_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert all(one.pid != os.getpid() for one in holders.find(str(tmp_path)))
    with (tmp_path / "file").open() as file:
        (found,) = (one for one in holders.find(str(tmp_path)) if one.pid == os.getpid())
        assert found.by == f"open file {file.fileno()}"
        assert f"(pid {os.getpid()}: open file" in holders.describe(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (found,) = (one for one in holders.find(str(tmp_path)) if one.pid == os.getpid())
    assert found.by == "working directory"


def test_a_neighbour_with_a_like_name_is_not_meant(tmp_path):
    (tmp_path / "mounted-more").mkdir()
    with (tmp_path / "mounted-more/file").open("w"):
        assert holders.find(f"{tmp_path}/mounted") == []
    assert "no process shows" in holders.describe(f"{tmp_path}/mounted")

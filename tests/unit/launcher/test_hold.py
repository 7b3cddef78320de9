"""Who is the service of a directory."""

from __future__ import annotations

import os

import pytest

from runengine.errors import Conflict, Unavailable
from runengine.launcher.main import hold


def test_the_second_is_told_who_holds_it(tmp_path):
    fd = hold(f"{tmp_path}/state")
    try:
        with pytest.raises(Conflict, match=f"is running already: pid {os.getpid()}"):
            hold(f"{tmp_path}/state")
    finally:
        os.close(fd)
    os.close(hold(f"{tmp_path}/state"))


@pytest.mark.parametrize("below", ["", "/state", "/a/b"])
def test_a_file_in_its_place_is_named(tmp_path, below):
    (tmp_path / "letter").write_text("mine")
    with pytest.raises(Unavailable, match=f"cannot use {tmp_path}/letter{below}: there is a file"):
        hold(f"{tmp_path}/letter{below}")

"""The operator's hooks, read from made-up directories (row V-09)."""

from __future__ import annotations

import json
import os

import pytest

from runengine.errors import InvalidParameter
from runengine.mgr.container import hooks


@pytest.fixture
def directories(tmp_path):
    found = [tmp_path / "usr", tmp_path / "etc"]
    for one in found:
        one.mkdir()
    return found


def write(directory, name, program="/bin/sh", stages=("createRuntime",)):
    document = {
        "version": "1.0.0",
        "hook": {"path": program},
        "when": {"always": True},
        "stages": list(stages),
    }
    path = directory / name
    path.write_text(json.dumps(document))
    return str(path)


def refused(directories):
    return [str(error) for error in hooks.damage([str(one) for one in directories])]


def test_order_is_by_name_and_later_directories_hide(directories):
    usr, etc = directories
    last = write(usr, "30.json")
    write(usr, "20.json")
    hiding = write(etc, "20.json")
    first = write(etc, "10.json")
    write(etc, "40.json.disabled")
    assert hooks.files([str(usr), str(etc)]) == [first, hiding, last]


def test_a_directory_that_is_not_there(directories):
    missing = f"{directories[0]}/none"
    with pytest.raises(InvalidParameter, match="take it out of hooks_dirs") as caught:
        hooks.files([missing])
    assert str(caught.value).startswith(f"hooks directory {missing}: No such file or directory")


def test_a_program_that_is_not_there(directories):
    path = write(directories[0], "a.json", program="/none/program")
    with pytest.raises(InvalidParameter, match=r"hook\.path: /none/program is no program"):
        hooks.read(path)
    inside = write(directories[0], "b.json", program="/none/program", stages=["startContainer"])
    assert hooks.read(inside).section == {"path": "/none/program"}


def test_what_is_no_plain_file(directories):
    os.mkfifo(directories[0] / "a.json")
    (directories[0] / "b.json").symlink_to("none")
    (directories[0] / "c.json").write_bytes(b" " * ((1 << 20) + 1))
    write(directories[0], "d.json")
    where = directories[0]
    assert refused(directories) == [
        f"hook {where}/a.json: not a regular file",
        f"hook {where}/b.json: No such file or directory",
        f"hook {where}/c.json: larger than 1048576 bytes",
    ]

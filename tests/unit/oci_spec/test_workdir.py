"""Working directories that are no directories of the container's (CVE-2024-21626)."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter
from runengine.model import exec_config
from runengine.oci_spec import workdir
from runengine.oci_spec.exec import build_process
from runengine.oci_spec.users import User
from tests.support import specs


@pytest.mark.parametrize("path", ["", "/", "/srv/a b", "/proc", "/proc/1", "/dev", "/srv/fd/7"])
def test_directories(path):
    workdir.check(path)


@pytest.mark.parametrize("path", ["srv", "./srv", "/a\0b"])
def test_not_absolute(path):
    with pytest.raises(InvalidParameter, match="absolute path"):
        workdir.check(path)


VIEWS = [
    *("/proc/self/fd/7", "/proc/self/fd", "//proc/self/fd/7", "/proc/./self//fd/7/../../x"),
    *("/srv/../proc/1/cwd", "/proc/1/root/etc", "/proc/self/task/1/fd/3", "/proc/thread-self/fd"),
    *("/dev/fd/7", "/dev/stdin", "/proc/self/map_files/x"),
]


@pytest.mark.parametrize("path", VIEWS)
def test_what_a_process_has_open(path):
    with pytest.raises(InvalidParameter, match="has open"):
        workdir.check(path)


@pytest.mark.parametrize("path", VIEWS)
def test_an_exec_is_held_to_the_same(path):
    config = exec_config(["true"])
    config["WorkingDir"] = path
    with pytest.raises(InvalidParameter, match="has open"):
        build_process(specs.build(), config, User(0, 0), specs.KERNEL)


def test_the_name_that_led_there_is_told():
    with pytest.raises(InvalidParameter, match="/x leads to /proc/self/fd/7"):
        workdir.check_target("/proc/self/fd/7", "/x")

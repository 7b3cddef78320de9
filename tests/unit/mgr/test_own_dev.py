"""A /dev that the user mounts: masks are made of its null device."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter
from runengine.mgr.container import facts
from runengine.oci_spec import mounts


def check(source: str, destination: str = "/dev") -> None:
    facts.check_devices_of([mounts.parse_bind(f"{source}:{destination}")])


@pytest.mark.parametrize("target", ["/proc/sys/kernel/core_pattern", "/dev/null", "nothing"])
def test_a_link_in_the_place_of_null(tmp_path, target):  # CVE-2025-31133
    (tmp_path / "null").symlink_to(target)
    with pytest.raises(InvalidParameter, match=f"{tmp_path}/null is not the null device"):
        check(str(tmp_path))
    check(str(tmp_path), "/devices")


def test_something_else_or_nothing_in_the_place_of_null(tmp_path):
    with pytest.raises(InvalidParameter, match="not the null device"):
        check(str(tmp_path))
    (tmp_path / "null").write_text("")
    with pytest.raises(InvalidParameter, match="not the null device"):
        check(str(tmp_path))


def test_the_hosts_own():
    check("/dev")

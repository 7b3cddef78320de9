"""The default AppArmor profile in the eyes of the program that loads it, without loading it."""

from __future__ import annotations

import subprocess

import pytest

from runengine.linux import apparmor as loader
from runengine.oci_spec import apparmor
from tests.support import needs

pytestmark = [pytest.mark.root, needs("apparmor_parser")]


def parsed(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apparmor_parser", "--skip-kernel-load", "--skip-cache"],
        input=text,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("tunables", [True, False])
def test_it_compiles(tunables: bool):
    if tunables and not loader.has_tunables():
        pytest.skip("no /etc/apparmor.d/tunables (apt-get install apparmor)")
    done = parsed(apparmor.profile(tunables=tunables))
    assert done.returncode == 0, done.stderr


def test_what_does_not_compile_is_found():
    assert parsed(apparmor.profile().replace("umount,", "umounts,")).returncode != 0

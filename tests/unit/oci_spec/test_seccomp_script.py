"""The default profile in Docker's form leads to the very filter that the engine makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.linux.kernel import CAPABILITIES
from runengine.oci_spec import capabilities, seccomp
from runengine.oci_spec.seccomp import Target
from scripts import seccomp_profile

TEXT = json.dumps(seccomp_profile.docker_form())
KERNELS = [(4, 4), (4, 7), (4, 8), (5, 10), (6, 18)]


def meaning(section):
    """What becomes of each call."""
    found: dict[str, set[str]] = {}
    for entry in section["syscalls"]:
        rule = json.dumps(
            [entry["action"], entry.get("errnoRet"), entry.get("args")], sort_keys=True
        )
        for name in entry["names"]:
            found.setdefault(name, set()).add(rule)
    # A rule without conditions on arguments makes those with some superfluous.
    plain = json.dumps([seccomp.ALLOW, None, None])
    return {name: {plain} if plain in rules else rules for name, rules in found.items()}


@given(
    machine=st.sampled_from(sorted(seccomp.MACHINES)),
    kernel=st.sampled_from(KERNELS),
    held=st.frozensets(st.sampled_from(CAPABILITIES)),
)
def test_it_means_the_same(machine, kernel, held):
    target = Target(machine, kernel, held)
    ours, theirs = seccomp.default_profile(target), seccomp.load_profile(TEXT, target)
    assert meaning(theirs) == meaning(ours)
    for key in ("defaultAction", "defaultErrnoRet", "architectures"):
        assert theirs[key] == ours[key]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_with_every_table(machine):
    text = json.dumps(seccomp_profile.docker_form(every_table=True))
    target = Target(machine, (6, 1), frozenset(capabilities.DEFAULT))
    ours = seccomp.default_profile(target._replace(extra=("all",)))
    theirs = seccomp.load_profile(text, target)
    assert meaning(theirs) == meaning(ours)
    assert theirs["architectures"] == ours["architectures"]


def test_new_calls_in_headers_are_found(tmp_path: Path):
    (tmp_path / "asm").mkdir()
    header = tmp_path / "asm/unistd_64.h"
    header.write_text("#define __NR_read 0\n#define __NR_brand_new 999\n#define __NR_x\n")
    assert seccomp_profile.unknown(tmp_path) == ["brand_new"]


def test_this_hosts_headers_have_none():
    include = Path("/usr/include")
    if not list(include.glob(seccomp_profile.HEADERS)):
        pytest.skip("no kernel headers (linux-libc-dev)")
    assert seccomp_profile.unknown(include) == []

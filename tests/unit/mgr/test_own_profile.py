"""Starts that fail by the container's own seccomp profile: the error says so, the others stay."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runengine.errors import CommandNotExecutable, RuntimeFailed
from runengine.mgr.container import own_profile

PROFILE = 'seccomp={"defaultAction": "SCMP_ACT_KILL"}'
DEAD = RuntimeFailed("container process is already dead")


def record(*options: str) -> Any:
    """A container with these security options."""
    return SimpleNamespace(name="web", host_config={"SecurityOpt": list(options)})


def test_the_profile_is_named() -> None:
    found = own_profile.explained(record(PROFILE), DEAD)
    assert "container web: its own seccomp profile" in str(found)
    assert "default action SCMP_ACT_KILL" in str(found)
    assert found.details == DEAD.brief


def test_a_profile_that_cannot_be_read_is_still_named() -> None:
    assert "default action unknown" in str(own_profile.explained(record("seccomp=[]"), DEAD))


@pytest.mark.parametrize("options", [[], ["seccomp=unconfined"], ["seccomp=builtin"]])
def test_without_one_the_error_is_the_runtimes_own(options: list[str]) -> None:
    assert own_profile.explained(record(*options), DEAD) is DEAD


def test_errors_of_something_else_are_left_alone() -> None:
    error = CommandNotExecutable("exec /bin/x: permission denied")
    assert own_profile.explained(record(PROFILE), error) is error

"""Where the runtime begins, and with it what it starts."""

import os
from typing import Any

import pytest

from runengine.monitor.programs import cpus_of_exec, cpus_of_init


def job(**fields: Any) -> Any:
    """What these functions look at of a monitor's job."""
    return fields


@pytest.fixture(autouse=True)
def _bound(monkeypatch):
    """A caller that is bound to two of the host's CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.parametrize("given", [job(), job(pinned=[])])
def test_without_cpus_of_its_own_it_is_where_the_caller_is(given):
    assert cpus_of_init(given) is None
    assert cpus_of_exec(given) is None


def test_its_own_cpus_are_added_where_the_caller_has_not_all_of_them():
    assert cpus_of_init(job(pinned=[1, 2, 3])) == {0, 1, 2, 3}
    assert cpus_of_exec(job(pinned=[1, 2, 3])) == {0, 1, 2, 3}
    assert cpus_of_init(job(pinned=[1])) is None


def test_an_exec_is_where_it_is_asked_to_be():
    assert cpus_of_exec(job(pinned=[2, 3], exec_cpus=[3]), [2]) == [2]
    assert cpus_of_exec(job(pinned=[2, 3], exec_cpus=[3])) == [3]
    assert cpus_of_exec(job(pinned=[2, 3], exec_cpus=None)) == {0, 1, 2, 3}

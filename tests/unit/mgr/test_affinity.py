"""Where processes that ``exec`` adds run: by the runtime, by the engine, or not at all."""

import os

import pytest

from runengine.cgroups.machine import Machine
from runengine.errors import InvalidParameter, Unsupported
from runengine.mgr.container import affinity
from runengine.mgr.container.affinity import NOTHING, Decision
from runengine.model import HostConfig, host_config
from runengine.runtime.abilities import Abilities

OLD, NEW = Abilities("1.1.5"), Abilities("1.3.6", exec_cpu_affinity=True)
MACHINE = Machine(None, frozenset(range(8)))
LINUX = (6, 12)


def wanted(initial="", final=""):
    return {"Initial": initial, "Final": final}


def decide(initial, final, able, version=LINUX):
    return affinity.decide(wanted(initial, final), able, version, MACHINE)


@pytest.mark.parametrize("able", [OLD, NEW])
def test_nothing_is_done_for_who_asks_for_nothing(able):
    assert decide("", "", able, (5, 4)) == NOTHING
    assert affinity.decide(None, able, LINUX, MACHINE) == NOTHING


@pytest.mark.parametrize(
    ("initial", "final", "section"),
    [
        ("0", "2-3", {"initial": "0", "final": "2-3"}),
        ("", "2-3", {"final": "2-3"}),
        ("0", "", {"initial": "0", "final": "0-7"}),  # else it stays where the runtime was
    ],
)
def test_a_runtime_that_knows_it_is_told(initial, final, section):
    assert decide(initial, final, NEW, (5, 4)) == Decision(section, None)


def test_for_others_it_begins_where_it_ends():
    assert decide("", "3,2", OLD) == Decision(None, [2, 3])
    assert decide("2-3", "3,2", OLD) == Decision(None, [2, 3])


@pytest.mark.parametrize(("initial", "final"), [("0", "2-3"), ("0", "")])
def test_an_old_runtime_cannot_begin_elsewhere(initial, final):
    with pytest.raises(Unsupported, match=r"initial=0: runc 1\.1\.5 cannot begin elsewhere"):
        decide(initial, final, OLD)


def test_before_linux_6_2_the_control_group_has_the_last_word():
    with pytest.raises(Unsupported, match=r"neither runc 1\.1\.5 nor this kernel"):
        decide("", "2", OLD, (6, 1))
    assert decide("", "2", OLD, (6, 2)).cpus == [2]


def test_only_cpus_that_are_there_and_the_containers():
    host: HostConfig = {**host_config(), "CpusetCpus": "2-3"}
    affinity.check(wanted("0", "2"), host, MACHINE)
    affinity.check(wanted("0", "7"), host_config(), MACHINE)
    affinity.check(wanted("0", "99"), host_config(), Machine())
    with pytest.raises(InvalidParameter, match=r"initial=8: the host has 0-7"):
        affinity.check(wanted("8"), host, MACHINE)
    with pytest.raises(InvalidParameter, match=r"final=1-2: the container has 2-3"):
        affinity.check(wanted("", "1-2"), host, MACHINE)


def test_a_process_that_is_elsewhere_is_told_of():
    here = os.getpid()
    assert affinity.deviation(here, wanted("", "0-8191")) == ""
    assert affinity.deviation(here, wanted("0")) == ""
    assert affinity.deviation(0, wanted("", "0")) == ""
    assert "9000: the process is on" in affinity.deviation(here, wanted("", "9000"))

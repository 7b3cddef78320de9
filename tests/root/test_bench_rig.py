"""What benchmark machines ask for, as the kernel then has it: CPUs, nodes, speed, account."""

import json
import os
import sys
from pathlib import Path

import pytest

from runengine import Engine, config
from runengine.cgroups import layout, numa
from runengine.cgroups.machine import show_list
from runengine.errors import InvalidParameter
from runengine.linux import kernel
from runengine.mgr.container.affinity import KEPT_SINCE
from runengine.mgr.container.placement import read
from runengine.store.store import Store
from tests.support.engines import Runner
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("runc", "overlay", "busybox")]

MIB = 1 << 20
CPUS = sorted(os.sched_getaffinity(0))
FOUND = numa.read() or numa.Nodes(frozenset(), frozenset(), {})
NODES = sorted(node for node, cpus in FOUND.cpus.items() if cpus and node in FOUND.with_memory)
several_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="one CPU is all there is")
node_0 = pytest.mark.skipif(0 not in NODES, reason="this kernel has no NUMA nodes")
# A runtime that knows memory policies: the tests' runc does not, but a policy is inherited.
POLICY_RUNTIME = """\
#!{python} -IS
import ctypes, json, os, subprocess, sys
if "features" in sys.argv:
    document = json.loads(subprocess.check_output(["runc", *sys.argv[1:]]))
    document["linux"]["memoryPolicy"] = {{"modes": ["MPOL_BIND"], "flags": []}}
    print(json.dumps(document))
    raise SystemExit
if "run" in sys.argv and {obeys}:
    with open(sys.argv[sys.argv.index("--bundle") + 1] + "/config.json") as file:
        policy = json.load(file)["linux"]["memoryPolicy"]
    assert policy == {{"mode": "MPOL_BIND", "nodes": "0"}}, policy
    number = {{"x86_64": 238, "aarch64": 237}}[os.uname().machine]
    assert ctypes.CDLL(None).syscall(number, 2, ctypes.byref(ctypes.c_ulong(1)), 64) == 0
os.execvp("runc", ["runc", *sys.argv[1:]])
"""


def allowed(text):
    """The list in a line of /proc/PID/status."""
    return text.decode().split()[1]


@several_cpus
def test_where_the_caller_is_bound_binds_no_container_with_cpus_of_its_own(runner, engine):
    everywhere = show_list(frozenset(CPUS))
    os.sched_setaffinity(0, {CPUS[0]})
    try:
        container = runner.start("sleep", "1000", CpusetCpus=everywhere)
        bound = runner.start("sleep", "1000")
    finally:
        os.sched_setaffinity(0, CPUS)
    look = ("grep", "Cpus_allowed_list", "/proc/1/status", "/proc/self/status")
    lists = [line.split()[-1] for line in runner.exec(container, *look)[1].decode().splitlines()]
    assert lists == [everywhere, everywhere]
    lists = [line.split()[-1] for line in runner.exec(bound, *look)[1].decode().splitlines()]
    assert lists == [str(CPUS[0])] * 2  # as any other program that it starts
    assert engine.containers.inspect(container)["Runengine"]["Placement"]["Cpus"] == everywhere


@node_0
def test_a_container_on_a_node_is_where_it_was_asked_to_be(runner, engine):
    """On each of the host's nodes, and where an update moves it."""
    script = "x=$(yes | head -c 4000000); echo ready; sleep 1000; :"
    for node in map(str, NODES):
        container = runner.start("sh", "-c", script, NumaNode=node)
        wait_for(lambda name=container: "ready" in log_of(engine, name))
        found = engine.containers.inspect(container)
        placement = found["Runengine"]["Placement"]
        assert found["HostConfig"]["NumaNode"] == node
        assert placement["CgroupCpus"] == found["HostConfig"]["CpusetCpus"]
        assert (placement["CgroupMems"], placement["Mems"]) == (node, node)
        assert (placement["MemoryPolicy"], placement["Deviations"]) == ("default", [])
        used = read(found["State"]["Pid"], found["Runengine"]["Cgroup"], whole=True).own_pages
        assert set(used) == {int(node)}
        assert used[int(node)] > 500
    assert engine.notices == []
    cpu = show_list(frozenset(sorted(FOUND.cpus[NODES[0]])[:1]))
    told = engine.containers.update(container, {"NumaNode": str(NODES[0]), "CpusetCpus": cpu})
    if layout.detect().version == 2:
        assert told == []  # its memory has come along
    assert engine.containers.inspect(container)["Runengine"]["Placement"]["Cpus"] == cpu
    with pytest.raises(InvalidParameter, match="the node does not exist"):
        engine.containers.update(container, {"NumaNode": "1023"})


def log_of(engine, name):
    """What a container has written."""
    with open(engine.containers.inspect(name)["LogPath"]) as file:
        return file.read()


@node_0
@pytest.mark.parametrize("obeys", [True, False])
def test_the_memory_policy_is_read_back(shared_roots, tmp_path, obeys):
    program = tmp_path / "policy"
    program.write_text(POLICY_RUNTIME.format(python=sys.executable, obeys=obeys))
    program.chmod(0o755)
    runtimes = {"runc": ["runc"], f"policy-{obeys}": [str(program)]}
    settings = config.load(shared_roots)._replace(runtimes=runtimes)
    with Engine(settings, Store.open(shared_roots)) as engine:
        runner = Runner(engine)
        container = runner.start("sleep", "1000", Runtime=f"policy-{obeys}", NumaNode="0")
        placement = engine.containers.inspect(container)["Runengine"]["Placement"]
        told = [text.partition(": ")[2] for text in engine.notices]
        engine.containers.remove(container, force=True)
    if obeys:
        assert (placement["MemoryPolicy"], told) == ("bind:0", [])
    else:
        assert told == ["memory policy bind:0: the kernel has default for it"]


@several_cpus
@pytest.mark.skipif(kernel.probe().version < KEPT_SINCE, reason="older kernels keep no choice")
def test_execs_are_on_the_cpus_that_they_have(runner, engine):
    first, second = str(CPUS[0]), str(CPUS[1])
    look = ("grep", "Cpus_allowed_list", "/proc/self/status")
    wanted = {"Initial": "", "Final": first}
    container = runner.start(
        "sleep", "1000", CpusetCpus=f"{first},{second}", ExecCPUAffinity=wanted
    )
    assert allowed(runner.exec(container, *look)[1]) == first
    other = {"Initial": second, "Final": second}
    assert allowed(runner.exec(container, *look, ExecCPUAffinity=other)[1]) == second
    assert allowed(runner.exec(container, "grep", "Cpus_allowed_list", "/proc/1/status")[1]) == (
        show_list(frozenset(CPUS[:2]))
    )
    assert engine.notices == []


def test_a_measurement_runs_with_nothing_beside_it(cli):
    script = "readlink /proc/self/fd/1; ulimit -n; echo end >&2; sleep 1000"
    container = cli.ok("run", "-d", "--profile", "bench", "busybox", "sh", "-c", script).strip()
    found = json.loads(cli.ok("inspect", container))[0]
    host, log = found["HostConfig"], Path(found["LogPath"])
    assert (host["Profile"], host["NetworkMode"], host["PidsLimit"]) == ("bench", "host", -1)
    wait_for(lambda: log.read_text().count("\n") == 3)
    assert log.read_text().splitlines() == [str(log), str(os.sysconf("SC_OPEN_MAX")), "end"]
    assert cli.ok("logs", container) == log.read_text().rstrip()
    assert cli.ok("logs", "-n", "1", container) == "end"
    mitigations = found["Runengine"]["Mitigations"]
    assert (mitigations["Seccomp"], mitigations["CpuQuota"]) == ("filter", None)
    assert cli.ok("run", "--rm", "--profile", "bench", "busybox", "echo", "seen") == "seen"


def test_kills_for_want_of_memory_are_counted_before_the_cgroup_goes(runner, engine):
    grow = "sh -c 'x=$(yes | head -c 60000000)'"
    limits = {"Memory": 16 * MIB, "MemorySwap": 16 * MIB}
    code, _, _ = runner.run("sh", "-c", f"{grow}; {grow}; exit 3", name="greedy", **limits)
    state = engine.containers.inspect("greedy")["State"]
    assert (code, state["OOMKilled"], state["OOMKills"]) == (3, True, 2)
    assert 0 < state["MemoryPeakBytes"] <= 16 * MIB

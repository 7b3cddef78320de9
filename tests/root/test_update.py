"""``update`` on real containers: all of it or nothing, running, paused and stopped."""

import os

import pytest

from runengine.cgroups import layout
from runengine.errors import Conflict, EngineError, InvalidParameter
from tests.support.capabilities import needs
from tests.support.restarts import policy
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("runc", "overlay", "busybox")]

MIB = 1 << 20
V2 = layout.detect().version == 2


def limit(engine, container, v1, v2):
    """A control file of the container, as ``CONTROLLER FILE`` of v1, or of v2."""
    cgroup = engine.containers.get(container).details["cgroup"]
    controller, name = ("unified", v2) if V2 else v1.split()
    with open(f"{cgroup[controller]}/{name}") as file:
        return file.read().strip()


def pids(engine, container):
    return limit(engine, container, "pids pids.max", "pids.max")


def memory(engine, container):
    return int(limit(engine, container, "memory memory.limit_in_bytes", "memory.max"))


def host(engine, container):
    return engine.containers.inspect(container)["HostConfig"]


def test_a_running_container_has_its_new_limits_at_once(runner, engine):  # E-50
    container = runner.start("sleep", "1000", Memory=64 * MIB, PidsLimit=50)
    wanted = {"Memory": 256 * MIB, "MemorySwap": 512 * MIB, "PidsLimit": 20, "NanoCpus": 10**9}
    assert engine.containers.update(container, wanted) == []
    assert (memory(engine, container), pids(engine, container)) == (256 * MIB, "20")
    assert limit(engine, container, "cpu cpu.cfs_quota_us", "cpu.max").split()[0] == "100000"
    assert {key: host(engine, container)[key] for key in wanted} == wanted
    engine.containers.update(container, {"Memory": 32 * MIB, "MemorySwap": 32 * MIB})
    assert memory(engine, container) == 32 * MIB
    engine.containers.update(container, {"PidsLimit": -1})
    assert pids(engine, container) == "max"


def test_new_limits_hold_after_a_restart(runner, engine):
    container = runner.start("sleep", "1000")
    engine.containers.update(container, {"Memory": 48 * MIB, "PidsLimit": 33})
    engine.containers.restart(container, timeout_s=0)
    assert (memory(engine, container), pids(engine, container)) == (48 * MIB, "33")
    assert host(engine, container)["MemorySwap"] == 96 * MIB


def test_a_paused_container_is_changed_and_stays_paused(runner, engine):  # E-50
    container = runner.start("sleep", "1000")
    engine.containers.pause(container)
    engine.containers.update(container, {"PidsLimit": 21, "CpusetCpus": "0"})
    assert engine.containers.inspect(container)["State"]["Paused"]
    assert pids(engine, container) == "21"
    engine.containers.unpause(container)
    code, _, _ = runner.exec(container, "true")
    assert code == 0


def test_a_stopped_container_has_them_at_its_next_start(runner, engine):  # E-50
    container = runner.create("sleep", "1000")
    engine.containers.update(container, {"PidsLimit": 22})
    engine.containers.start(container)
    assert pids(engine, container) == "22"


def test_nothing_of_an_update_that_the_kernel_refuses_stays(runner, engine):  # E-57
    """What is in use cannot be taken away; everything else of the call goes back too."""
    script = "head -c 30m /dev/zero > /dev/shm/x; echo ready; sleep 1000"
    container = runner.start("sh", "-c", script, PidsLimit=50, CpuShares=100)
    await_line(engine, container)
    before = host(engine, container)
    wanted = {"Memory": 8 * MIB, "MemorySwap": 8 * MIB, "PidsLimit": 20, "CpuShares": 300}
    with pytest.raises(EngineError, match="cannot update") as caught:
        engine.containers.update(
            container, wanted, restart_policy=policy("always")["RestartPolicy"], labels=["a=1"]
        )
    assert f"container {container[:6]}: --memory: " in str(caught.value)
    assert pids(engine, container) == "50"
    expected = "4" if V2 else "100"
    assert limit(engine, container, "cpu cpu.shares", "cpu.weight") == expected
    if V2:
        assert limit(engine, container, "", "memory.max") == "max"
    else:
        assert memory(engine, container) > 1 << 50
    assert host(engine, container) == before
    assert "a" not in engine.containers.inspect(container)["Config"]["Labels"]
    # And the runtime does not come back to it with the next one.
    engine.containers.update(container, {"PidsLimit": 19})
    assert limit(engine, container, "cpu cpu.shares", "cpu.weight") == expected


def await_line(engine, container):

    def is_ready():
        found = []
        engine.containers.logs(
            container, emit=lambda _, data: found.append(bytes(data)), stdout=True, stderr=True
        )
        return b"ready" in b"".join(found)

    wait_for(is_ready)


def test_nothing_stays_when_it_cannot_be_written_down(runner, engine, monkeypatch):
    container = runner.start("sleep", "1000", PidsLimit=50)

    def full(_record):
        raise InvalidParameter("no space")

    monkeypatch.setattr(engine.containers._context.store.containers, "set_configuration", full)
    with pytest.raises(InvalidParameter, match="no space"):
        engine.containers.update(container, {"PidsLimit": 20})
    assert pids(engine, container) == "50"


def test_what_does_not_go_with_the_container_is_refused_before_anything(runner, engine):
    # E-51, E-52
    container = runner.start("sleep", "1000", Memory=64 * MIB, NanoCpus=10**9)
    for wanted, error in (
        ({"Memory": 129 * MIB, "PidsLimit": 9}, Conflict),
        ({"CpuQuota": 5000, "PidsLimit": 9}, Conflict),
        ({"CpusetCpus": "0,999", "PidsLimit": 9}, InvalidParameter),
        ({"Privileged": True, "PidsLimit": 9}, InvalidParameter),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}], "PidsLimit": 9},
         InvalidParameter),
    ):  # fmt: skip
        with pytest.raises(error):
            engine.containers.update(container, wanted)
    assert pids(engine, container) == "4096"
    assert memory(engine, container) == 64 * MIB


def test_nothing_asked_is_nothing_done(runner, engine):  # E-58
    container = runner.create("true")
    assert engine.containers.update(container) == []
    assert engine.containers.update(container, {"Memory": 0, "CpusetCpus": ""}) == []


def test_env_for_the_next_exec_and_for_shells_inside(runner, engine):  # E-54, E-55
    container = runner.start("sh", "-c", "mkdir -p /etc/profile.d; echo ready; sleep 1000",
                             config={"Env": ["A=1", "B=2"]})  # fmt: skip
    await_line(engine, container)
    engine.containers.update(container, env=["A=one", "B"], labels=["k=v"])
    seen = engine.containers.inspect(container)["Config"]
    assert "A=one" in seen["Env"]
    assert seen["Labels"]["k"] == "v"
    _, out, _ = runner.exec(container, "sh", "-c", "echo $A-$B")
    assert out == b"one-\n"
    _, out, _ = runner.exec(container, "cat", "/etc/profile.d/runengine-env.sh")
    assert b'export A="one"\n' in out
    _, out, _ = runner.exec(container, "cat", "/proc/1/environ")
    assert {b"A=1", b"B=2"} <= set(out.split(b"\0"))


@needs("cgroup1")
def test_rates_of_a_device(runner, engine):
    import os

    device = next((f"/dev/{name}" for name in sorted(os.listdir("/sys/block"))
                   if os.path.exists(f"/dev/{name}")), None)  # fmt: skip
    if device is None:
        pytest.skip("no block device")
    container = runner.start("sleep", "1000")
    engine.containers.update(
        container, {"BlkioDeviceWriteBps": [{"Path": device, "Rate": 1 << 20}]}
    )
    path = "blkio blkio.throttle.write_bps_device"
    assert limit(engine, container, path, "").split()[1] == str(1 << 20)
    engine.containers.update(container, {"BlkioDeviceWriteBps": [{"Path": device, "Rate": 0}]})
    assert limit(engine, container, path, "") == ""


@pytest.mark.skipif(not os.path.exists("/dev/loop1"), reason="this host has no loop devices")
def test_devices_stay_open_and_closed(cli):
    """The runtime is told all limits anew, and not what may be opened."""
    rule = ("--device-cgroup-rule", "b 7:0 r")
    cli.ok("run", "-d", "--name", "one", *rule, "busybox", "sleep", "1000")
    cli.ok("exec", "one", "sh", "-c", "mknod /0 b 7 0; mknod /1 b 7 1")
    script = "for n in 0 1; do ( : </$n ) && echo read $n; ( : >>/$n ) && echo write $n; done"
    before = cli.call("exec", "one", "sh", "-c", script).out
    assert before == "read 0\n"
    cli.ok("update", "--cpu-shares", "512", "--pids-limit", "64", "-m", "64m", "one")
    assert cli.call("exec", "one", "sh", "-c", script).out == before


def test_several_on_one_command_line(cli):
    for name in ("one", "two"):
        cli.ok("run", "-d", "--name", name, "busybox", "sleep", "1000")
    assert cli.ok("update", "--pids-limit", "44", "one", "two") == "one\ntwo"
    done = cli.call("update", "--pids-limit", "45", "one", "nobody", "two")
    assert (done.code, done.out) == (1, "one\ntwo\n")
    assert "No such container: nobody" in done.err
    shown = cli.ok("inspect", "-f", "{{.HostConfig.PidsLimit}}", "one", "two")
    assert shown == "45\n45"
    done = cli.call("update", "--kernel-memory", "64m", "one")
    assert (done.code, done.out) == (0, "one\n")
    assert "discard --kernel-memory" in done.err

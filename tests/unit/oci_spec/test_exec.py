"""The process that exec adds (row F-04)."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter
from runengine.model import exec_config
from runengine.oci_spec import runtime, ulimits
from runengine.oci_spec.exec import build_process
from runengine.oci_spec.users import User
from tests.support import specs

ROOT = User(0, 0, (0,), "/root", "root")


def spec(**host_changes):
    changes = {
        "SecurityOpt": ["seccomp=unconfined", "no-new-privileges", "apparmor=mine"],
        "Ulimits": [ulimits.parse("nofile=7")],
        "OomScoreAdj": 33,
        "CapDrop": ["NET_RAW"],
        **host_changes,
    }
    return specs.build(
        host_changes=changes,
        kernel=specs.KERNEL._replace(apparmor=True),
        env=["A=1", "B=2"],
        cwd="/srv",
    )


def process(user=ROOT, cmd=("ls",), **changes):
    config = exec_config(list(cmd))
    config.update(changes)  # type: ignore[typeddict-item]
    built = build_process(spec(), config, user, specs.KERNEL)
    runtime.Process.model_validate(built)
    return built


def test_every_protection_of_the_container_applies():  # F-04
    container, made = spec()["process"], process()
    inherited = ["rlimits", "apparmorProfile", "oomScoreAdj", "noNewPrivileges", "capabilities"]
    assert {key: made[key] for key in inherited} == {key: container[key] for key in inherited}
    assert "CAP_NET_RAW" not in made["capabilities"]["bounding"]
    assert (made["cwd"], made["args"], made["terminal"]) == ("/srv", ["ls"], False)


def test_it_runs_where_the_container_has_its_execs():
    affinity = {"initial": "0", "final": "2"}
    built = build_process(
        specs.build(exec_cpu_affinity=affinity), exec_config(["ls"]), ROOT, specs.KERNEL
    )
    runtime.Process.model_validate(built)
    assert built["execCPUAffinity"] == affinity
    assert "execCPUAffinity" not in process()


def test_environment_is_the_containers_with_the_execs_over_it():
    made = process(Env=["A=", "B", "C=3"])
    assert "A=" in made["env"]
    assert "C=3" in made["env"]
    assert not any(item.startswith("B=") for item in made["env"])
    assert "HOME=/root" in made["env"]


def test_another_user_has_its_own_home_and_no_capabilities():
    made = process(user=User(5, 6, (6,), "/home/x", "x"))
    assert "HOME=/home/x" in made["env"]
    assert "HOME=/root" not in made["env"]
    assert made["user"] == {"uid": 5, "gid": 6, "additionalGids": [6]}
    assert made["capabilities"]["effective"] == []
    assert made["capabilities"]["bounding"]


def test_a_terminal_has_a_type():
    assert "TERM=xterm" in process(Tty=True)["env"]
    assert "TERM=xterm" not in process()["env"]
    assert "TERM=vt100" in process(Tty=True, Env=["TERM=vt100"])["env"]


def test_workdir():
    assert process(WorkingDir="/x")["cwd"] == "/x"
    with pytest.raises(InvalidParameter, match="absolute path"):
        process(WorkingDir="x")


def test_privileged_means_the_bounding_set():
    made = process(Privileged=True)
    assert made["capabilities"]["effective"] == list(specs.KERNEL.bounding)
    assert made["apparmorProfile"] == "unconfined"


def test_a_command_is_needed():
    with pytest.raises(InvalidParameter, match="no exec command"):
        process(cmd=())


def test_the_containers_spec_is_left_as_it_is():
    container = spec()
    before = repr(container)
    config = exec_config(["ls"])
    config["Env"] = ["A=9"]
    build_process(container, config, ROOT, specs.KERNEL)
    assert repr(container) == before

"""Health checks of real containers."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.capabilities import needs
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]

MS = 1_000_000
SLEEP = ("sleep", "1000")


@pytest.fixture
def watched(runner, engine):
    """Starts a container with a health check; its id."""

    def start(shell, *command, config=None, name=None, **check):
        test = {"Test": ["CMD-SHELL", shell], "Interval": 50 * MS, "Retries": 2, **check}
        wanted = {**(config or {}), "Healthcheck": test}
        return runner.start(*(command or SLEEP), config=wanted, name=name)

    return start


@pytest.fixture
def health(engine):
    """A container's State.Health."""
    return lambda container: engine.containers.inspect(container)["State"].get("Health")


@pytest.fixture
def becomes(health):
    """Waits for a status, and for results to look at."""

    def wait(container, status, results=1):
        def reached():
            found = health(container)
            return found["Status"] == status and len(found["Log"]) >= results

        wait_for(reached)
        return health(container)

    return wait


def listed(engine, word):
    found = engine.containers.list(filters={"health": [word]})
    return {entry["Names"][0].removeprefix("/"): entry["Status"] for entry in found}


def members(engine, container):
    """Command lines of the processes in the container."""
    cgroup = engine.containers.inspect(container)["Runengine"]["Cgroup"]
    folders = os.walk(cgroup.get("pids", cgroup.get("unified")))
    pids = [pid for folder, _, _ in folders
            for pid in Path(folder, "cgroup.procs").read_text().split()]  # fmt: skip
    lines = []
    for pid in pids:
        try:
            lines.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip())
        except OSError:
            continue
    return sorted(lines)


@pytest.fixture
def state_dir(shared_roots):
    """A container's volatile directory."""
    return lambda container: Path(shared_roots.container_state(container))


@pytest.fixture
def monitor_of(state_dir):
    """Pid of a container's monitor."""
    return lambda container: json.loads((state_dir(container) / "init.json").read_text())[
        "monitor_pid"
    ]


def test_from_starting_to_unhealthy_to_healthy_and_back(watched, becomes, engine, runner):
    container = watched("cat /ok", name="web", StartPeriod=100 * MS, StartInterval=50 * MS)
    assert list(listed(engine, "starting")) in (["web"], [])
    found = becomes(container, "unhealthy")
    assert found["FailingStreak"] >= 2
    assert "No such file" in found["Log"][-1]["Output"]
    assert found["Log"][-1]["ExitCode"] == 1
    assert listed(engine, "unhealthy")["web"].endswith("(unhealthy)")
    runner.exec(container, "touch", "/ok")
    found = becomes(container, "healthy", 5)
    assert (found["FailingStreak"], len(found["Log"])) == (0, 5)
    assert listed(engine, "healthy")["web"].endswith("(healthy)")
    assert not listed(engine, "none")
    runner.exec(container, "rm", "/ok")
    becomes(container, "unhealthy")


def test_starting_until_there_is_a_result(watched, health, engine):
    container = watched("true", name="slow", Interval=3_600_000 * MS)
    assert health(container) == {"Status": "starting", "FailingStreak": 0, "Log": []}
    assert listed(engine, "starting")["slow"].endswith("(health: starting)")


def test_the_start_period_forgives(watched, health, becomes):
    hour = 3_600_000 * MS
    container = watched("test -e /ok", StartPeriod=hour, StartInterval=20 * MS, Interval=hour)
    wait_for(lambda: len(health(container)["Log"]) == 5)
    assert (health(container)["Status"], health(container)["FailingStreak"]) == ("starting", 0)


def test_it_runs_as_the_containers_process_would(watched, becomes):
    says = "echo $X; pwd; id -u; grep -h -e CapBnd -e NoNewPrivs /proc/1/status /proc/self/status"
    container = watched(
        f"{says} | sort -u", config={"User": "33:34", "WorkingDir": "/tmp", "Env": ["X=7"]}
    )
    lines = becomes(container, "healthy")["Log"][0]["Output"].split("\n")
    assert {"7", "/tmp", "33"} <= set(lines)
    assert sum(line.startswith(("CapBnd", "NoNewPrivs")) for line in lines) == 2


@pytest.mark.parametrize(
    ("test", "text"),
    [(["CMD", "nosuch"], "nosuch"), (["CMD"], ""), (["CMD", "/etc/passwd"], "/etc/passwd")],
)
def test_a_check_that_cannot_begin_is_a_failure(watched, becomes, test, text):
    container = watched("", Test=test)
    entry = becomes(container, "unhealthy")["Log"][-1]
    assert entry["ExitCode"] == -1
    assert text in entry["Output"]
    assert entry["Output"]


def test_the_exit_code_of_a_signal(watched, becomes):
    found = becomes(watched("kill -9 $$"), "unhealthy")
    assert found["Log"][-1]["ExitCode"] == 137


STUBBORN = "trap '' TERM INT; echo part; setsid sleep 555 & while :; do sleep 0.1; done"


def test_time_out_kills_everything(watched, becomes, engine):
    container = watched(STUBBORN, Timeout=500 * MS, Interval=3_600_000 * MS,
                        StartPeriod=3_600_000 * MS, StartInterval=50 * MS, Retries=1)  # fmt: skip
    entry = becomes(container, "starting")["Log"][-1]
    assert entry["ExitCode"] == -1
    assert entry["Output"] == "Health check exceeded timeout (500ms): part\n"
    becomes(container, "starting", 5)
    assert members(engine, container).count("sleep 555") <= 1


def test_nothing_piles_up_in_the_background(watched, becomes, engine):
    container = watched("setsid sleep 556 & (setsid sleep 556 >/dev/null 2>&1 &); exit 0")
    becomes(container, "healthy", 5)
    assert members(engine, container).count("sleep 556") <= 2
    engine.containers.stop(container, timeout_s=0)


def test_endless_output_is_cut(watched, becomes, monitor_of):
    container = watched("yes", Timeout=300 * MS)
    entry = becomes(container, "unhealthy", 3)["Log"][-1]
    assert entry["Output"].endswith("y\n...")
    assert len(entry["Output"]) < 4200
    status = Path(f"/proc/{monitor_of(container)}/status").read_text()
    peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kb < 20_000
    container = watched("seq 1 50000")
    assert becomes(container, "healthy")["Log"][0]["ExitCode"] == 0


def test_no_probe_while_paused(watched, becomes, health, engine):
    container = watched("sleep 0.05")
    becomes(container, "healthy")
    engine.containers.pause(container)
    time.sleep(0.5)  # for a probe that was under way to be forgotten
    before = health(container)
    time.sleep(0.5)
    assert health(container) == before
    assert before["Status"] == "healthy"
    engine.containers.unpause(container)
    wait_for(lambda: health(container) != before)
    assert health(container)["Status"] == "healthy"


def test_a_probe_that_was_frozen_too_long_does_not_count(watched, health, engine):
    container = watched("touch /began; sleep 555", Timeout=700 * MS, Retries=1)
    merged = f"{engine.containers.inspect(container)['GraphDriver']['Data']['MergedDir']}/began"
    wait_for(lambda: Path(merged).exists())
    engine.containers.pause(container)
    time.sleep(1.0)
    assert health(container) == {"Status": "starting", "FailingStreak": 0, "Log": []}
    engine.containers.unpause(container)
    wait_for(lambda: health(container)["Status"] == "unhealthy")


def test_stop_during_a_probe(watched, health, engine, state_dir):
    container = watched(f"touch /began; {STUBBORN}", Interval=MS)
    merged = f"{engine.containers.inspect(container)['GraphDriver']['Data']['MergedDir']}/began"
    wait_for(lambda: Path(merged).exists())
    engine.containers.stop(container, timeout_s=0)
    assert health(container) == {"Status": "unhealthy", "FailingStreak": 0, "Log": []}
    assert not {name for name in os.listdir(state_dir(container)) if "probe" in name}


def test_each_start_begins_anew(watched, becomes, health, engine):
    container = watched("true", Interval=50 * MS)
    becomes(container, "healthy")
    engine.containers.restart(container, timeout_s=0)
    assert len(health(container)["Log"]) < 3
    becomes(container, "healthy")
    engine.containers.stop(container, timeout_s=0)
    assert health(container)["Status"] == "unhealthy"
    assert health(container)["Log"]


def test_a_short_life_with_probes_all_the_time(watched, engine):
    for _ in range(3):
        container = watched("true", "sleep", "0.2", Interval=MS)
        assert engine.containers.wait(container).exit_code == 0


def test_nobody_knows_without_a_monitor(watched, becomes, health, monitor_of):
    container = watched("true")
    becomes(container, "healthy")
    os.kill(monitor_of(container), signal.SIGKILL)
    wait_for(lambda: health(container)["Status"] == "unhealthy")


def test_events_are_for_transitions(watched, becomes, engine, runner, shared_roots):
    begun_ns = time.time_ns()
    container = watched("test ! -e /bad")
    becomes(container, "healthy", 3)
    runner.exec(container, "touch", "/bad")
    becomes(container, "unhealthy")
    engine.containers.stop(container, timeout_s=0)
    journal = Path(shared_roots.journal).read_text().splitlines()
    seen = [
        event["Action"]
        for event in map(json.loads, journal)
        if event["Actor"]["ID"] == container and event["timeNano"] >= begun_ns
    ]
    health_events = [action for action in seen if action.startswith("health_status")]
    assert health_events == ["health_status: healthy", "health_status: unhealthy"]
    assert sum(action.startswith("exec_") for action in seen) <= 3  # those of the touch alone


def test_a_container_without_a_check_has_none_of_it(runner, health, monitor_of, state_dir):
    container = runner.start(*SLEEP)
    assert health(container) is None
    assert not (state_dir(container) / "health.json").exists()
    status = Path(f"/proc/{monitor_of(container)}/status")
    time.sleep(0.3)  # until it has said good-bye to who started it
    before = status.read_text().partition("voluntary_ctxt_switches:")[2]
    time.sleep(0.3)
    assert status.read_text().partition("voluntary_ctxt_switches:")[2] == before


def test_by_command_line_and_image(cli, tmp_path):
    cli.ok("import", "--change", "HEALTHCHECK --interval=50ms --retries=2 CMD test ! -e /bad",
           str(tmp_path_tar(tmp_path)), "checked")  # fmt: skip
    cli.ok("run", "-d", "--name", "from-image", "checked", *SLEEP)
    cli.ok("run", "-d", "--name", "without", "--no-healthcheck", "checked", *SLEEP)
    cli.ok("run", "-d", "--name", "own", "--health-cmd", "exit 3", "checked", *SLEEP)
    status = "{{.State.Health.Status}}"
    wait_for(lambda: cli.ok("inspect", "-f", status, "from-image") == "healthy")
    wait_for(lambda: cli.ok("inspect", "-f", status, "own") == "unhealthy")
    assert cli.names("health=none") == ["without"]
    assert cli.names("health=healthy") == ["from-image"]
    shown = json.loads(cli.ok("inspect", "-f", "{{json .Config.Healthcheck}}", "own"))
    assert shown == {"Test": ["CMD-SHELL", "exit 3"], "Interval": 50 * MS, "Retries": 2}
    refused = cli.call("run", "--health-cmd", "x", "--health-interval", "1us", "checked", "true")
    assert (refused.code, "Interval in Healthcheck cannot be less than 1ms" in refused.err) == (
        125, True
    )  # fmt: skip


def tmp_path_tar(directory):
    """A root filesystem for an image of the test's own."""
    from tests.support import trees

    return trees.write_busybox_tar(directory / "rootfs.tar")

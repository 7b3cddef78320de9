"""Events of real containers and images: which, in which order, with what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runengine.model import exec_config
from tests.support import needs

if TYPE_CHECKING:
    from tests.support.command_line import CommandLine
    from tests.support.engines import Runner

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]

STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]
POLITE = ["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"]
EATER = ["sh", "-c", "x=$(head -c 200m /dev/zero | tr '\\0' a); echo ${#x}"]


class Watcher:
    """The events of one container from a moment on."""

    def __init__(self, runner: Runner, container: str) -> None:
        self.system = runner.engine.system
        self.container = container

    def messages(self) -> list[dict[str, Any]]:
        filters = {"container": [self.container]}
        with self.system.subscribe_to_events(since="1h", filters=filters, follow=False) as found:
            return list(found)

    def actions(self) -> list[str]:
        return [one["Action"] for one in self.messages()]

    def attributes(self, action: str) -> list[dict[str, str]]:
        return [
            one["Actor"]["Attributes"] for one in self.messages() if one["Action"] == action
        ]


def begin(runner: Runner, *command: str, **options: Any) -> Watcher:
    watcher = Watcher(runner, runner.start(*(command or ("sleep", "600")), **options))
    assert watcher.actions() == ["create", "start"]
    return watcher


def until_ready(runner: Runner, container: str) -> None:
    deadline = time.monotonic() + 20
    said: list[bytes] = []
    while b"ready" not in b"".join(said):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        runner.engine.containers.logs(container, emit=lambda _, data: said.append(data))


def exec_actions(watcher: Watcher) -> list[str]:
    return [action for action in watcher.actions() if action.startswith("exec_")]


def test_stop(runner: Runner):
    watcher = begin(runner, *POLITE)
    until_ready(runner, watcher.container)
    runner.engine.containers.stop(watcher.container)
    assert watcher.actions() == ["create", "start", "kill", "die", "stop"]
    (die,) = watcher.attributes("die")
    assert die["exitCode"] == "5"
    assert watcher.attributes("kill")[0]["signal"] == "15"


def test_stop_of_one_that_does_not_listen(runner: Runner):
    watcher = begin(runner, *STUBBORN)
    until_ready(runner, watcher.container)
    runner.engine.containers.stop(watcher.container, timeout_s=1)
    assert watcher.actions()[2:] == ["kill", "kill", "die", "stop"]
    assert [kill["signal"] for kill in watcher.attributes("kill")] == ["15", "9"]
    (die,) = watcher.attributes("die")
    assert (die["exitCode"], die["signal"]) == ("137", "9")


def test_kill_and_signals(runner: Runner):
    watcher = begin(runner)
    runner.engine.containers.kill(watcher.container, "USR2")  # the init ignores it
    runner.engine.containers.kill(watcher.container)
    assert watcher.actions()[2:] == ["kill", "kill", "die"]


def test_forced_removal(runner: Runner):
    watcher = begin(runner)
    runner.engine.containers.remove(watcher.container, force=True)
    assert watcher.actions()[2:] == ["kill", "die", "destroy"]


def test_natural_end_and_removal(runner: Runner):
    container = runner.create("sh", "-c", "exit 7", config={"Labels": {"l": "v"}}, name="ev7")
    runner.engine.containers.start(container)
    assert runner.engine.containers.wait(container).exit_code == 7
    watcher = Watcher(runner, container)
    assert watcher.actions() == ["create", "start", "die"]
    (die,) = watcher.attributes("die")
    assert (die["exitCode"], die["name"], die["l"]) == ("7", "ev7", "v")
    runner.engine.containers.remove(container)
    assert watcher.actions()[3:] == ["destroy"]


def test_start_comes_before_the_end_however_short(runner: Runner):
    for _ in range(5):
        container = runner.start("true")
        runner.engine.containers.wait(container)
        assert Watcher(runner, container).actions() == ["create", "start", "die"]


def test_foreground_with_removal(runner: Runner):
    container = runner.create("true", AutoRemove=True)
    from runengine.monitor.protocol import AttachOptions
    from tests.support.engines import collect

    connection = runner.engine.containers.start(container, attach=AttachOptions())
    assert connection is not None
    with connection:
        collect(connection)
        assert connection.take_over()
    runner.engine.containers.finish(container)
    expected = ["create", "attach", "start", "die", "destroy"]
    assert Watcher(runner, container).actions() == expected


def test_stop_comes_before_automatic_removal(runner: Runner):
    watcher = begin(runner, *POLITE, AutoRemove=True)
    until_ready(runner, watcher.container)
    runner.engine.containers.stop(watcher.container)
    assert watcher.actions()[2:] == ["kill", "die", "stop", "destroy"]


def test_restart(runner: Runner):
    watcher = begin(runner)
    runner.engine.containers.restart(watcher.container, timeout_s=0)
    assert watcher.actions()[2:] == ["kill", "die", "stop", "start", "restart"]
    runner.engine.containers.stop(watcher.container, timeout_s=0)
    runner.engine.containers.restart(watcher.container)
    assert watcher.actions()[-2:] == ["start", "restart"]


def test_restart_by_policy(runner: Runner):
    policy = {"Name": "on-failure", "MaximumRetryCount": 1}
    watcher = Watcher(runner, runner.start("false", RestartPolicy=policy))
    deadline = time.monotonic() + 30
    while len(watcher.actions()) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert watcher.actions() == ["create", "start", "die", "start", "die"]


def test_out_of_memory_comes_before_the_end(runner: Runner):
    container = runner.start(*EATER, Memory=20 << 20, MemorySwap=20 << 20)
    runner.engine.containers.wait(container)
    watcher = Watcher(runner, container)
    assert watcher.actions() == ["create", "start", "oom", "die"]
    (die,) = watcher.attributes("die")
    assert die["oomKilled"] == "true"


def test_pause_top_update_and_rename(runner: Runner):
    watcher = begin(runner, name="before")
    containers = runner.engine.containers
    containers.pause(watcher.container)
    containers.unpause(watcher.container)
    containers.top(watcher.container)
    containers.rename(watcher.container, "after")
    containers.kill(watcher.container)
    assert watcher.actions()[2:] == ["pause", "unpause", "top", "rename", "kill", "die"]
    (rename,) = watcher.attributes("rename")
    assert (rename["name"], rename["oldName"]) == ("after", "/before")
    # The monitor was told: what it wrote has the new name.
    assert watcher.attributes("die")[0]["name"] == "after"


def test_exec(runner: Runner):
    watcher = begin(runner)
    code, _, _ = runner.exec(watcher.container, "sh", "-c", "exit 3")
    assert code == 3
    expected = ["exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die"]
    assert exec_actions(watcher) == expected
    (die,) = watcher.attributes("exec_die")
    (created,) = watcher.attributes(expected[0])
    assert (die["exitCode"], die["execID"]) == ("3", created["execID"])


def test_exec_that_cannot_start_has_no_start(runner: Runner):
    from runengine.errors import CommandNotFound

    watcher = begin(runner)
    exec_id = runner.engine.containers.create_exec(watcher.container, exec_config(["nosuch"]))
    with pytest.raises(CommandNotFound):
        runner.engine.containers.start_exec(exec_id)
    assert exec_actions(watcher) == ["exec_create: nosuch"]


def test_attach_resize_and_detach(runner: Runner):
    from runengine.monitor.protocol import AttachOptions

    watcher = begin(runner, "sleep", "600", config={"Tty": True, "OpenStdin": True})
    containers = runner.engine.containers
    with containers.attach(watcher.container, AttachOptions()) as connection:
        connection.detach()
    containers.resize(watcher.container, 40, 120)
    deadline = time.monotonic() + 10
    while len(watcher.actions()) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(watcher.actions()[2:]) == ["attach", "detach", "resize"]
    (resize,) = watcher.attributes("resize")
    assert (resize["height"], resize["width"]) == ("40", "120")


def test_one_that_does_not_start(runner: Runner):
    from runengine.errors import EngineError

    container = runner.create("nosuch")
    with pytest.raises(EngineError):
        runner.engine.containers.start(container)
    assert Watcher(runner, container).actions() == ["create"]


def test_an_end_that_nobody_saw_is_found_and_written_once(runner: Runner):
    watcher = begin(runner)
    kill_monitor(runner, watcher.container)
    state = runner.engine.containers.get(watcher.container).state
    os.kill(state["Pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while "die" not in watcher.actions():
        assert time.monotonic() < deadline
        runner.engine.containers.list(all=True)
    runner.engine.containers.list(all=True)
    runner.engine.containers.remove(watcher.container)
    assert watcher.actions()[2:] == ["die", "destroy"]
    assert watcher.attributes("die")[0]["exitCode"] == "unknown"


def kill_monitor(runner: Runner, container: str) -> None:
    state_dir = f"{runner.engine.config.paths.state}/containers/{container}"
    note = json.loads(Path(f"{state_dir}/init.json").read_bytes())
    os.kill(note["monitor_pid"], signal.SIGKILL)
    while Path(f"/proc/{note['monitor_pid']}").exists():
        if Path(f"/proc/{note['monitor_pid']}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.01)


def test_actions_say_how_long_they_took(runner: Runner):
    watcher = begin(runner)
    runner.engine.containers.stop(watcher.container, timeout_s=0)
    journal = Path(runner.engine.events.path).read_text().splitlines()
    own = [one for one in map(json.loads, journal) if one["id"] == watcher.container]
    took = {one["Action"]: one.get("tookNs") for one in own}
    assert all(took[action] > 0 for action in ("create", "start", "stop"))
    assert took["die"] is None


@contextmanager
def unwritable(path: Path):
    """A journal that nobody can write: a directory has its name."""
    kept = path.with_name("kept")
    path.rename(kept)
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
        kept.rename(path)


def test_no_journal_fails_no_action(runner: Runner):
    runner.start("true")
    with unwritable(Path(runner.engine.events.path)):
        code, out, _ = runner.run("echo", "fine")
        assert (code, out) == (0, b"fine\n")
        container = runner.start("sleep", "600")
        runner.engine.containers.remove(container, force=True)


def test_images(runner: Runner):
    images = runner.engine.images
    with runner.engine.system.subscribe_to_events(filters={"type": ["image"]}) as found:
        images.tag("runengine/busybox", "event-test:1")
        images.remove("event-test:1")
        tag, untag = next(found), next(found)
    image_id = images.lookup("runengine/busybox").image_id
    assert (tag["Action"], untag["Action"]) == ("tag", "untag")
    for one in (tag, untag):
        assert one["Actor"]["ID"] == image_id
        assert one["Actor"]["Attributes"]["name"] == "event-test:1"


def test_many_at_once_each_in_order(runner: Runner):
    from runengine import Engine

    def run_one(results: list[str]) -> None:
        with Engine.open(runner.engine.config.paths) as own:
            container = type(runner)(own).start("sleep", "600")
            own.containers.remove(container, force=True)
            results.append(container)

    done: list[str] = []
    threads = [threading.Thread(target=run_one, args=(done,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 6
    for container in done:
        expected = ["create", "start", "kill", "die", "destroy"]
        assert Watcher(runner, container).actions() == expected


# The command


def test_the_command_follows(cli: CommandLine):
    follower = cli.begin(
        *("events", "--since", "0s", "--filter", "container=ev1", "--format", "{{.Action}}"),
        stdout=subprocess.PIPE,
    )
    assert follower.stdout is not None
    try:
        # However late it is, it sees one that begins after it: so begin until it sees one.
        seen: list[bytes] = []
        reader = threading.Thread(target=lambda: seen.extend(_lines(follower, 5)))
        reader.start()
        while reader.is_alive():
            cli.ok("run", "--rm", "--name", "ev1", "busybox", "true")
        reader.join()
        assert [one.decode().strip() for one in seen] == [
            "create", "attach", "start", "die", "destroy"
        ]  # fmt: skip
    finally:
        follower.terminate()
        follower.wait()
        follower.stdout.close()


def _lines(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    """That many lines, from the first ``create`` on."""
    assert process.stdout is not None
    found: list[bytes] = []
    while len(found) < count:
        line = process.stdout.readline()
        assert line, "the follower has ended"
        if found or line == b"create\n":
            found.append(line)
    return found


def test_a_follower_sleeps_while_nothing_happens(runner: Runner):
    seen: list[dict[str, Any]] = []
    thread_ids: list[int] = []

    def follow() -> None:
        thread_ids.append(threading.get_native_id())
        seen.append(next(found))

    with runner.engine.system.subscribe_to_events(filters={"event": ["die"]}) as found:
        follower = threading.Thread(target=follow)
        follower.start()
        _until_asleep(thread_ids)
        before = _switches(thread_ids[0])
        time.sleep(0.7)
        assert _switches(thread_ids[0]) == before
        container = runner.start("true")
        follower.join(20)
    assert seen[0]["id"] == container


def _until_asleep(thread_ids: list[int]) -> None:
    """Until the thread waits in poll(2)."""
    deadline = time.monotonic() + 20
    while not thread_ids or "poll" not in _wait_channel(thread_ids[0]):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _wait_channel(thread_id: int) -> str:
    return Path(f"/proc/self/task/{thread_id}/wchan").read_text()


def _switches(thread_id: int) -> str:
    text = Path(f"/proc/self/task/{thread_id}/status").read_text()
    return next(line for line in text.splitlines() if line.startswith("voluntary"))


def test_a_slow_reader_costs_nothing(cli: CommandLine):
    reader, writer = os.pipe()
    follower = cli.begin("events", "--since", "24h", stdout=writer)
    os.close(writer)
    try:
        assert os.read(reader, 1)  # it has begun
        os.kill(follower.pid, signal.SIGSTOP)
        cli.ok("run", "--rm", "busybox", "true")
    finally:
        follower.kill()
        follower.wait()
        os.close(reader)


def test_history_by_the_command(cli: CommandLine):
    cli.ok("run", "--rm", "--name", "ev2", "--label", "a=b", "busybox", "true")
    words = ["events", "--since", "24h", "--until", "0s", "--filter", "container=ev2"]
    lines = cli.ok(*words).splitlines()
    assert [line.split()[2] for line in lines][-5:] == [
        "create", "attach", "start", "die", "destroy"
    ]  # fmt: skip
    assert "(a=b, image=busybox, name=ev2)" in lines[-5]
    document = json.loads(cli.ok(*words, "--format", "json").splitlines()[-1])
    assert (document["Action"], document["from"]) == ("destroy", "busybox")
    assert "tookNs" not in document


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--since", "1m", "--until", "1h"], "'since' (1m) cannot be after 'until' (1h)"),
        (["--since", "soon"], "invalid time 'soon'"),
        (["--filter", "colour=red"], "invalid filter 'colour'"),
        (["--format", "{{.Nosuch"], "template"),
    ],
)
def test_wrong_input_is_one_line(cli: CommandLine, words: list[str], text: str):
    done = cli.call("events", *words)
    assert done.code == 1
    assert text in done.err
    assert done.err.count("\n") == 1

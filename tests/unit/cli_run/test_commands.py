"""Commands against managers that answer from Python."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from runengine.errors import Conflict, EngineError, NotFound, NotModified, Unavailable
from runengine.mgr.container.create import Created
from runengine.mgr.container.wait import Waited
from tests.support.cli import call


class Containers:
    """Remembers what it was asked to do."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers = answers

    def __getattr__(self, operation: str) -> Any:
        def answer(*args: Any, **options: Any) -> Any:
            self.calls.append((operation, *args, *options.values()))
            result = self.answers.get(operation)
            return result(*args, **options) if callable(result) else result

        return answer

    def asked(self, operation: str) -> list[tuple[Any, ...]]:
        return [words[1:] for words in self.calls if words[0] == operation]


class Images:
    """Has the images it is told of; notes pulls."""

    def __init__(self, *names: str, config: str = "{}") -> None:
        self.names = set(names)
        self.config = config
        self.pulled: list[tuple[str, str | None]] = []

    def lookup(self, name: str) -> Any:
        if name not in self.names:
            raise NotFound(f"No such image: {name}")
        return SimpleNamespace(config=self.config)

    def pull(self, name: str, *, platform: str | None, progress: Any) -> None:
        self.pulled.append((name, platform))


def made(*_: Any, **__: Any) -> Created:
    return Created("a" * 64, "x1", ["Current Kernel does not support memory limit"])


@pytest.mark.parametrize("command", ["stop", "kill", "restart", "rm", "pause", "unpause"])
def test_names_are_printed_in_their_order(command: str):
    containers = Containers()
    done = call(command, "c1", "a1", "b1", containers=containers)
    assert (done.exit_code, done.stdout) == (0, "c1\na1\nb1\n")
    operation = "remove" if command == "rm" else command
    assert sorted(words[0] for words in containers.asked(operation)) == ["a1", "b1", "c1"]


def test_all_are_asked_at_once():
    together = threading.Barrier(5, timeout=20)
    containers = Containers(stop=lambda *_, **__: together.wait() and None)
    done = call("stop", "a", "b", "c", "d", "e", containers=containers)
    assert (done.exit_code, done.stdout.split()) == (0, ["a", "b", "c", "d", "e"])


def test_errors_come_last_and_count():
    def stop(name: str, **_: Any) -> None:
        if name == "bad":
            raise Conflict("bad is bad")
        if name == "done":
            raise NotModified("stopped already")

    done = call("stop", "a", "bad", "done", containers=Containers(stop=stop))
    assert (done.exit_code, done.stdout) == (1, "a\ndone\n")
    assert done.stderr == "Error: bad is bad\n"


def test_an_engine_that_does_not_open_fails_every_name():
    from click.testing import CliRunner

    from runengine.cli.context import App
    from runengine.cli.main import program

    def opener(_: Any) -> Any:
        raise EngineError("no database")

    done = CliRunner().invoke(program, ["stop", "a", "b"], obj=App(opener))
    assert (done.exit_code, done.stderr) == (1, "Error: no database\n" * 2)


def test_stop_options():
    containers = Containers()
    call("stop", "-t", "-1", "-s", "INT", "a1", containers=containers)
    call("stop", "--time", "0", "a1", containers=containers)
    call("stop", "a1", containers=containers)
    assert containers.asked("stop") == [("a1", -1, "INT"), ("a1", 0, None), ("a1", None, None)]


def test_kill_default_is_kill():
    containers = Containers()
    call("kill", "a1", containers=containers)
    call("kill", "--signal=HUP", "a1", containers=containers)
    assert containers.asked("kill") == [("a1", "KILL"), ("a1", "HUP")]


def test_wait_prints_codes_and_admits_what_it_does_not_know():
    codes = {"a1": Waited(0, ""), "b1": Waited(None, "its monitor was killed")}
    done = call("wait", "a1", "b1", containers=Containers(wait=codes.get))
    assert (done.exit_code, done.stdout) == (1, "0\n")
    assert "unknown" in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nope"], 1),
        (["-f", "nope"], 0),
        (["-f", "nope", "a1", "none"], 0),
        (["-f", "nope", "busy"], 1),
        (["-f", "busy"], 1),
    ],
)
def test_removing_by_force_what_is_not_there_is_no_failure(words: list[str], code: int):
    def remove(name: str, **_: Any) -> None:
        if name == "busy":
            raise Conflict("busy is busy")
        if name != "a1":
            raise NotFound(f"No such container: {name}")

    done = call("rm", *words, containers=Containers(remove=remove))
    assert done.exit_code == code
    assert ("No such container: nope" in done.stderr) == ("nope" in words)
    assert done.stdout == ("a1\n" if "a1" in words else "")


def test_remove_link_is_refused():
    containers = Containers()
    assert call("rm", "-l", "a1", containers=containers).exit_code == 1
    assert containers.calls == []


def test_rename_and_cleanup():
    containers = Containers()
    assert call("rename", "a1", "b1", containers=containers).exit_code == 0
    assert call("container", "cleanup", "b1", containers=containers).exit_code == 0
    assert containers.calls == [("rename", "a1", "b1"), ("cleanup", "b1")]


def test_create_prints_id_and_warnings():
    done = call("create", "busybox", containers=Containers(create=made), images=Images("busybox"))
    assert done.stdout == "a" * 64 + "\n"
    assert done.stderr == "WARNING: Current Kernel does not support memory limit\n"


def test_detached_run_starts_without_streams():
    containers = Containers(create=made)
    done = call("run", "-d", "busybox", containers=containers, images=Images("busybox"))
    assert (done.exit_code, done.stdout) == (0, "a" * 64 + "\n")
    assert containers.asked("start") == [("a" * 64, None)]


@pytest.mark.parametrize(
    ("words", "pulled"),
    [
        ([], []),
        (["--pull", "always"], [("busybox", None)]),
        (["--pull", "newer"], [("busybox", None)]),
        (["--platform", "linux/amd64"], []),
        (["--platform", "linux/arm64"], [("busybox", "linux/arm64")]),
    ],
)
def test_when_an_image_is_pulled(words: list[str], pulled: list[Any]):
    images = Images("busybox", config='{"os": "linux", "architecture": "amd64"}')
    call("create", *words, "busybox", containers=Containers(create=made), images=images)
    assert images.pulled == pulled


def test_missing_image_is_named_before_the_pull():
    images = Images()
    done = call("create", "team/app", containers=Containers(create=made), images=images)
    assert images.pulled == [("team/app", None)]
    assert done.stderr.splitlines()[0] == "Unable to find image 'team/app:latest' locally"


def test_never_pull():
    images, containers = Images(), Containers(create=made)
    done = call("run", "--pull", "never", "app", containers=containers, images=images)
    assert done.exit_code == 125
    assert images.pulled == containers.calls == []


class Unreachable(Images):
    """A registry that does not answer."""

    def pull(self, *_: Any, **__: Any) -> None:
        raise Unavailable("registry: no route to host")


def test_newer_takes_the_image_that_is_here_where_the_registry_fails():
    words = ("create", "--pull", "newer", "busybox")
    done = call(*words, containers=Containers(create=made), images=Unreachable("busybox"))
    assert (done.exit_code, done.stdout) == (0, "a" * 64 + "\n")
    assert done.stderr.startswith("WARNING: using the image busybox:latest that is here")
    done = call(*words, containers=Containers(create=made), images=Unreachable())
    assert (done.exit_code, "no route to host" in done.stderr) == (125, True)
    words = ("create", "--pull", "always", "busybox")
    done = call(*words, containers=Containers(create=made), images=Unreachable("busybox"))
    assert done.exit_code == 125


def test_cidfile_is_written_and_not_overwritten(tmp_path):
    path = tmp_path / "cid"
    words = ("create", "--cidfile", str(path), "busybox")
    assert call(*words, containers=Containers(create=made), images=Images("busybox")).stdout
    assert path.read_text() == "a" * 64
    containers = Containers(create=made)
    done = call(*words, containers=containers, images=Images("busybox"))
    assert done.exit_code == 125
    assert "container ID file found" in done.stderr
    assert containers.calls == []


def test_cidfile_goes_with_a_failed_create(tmp_path):
    def fail(*_: Any) -> None:
        raise Conflict("taken")

    path = tmp_path / "cid"
    words = ("create", "--cidfile", str(path), "busybox")
    done = call(*words, containers=Containers(create=fail), images=Images("busybox"))
    assert done.exit_code == 125
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "-it", "busybox"], 125),
        (["run", "-d", "-a", "stdout", "busybox"], 125),
        (["exec", "-it", "a1", "sh"], 125),
        (["exec", "a1"], 1),
        (["attach"], 1),
        (["rename", "a1"], 1),
        (["start", "-a", "a1", "b1"], 1),
        (["start", "--checkpoint", "x", "a1", "b1"], 1),
    ],
)
def test_refused_without_asking_the_engine(words: list[str], code: int):
    containers = Containers()
    assert call(*words, containers=containers).exit_code == code
    assert containers.calls == []


def test_exec_builds_its_configuration():
    containers = Containers(create_exec="e" * 64)
    done = call("exec", "-d", "-e", "A=b", "-u", "me", "-w", "/x", "--privileged", "a1", "sh",
                "-c", "x", containers=containers)  # fmt: skip
    assert done.exit_code == 0
    name, config = containers.asked("create_exec")[0]
    assert name == "a1"
    assert config["Cmd"] == ["sh", "-c", "x"]
    assert config["Env"] == ["A=b"]
    assert (config["User"], config["WorkingDir"], config["Privileged"]) == ("me", "/x", True)
    assert not config["AttachStdout"]
    assert containers.asked("start_exec") == [("e" * 64,)]


@pytest.mark.parametrize("verb", ["create", "run"])
def test_replacing_whoever_has_the_name(verb: str):
    containers = Containers(create=made)
    words = [verb, *(["-d"] if verb == "run" else []), "--replace", "--name", "web", "busybox"]
    assert call(*words, containers=containers, images=Images("busybox")).exit_code == 0
    assert containers.asked("remove") == [("web", True)]
    verbs = [one[0] for one in containers.calls]
    assert verbs.index("remove") < verbs.index("create")


def test_nothing_is_replaced_by_an_image_that_is_not_there():
    containers = Containers(create=made)
    words = ["create", "--replace", "--name", "web", "--pull", "never", "busybox"]
    assert call(*words, containers=containers, images=Images()).exit_code == 125
    assert containers.calls == []


def test_replacing_needs_a_name():
    containers = Containers(create=made)
    done = call("create", "--replace", "busybox", containers=containers, images=Images("busybox"))
    assert (done.exit_code, containers.calls) == (125, [])
    assert "--replace needs --name" in done.stderr


def test_a_health_check_that_is_not_there():
    containers = Containers(inspect={"Config": {"Healthcheck": None}})
    done = call("healthcheck", "run", "web", containers=containers)
    assert (done.exit_code, done.stdout) == (125, "")
    assert "container web has no health check" in done.stderr


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (42, 1)])
def test_a_health_check_is_run_as_an_exec(monkeypatch, code: int, expected: int):
    monkeypatch.setattr("runengine.cli.healthcheck.exec_attached", lambda *_: code)
    check = {"Test": ["CMD-SHELL", "curl -f localhost"]}
    found = {"Config": {"Healthcheck": check, "Shell": None}}
    containers = Containers(inspect=found, create_exec="e" * 64)
    assert call("healthcheck", "run", "web", containers=containers).exit_code == expected
    name, config = containers.asked("create_exec")[0]
    assert (name, config["Cmd"]) == ("web", ["/bin/sh", "-c", "curl -f localhost"])
    assert (config["AttachStdin"], config["AttachStdout"]) == (False, True)

"""The operator's hooks on the real runtime (row V-09)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support import needs
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command_line import CommandLine, Done

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]


class Operator(NamedTuple):
    """A command line whose configuration names two directories, and where the hooks write."""

    cli: CommandLine
    config: Path
    early: Path
    late: Path
    out: Path

    def hook(self, directory: Path, name: str, script: str, *stages: str, **rest: Any) -> Path:
        """Write a hook that runs ``script``, for every container without ``when``."""
        timeout = {"timeout": rest["timeout"]} if "timeout" in rest else {}
        document = {
            "version": "1.0.0",
            "hook": {"path": "/bin/sh", "args": ["sh", "-c", script], **timeout},
            "when": rest.get("when", {"always": True}),
            "stages": stages,
        }
        file = directory / name
        file.write_text(json.dumps(document))
        return file

    def call(self, *words: str) -> Done:
        environment = {**self.cli.environment, "RUNENGINE_CONFIG": str(self.config)}
        return self.cli.call(*words, env=environment)

    def ok(self, *words: str) -> str:
        done = self.call(*words)
        assert (done.code, done.err) == (0, ""), done
        return done.out


@pytest.fixture
def operator(cli: CommandLine, tmp_path: Path) -> Operator:
    """Two directories without hooks."""
    early, late, out = tmp_path / "early", tmp_path / "late", tmp_path / "out"
    for directory in (early, late, out):
        directory.mkdir()
    config = tmp_path / "config.json"
    directories = [str(early), str(late)]
    config.write_text(json.dumps({"default_network": "none", "hooks_dirs": directories}))
    return Operator(cli, config, early, late, out)


def test_each_stage_in_its_turn(operator: Operator):
    out = operator.out
    pid = f"$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' {out}/state)"
    look = f"cat > {out}/state; readlink /proc/{pid}/ns/net > {out}/net"
    operator.hook(operator.early, "10.json", look, "createRuntime")
    for stage in ("prestart", "createRuntime", "createContainer", "poststart", "poststop"):
        operator.hook(operator.late, f"20-{stage}.json", f"echo {stage} >> {out}/turns", stage)
    # This one the container's own process runs, inside.
    operator.hook(operator.late, "20-start.json", "echo inside > /started", "startContainer")
    operator.hook(operator.late, "30.json", f"touch {out}/wrong", "createRuntime",
                  when={"commands": ["^/bin/other$"]})  # fmt: skip
    words = ("--annotation", "team=blue", "busybox", "sh", "-c")
    shown = operator.ok("run", "--name", "one", *words, "cat /started; readlink /proc/self/ns/net")
    inside, namespace = shown.splitlines()
    assert inside == "inside"
    assert (out / "net").read_text().strip() == namespace
    state = json.loads((out / "state").read_text())
    (document,) = json.loads(operator.ok("inspect", "one"))
    assert (state["id"], state["status"]) == (document["Id"], "creating")
    assert state["annotations"]["team"] == "blue"
    assert state["bundle"].endswith(f"{document['Id']}/bundle")
    turns = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    assert (out / "turns").read_text().split() == turns
    assert set(document["Runengine"]["Hooks"]) == {*turns, "startContainer"}
    assert not (out / "wrong").exists()
    operator.ok("rm", "one")
    assert (out / "turns").read_text().split() == turns  # poststop once


def test_a_later_directory_hides_a_file(operator: Operator):
    operator.hook(operator.early, "10.json", f"touch {operator.out}/early", "createRuntime")
    operator.hook(operator.late, "10.json", f"touch {operator.out}/late", "createRuntime")
    operator.ok("run", "--rm", "busybox", "true")
    assert [path.name for path in operator.out.iterdir()] == ["late"]


def test_a_restart_by_policy_has_them(operator: Operator):
    operator.hook(operator.early, "10.json", f"echo x >> {operator.out}/starts", "createRuntime")
    operator.ok("run", "-d", "--name", "one", "--restart", "on-failure:1", "busybox", "false")
    shown = "{{.RestartCount}} {{.State.Status}}"
    wait_for(lambda: operator.ok("inspect", "-f", shown, "one") == "1 exited\n")
    assert (operator.out / "starts").read_text() == "x\nx\n"
    operator.ok("rm", "one")


@pytest.mark.parametrize("stage", ["createRuntime", "createContainer", "startContainer"])
def test_a_failing_hook_stops_the_start(operator: Operator, stage: str):
    operator.hook(operator.early, "10.json", "echo no licence >&2; exit 3", stage)
    done = operator.call("run", "--name", "one", "busybox", "true")
    assert done.code == 125
    assert "hook" in done.err
    assert "no licence" in done.err
    assert operator.cli.state_of("one") == "created"
    operator.ok("rm", "one")


def test_a_hanging_hook_is_ended(operator: Operator):
    operator.hook(operator.early, "10.json", "exec sleep 60", "createRuntime", timeout=1)
    done = operator.call("run", "--name", "one", "busybox", "true")
    assert done.code == 125
    assert "hook" in done.err
    assert operator.cli.state_of("one") == "created"


def test_a_hook_that_cannot_be_read_stops_the_start(operator: Operator):
    file = operator.hook(operator.early, "10.json", "true", "createRuntime")
    file.write_text(file.read_text().replace("createRuntime", "create"))
    done = operator.call("run", "--rm", "busybox", "true")
    assert done.code == 125
    assert f"hook {file}: stages: 'create' is none of" in done.err
    report = json.loads(operator.call("doctor", "--format", "json").out)
    seen = [one for section in report["Sections"] for one in section["Findings"]]
    (finding,) = (one for one in seen if one["Name"] == "hooks")
    assert (finding["Status"], str(file) in finding["Seen"]) == ("problem", True)
    file.unlink()
    operator.late.rmdir()
    done = operator.call("run", "--rm", "busybox", "true")
    assert done.code == 125
    assert f"hooks directory {operator.late}: No such file or directory" in done.err

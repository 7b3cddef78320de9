"""``doctor`` on this very host, and where it can see little of one."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import needs
from tests.support.command_line import REPOSITORY, CommandLine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.root, needs("runc", "unshare")]

NOBODY = 65534


@pytest.fixture
def fresh(tmp_path: Path) -> CommandLine:
    """A command line on directories that are not there."""
    return CommandLine(tmp_path)


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {f["Name"]: f["Status"] for s in report["Sections"] for f in s["Findings"]}


def test_this_host_can_run_containers(fresh: CommandLine):
    """It runs those of all the other tests, so no problem can be true of it."""
    done = fresh.call("doctor", "--format", "json")
    report = json.loads(done.out)
    assert [name for name, status in statuses(report).items() if status == "problem"] == []
    assert (done.code, done.err, report["Healthy"]) == (0, "", True)
    assert not fresh.root.exists()
    assert not fresh.state.exists()


@pytest.mark.ways("cold", "warm")
def test_it_sees_the_service(cli: CommandLine):
    """Of a warm command line it is itself a worker of it."""
    report = json.loads(cli.ok("doctor", "--format", "json"))
    warm = "RUNENGINE_LAUNCHER" in cli.environment
    assert statuses(report)["service"] == ("ok" if warm else "note")


def test_a_damaged_configuration_is_its_finding(fresh: CommandLine):
    fresh.config.write_text("{")
    done = fresh.call("doctor", "-q")
    assert done.code == 1
    assert f"configuration file {fresh.config}" in " ".join(done.out.split())


HIDDEN = {
    "no proc": "mount -t tmpfs none /proc",
    "no sys": "mount -t tmpfs none /sys",
    "neither": "mount -t tmpfs none /sys; mount -t tmpfs none /proc",
    "read-only cgroups": "for c in /sys/fs/cgroup/*/; do mount -o bind,ro $c $c; done",
}


@pytest.mark.parametrize("how", HIDDEN.values(), ids=HIDDEN.keys())
def test_where_little_can_be_seen(fresh: CommandLine, how: str):
    """As in a chroot or a container: it says what it cannot see, and never breaks."""
    script = f'mount --make-rprivate / && {{ {how}; }} && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", *fresh.command("doctor")]
    done = run(words, fresh)
    assert done.returncode in (0, 1)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].endswith(("notes", "note"))


def test_another_user(fresh: CommandLine):
    """Whom neither the settings nor the directories are open to."""
    if not os.access(REPOSITORY, os.X_OK) or not REPOSITORY.stat().st_mode & 0o005:
        pytest.skip("other users cannot read the program")
    done = run(fresh.command("doctor", "--format", "json"), fresh, user=NOBODY, group=NOBODY)
    assert done.stderr == ""
    found = statuses(json.loads(done.stdout))
    assert (found["privileges"], found["settings"]) == ("note", "note")
    assert done.returncode == 0


def run(
    words: Sequence[str], cli: CommandLine, **options: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env={**cli.environment, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )

"""``generate systemd`` from the command line to the unit."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.cli import call
from tests.support.systemd_syntax import settings

ID = "ab" * 32


def generate(*args, policy="no", removes=False, **config):
    found = {
        "Id": ID,
        "Name": "/web",
        "Config": {"StopSignal": "", "StopTimeout": None, **config},
        "HostConfig": {"AutoRemove": removes, "RestartPolicy": {"Name": policy}},
    }
    containers = SimpleNamespace(inspect=lambda _: found)
    return call("generate", "systemd", *args, containers=containers)


def setting(result, key):
    assert result.exit_code == 0, result.stderr
    return [value for _, name, value in settings(result.stdout) if name == key]


@pytest.fixture(autouse=True)
def _default_directories(monkeypatch):
    for name in ("RUNENGINE_ROOT", "RUNENGINE_STATE", "RUNENGINE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


def test_the_id_stands_unless_the_name_is_wanted():
    command = "/usr/local/bin/runengine start --attach"
    assert setting(generate("web"), "ExecStart") == [f"{command} {ID}"]
    assert setting(generate("--name", ID), "ExecStart") == [f"{command} web"]


def test_the_containers_own_way_to_stop_is_kept():
    result = generate("web", StopSignal="SIGQUIT", StopTimeout=100)
    assert setting(result, "TimeoutStopSec") == ["115"]
    assert setting(result, "SuccessExitStatus") == ["131"]
    assert setting(result, "ExecStop") == [f"/usr/local/bin/runengine stop {ID}"]


def test_a_stop_time_that_is_asked_for():
    result = generate("-t", "0", "-n", "web", StopTimeout=100)
    assert setting(result, "TimeoutStopSec") == ["15"]
    assert setting(result, "ExecStop") == ["/usr/local/bin/runengine stop --time 0 web"]


@pytest.mark.parametrize("stop_s", [-1, 10**12 + 1, 2**63 - 1])
def test_a_stop_time_that_systemd_cannot_count_is_none(stop_s):
    assert setting(generate("web", StopTimeout=stop_s), "TimeoutStopSec") == ["infinity"]
    assert setting(generate("-t", str(stop_s), "web"), "TimeoutStopSec") == ["infinity"]


def test_other_directories_and_settings_go_along(monkeypatch):
    monkeypatch.setenv("RUNENGINE_STATE", "/run/a b")
    monkeypatch.setenv("RUNENGINE_CONFIG", "/etc/c.json")
    result = generate("-n", "web")
    start = ['/usr/local/bin/runengine --state "/run/a b" start --attach web']
    assert setting(result, "ExecStart") == start
    assert setting(result, "Environment") == ["RUNENGINE_CONFIG=/etc/c.json"]


def test_dependencies():
    result = generate("--requires", "a.service", "--after=b.target", "--wants", "c.service", "web")
    assert setting(result, "Requires") == ["a.service"]
    assert setting(result, "Wants") == ["network-online.target c.service"]
    assert setting(result, "After")[0].endswith("a.service b.target")


def test_a_file_is_written_where_the_caller_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = generate("--files", "--name", "--container-prefix", "c", "--separator", "_", "web")
    assert result.stdout == f"{tmp_path}/c_web.service\n"
    assert (tmp_path / "c_web.service").read_text() == generate(
        "--name", "--container-prefix", "c", "--separator", "_", "web"
    ).stdout
    assert (tmp_path / "c_web.service").stat().st_mode & 0o777 == 0o644


def test_two_that_restart_it_are_warned_of():
    result = generate("web", policy="unless-stopped")
    assert result.exit_code == 0
    assert "policy unless-stopped" in result.stderr
    assert "update --restart no web" in result.stderr
    assert generate("web").stderr == ""


def test_what_stands_for_new_is_told_in_a_page_that_exists():
    told = generate("--new", "web").stderr
    pages = Path(__file__).parents[3] / "docs"
    named = re.findall(r"docs/([\w.-]+\.md)", told)
    assert named
    assert all("run --rm" in (pages / name).read_text() for name in named)


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        (["--new"], {}, "--new is not supported"),
        ([], {"removes": True}, "removed when it ends"),
        (["--restart-policy", "unless-stopped"], {}, "systemd knows no, on-success"),
        (["--restart-sec", "-1"], {}, "cannot be negative"),
        (["--restart-sec", "9999999999999"], {}, "systemd does not count so far"),
        (["--start-timeout", "9999999999999"], {}, "systemd does not count so far"),
        (["--start-timeout", "x"], {}, "not a valid integer"),
        (["--after", "a b"], {}, "invalid --after 'a b'"),
        (["--container-prefix", "a/b"], {}, "invalid --container-prefix"),
    ],
)
def test_what_cannot_be(args, options, words):
    result = generate(*args, "web", **options)
    assert result.exit_code in (1, 125)
    assert words in result.stderr
    assert result.stdout == ""

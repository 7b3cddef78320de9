"""``logs``, ``top``, ``version``, ``info``."""

from __future__ import annotations

import json

from runengine.errors import InvalidParameter
from tests.support.cli import call


class Containers:
    def __init__(self):
        self.asked = {}

    def logs(self, name, *, emit, **options):
        self.asked = {"name": name, **options}
        emit("stdout", b"out \xff\n")
        emit("stderr", b"err\n")

    def top(self, name, ps_args):
        self.asked = {"name": name, "args": ps_args}
        return {"Titles": ["PID", "CMD"], "Processes": [["1", "sh -c\tx"], ["234", "sleep"]]}


VERSION = {
    "Version": "0.1.0",
    "ApiVersion": "1.47",
    "Os": "linux",
    "Arch": "amd64",
    "KernelVersion": "6.1",
    "Components": [
        {"Name": "Engine", "Version": "0.1.0"},
        {"Name": "runc", "Version": "1.1.5"},
    ],
}
INFO = {
    "ID": "x",
    "Name": "host",
    "ServerVersion": "0.1.0",
    "Containers": 3,
    "ContainersRunning": 1,
    "ContainersPaused": 0,
    "ContainersStopped": 2,
    "Images": 4,
    "Driver": "overlay",
    "DriverStatus": [["Backing Filesystem", "ext4"]],
    "MemTotal": 8 << 30,
    "NCPU": 2,
    "Runtimes": {"runc": {"path": "runc"}},
    "SecurityOptions": ["name=seccomp,profile=builtin"],
    "Warnings": ["WARNING: No swap limit support"],
    "RegistryConfig": {"InsecureRegistries": [], "Mirrors": {"docker.io": ["m"]}},
}


class System:
    def version(self):
        return VERSION

    def info(self):
        return INFO


def test_logs_keep_the_streams_apart_and_the_bytes_as_they_are():
    result = call("logs", "box", containers=Containers())
    assert (result.stdout_bytes, result.stderr_bytes) == (b"out \xff\n", b"err\n")


def test_logs_pass_their_options():
    containers = Containers()
    words = ["-ft", "-n", "5", "--since", "10m", "--until=2026-01-02", "--details", "box"]
    call("logs", *words, containers=containers)
    assert containers.asked == {
        "name": "box",
        "stdout": True,
        "stderr": True,
        "follow": True,
        "timestamps": True,
        "tail": "5",
        "since": "10m",
        "until": "2026-01-02",
        "details": True,
    }


def test_logs_have_docker_s_defaults():
    containers = Containers()
    call("container", "logs", "box", containers=containers)
    asked = containers.asked
    assert (asked["tail"], asked["since"], asked["until"]) == ("all", None, None)
    assert [asked[name] for name in ("follow", "timestamps", "details")] == [False] * 3


def test_a_reader_that_has_gone_ends_the_program_quietly(monkeypatch):
    class Gone(Containers):
        def logs(self, name, **options):
            raise BrokenPipeError

    monkeypatch.setattr("runengine.cli.main._stdout_is_gone", lambda: True)
    result = call("logs", "box", containers=Gone())
    assert (result.exit_code, result.stderr) == (141, "")


def test_top_passes_ps_options_and_aligns():
    containers = Containers()
    result = call("top", "box", "-eo", "pid,cmd", "--help", containers=containers)
    assert containers.asked == {"name": "box", "args": ["-eo", "pid,cmd", "--help"]}
    assert result.stdout.splitlines() == [
        "PID                 CMD",
        "1                   sh -c x",
        "234                 sleep",
    ]


def test_version():
    text = call("version", system=System()).stdout
    assert " Version:          0.1.0\n" in text
    assert " runc:\n  Version:         1.1.5\n" in text


def test_version_formats():
    def shown(form):
        return call("version", "--format", form, system=System()).stdout

    assert shown("{{.Server.Version}} {{.Client.ApiVersion}}") == "0.1.0 1.47\n"
    assert json.loads(shown("json"))["Server"] == VERSION
    assert json.loads(shown("{{json .Client}}")) == {**VERSION, "Context": "default"}


def test_info():
    result = call("system", "info", system=System())
    counts = "Containers: 3\n Running: 1\n Paused: 0\n Stopped: 2\nImages: 4\n"
    assert result.stdout.startswith(counts)
    assert "Storage Driver: overlay\n Backing Filesystem: ext4\n" in result.stdout
    assert "Total Memory: 8GiB\n" in result.stdout
    assert "Security Options:\n name=seccomp,profile=builtin\n" in result.stdout
    assert "Insecure Registries" not in result.stdout
    assert "Registry Mirrors:\n docker.io\n" in result.stdout
    assert result.stderr == "WARNING: No swap limit support\n"


def test_info_formats():
    assert call("info", "-f", "{{.Driver}} {{.NCPU}}", system=System()).stdout == "overlay 2\n"
    assert json.loads(call("info", "-f", "json", system=System()).stdout) == INFO


def test_what_the_manager_refuses_is_an_error():
    class Refuses(Containers):
        def logs(self, name, **options):
            raise InvalidParameter("invalid time 'x'", resolution="use a duration (42m)")

    result = call("logs", "--since", "x", "box", containers=Refuses())
    assert result.stderr == "Error: invalid time 'x' (use a duration (42m))\n"

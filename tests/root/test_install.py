"""Installing from a checkout into a directory of the test's own, upgrading, and taking it away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.capabilities import needs

pytestmark = [pytest.mark.root, pytest.mark.timeout(600), needs("busybox", "runc", "overlay")]

REPOSITORY = Path(__file__).parents[2]
WHEELS = REPOSITORY / ".venv/wheels"
"""Packages to install from: a lane has no network, so ``scripts/test`` gets them before."""
UNITS = {"runengine.service", "runengine.socket", "runengine-containers.service"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    if (WHEELS / ".runengine-stamp").exists():
        return WHEELS
    directory = tmp_path_factory.mktemp("wheels")
    checkout = copy_checkout(tmp_path_factory.mktemp("source"))
    pip = [
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--retries", "0"),
        *("--wheel-dir", str(directory)),
    ]
    done = subprocess.run(
        [*pip, str(checkout), "setuptools>=66", "wheel"], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"pip cannot get the dependencies: {done.stderr.decode().splitlines()[-1]}")
    return directory


def copy_checkout(directory):
    """The checkout as scripts/install needs it."""
    copy = directory / "checkout"
    copy.mkdir()
    for name in ("runengine", "scripts", "systemd"):
        shutil.copytree(
            REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    return copy


class Host(NamedTuple):
    """Where everything goes."""

    base: Path
    checkout: Path
    wheels: Path

    @property
    def places(self):
        return [f"--prefix={self.base}/opt", "--bin", f"{self.base}/bin",
                "--unit-dir", f"{self.base}/units"]

    @property
    def environment(self):
        return {
            **os.environ,
            "PATH": f"{self.base}/bin:{os.environ['PATH']}",
            # Most of what an installation takes, for programs that are started but a few times.
            "PIP_NO_COMPILE": "1",
            "RUNENGINE_ROOT": f"{self.base}/root",
            "RUNENGINE_STATE": f"{self.base}/state",
            "RUNENGINE_CONFIG": f"{self.base}/config.json",
        }

    def call(self, *words):
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )

    def ok(self, *words):
        done = self.call(*words)
        assert done.returncode == 0, done
        return done.stdout

    def install(self):
        venv, kept = f"{self.base}/opt/venv", f"{self.base}/kept"
        if os.path.isdir(kept) and not os.path.exists(venv):
            # To make it anew takes ten seconds. What it is made of is not what is tested then.
            os.makedirs(os.path.dirname(venv), exist_ok=True)
            self.ok("cp", "-al", "--", kept, venv)
        output = self._install()
        self.ok("rm", "-rf", kept)
        self.ok("cp", "-al", "--", venv, kept)
        return output

    def _install(self):
        options = ["--wheels", str(self.wheels), "--no-packages", "--no-start"]
        return self.ok(f"{self.checkout}/scripts/install", *options, *self.places)

    def names(self):
        """What is there, without what this class keeps."""
        return {path.name for path in self.base.iterdir()} - {"kept"}

    def uninstall(self, *options):
        return self.call(f"{self.checkout}/scripts/uninstall", *options, *self.places)

    def run(self, *words):
        return self.ok(f"{self.base}/bin/runengine", *words).strip()


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory, wheels):
    """One installation for the module: making the environment takes its time."""
    base = tmp_path_factory.mktemp("host")
    found = Host(base, copy_checkout(base), wheels)
    yield found
    if (base / "bin/runengine").exists():
        found.uninstall("--purge")


@pytest.fixture
def host(shared_host):
    """An installation with the default image and without containers."""
    (shared_host.base / "config.json").write_text("{}")
    if not (shared_host.base / "bin/runengine").exists():
        shared_host.install()
    shared_host.run("image", "default")
    yield shared_host
    if (shared_host.base / "bin/runengine").exists():
        for container in shared_host.run("ps", "-aq").split():
            shared_host.run("rm", "-f", container)
        shared_host.run("system", "leave")


def test_what_is_installed(host):
    assert host.run("--version").startswith("runengine version ")
    assert {path.name for path in (host.base / "units").iterdir()} == UNITS
    for path in (host.base / "units").iterdir():
        assert path.stat().st_mode & 0o777 == 0o644
        assert "/usr/local/bin" not in path.read_text()
    service = (host.base / "units/runengine.service").read_text()
    assert f"\nExecStart={host.base}/bin/runengine serve\n" in service
    assert "neither enabled nor started" in host.install()


TYPED = """
    . "$1/share/bash-completion/completions/runengine"
    compopt() { :; }
    for COMP_LINE in "${@:2}"; do
        COMP_POINT=${#COMP_LINE}
        _runengine
        echo "${COMPREPLY[*]}"
    done
"""


def test_bash_completes_by_what_is_there(host):
    host.run("create", "--name", "web", "runengine/busybox", "true")
    lines = {
        "runengine contai": "container",
        "runengine rm w": "web",
        "runengine rmi runengine/busybox:": "latest",
        "runengine run --network=ho": "host",
        "runengine run --rm --pull ": "always missing never newer",
        "runengine nothing ": "",
    }
    assert host.ok("bash", "-c", TYPED, "bash", str(host.base), *lines).splitlines() == [
        *lines.values()
    ]
    installed = {path.name for path in (host.base / "share").rglob("*") if path.is_file()}
    assert installed == {"runengine", "runengine.fish", "_runengine"}


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_units(host):
    for name in UNITS:
        done = host.call("systemd-analyze", "verify", f"{host.base}/units/{name}")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_a_generated_unit(host, tmp_path):
    host.run("create", "--name", "web", "runengine/busybox", "true")
    text = host.run("generate", "systemd", "--name", "web")
    (tmp_path / "container-web.service").write_text(text)
    done = host.call("systemd-analyze", "verify", f"{tmp_path}/container-web.service")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_upgrade_leaves_containers_alone(host):
    host.run("run", "-d", "--name", "web", "runengine/busybox", "sh", "-c",
             "trap 'exit 9' USR1; while :; do sleep 0.1; done")
    init = host.run("inspect", "--format", "{{.State.Pid}}", "web")
    version = host.checkout / "runengine/__init__.py"
    old = host.run("--version").split()[-1]
    version.write_text(version.read_text().replace(f'"{old}"', '"99.9"'))
    host.install()
    assert host.run("--version") == "runengine version 99.9"
    assert host.run("inspect", "--format", "{{.State.Pid}}", "web") == init
    host.run("kill", "--signal", "USR1", "web")
    assert host.run("wait", "web") == "9"


def test_uninstalling_stops_containers_and_keeps_them(host):
    host.run("run", "-d", "--name", "web", "-t", "runengine/busybox", "sh", "-c",
             "trap 'exit 9' TERM; while :; do sleep 0.1; done")
    done = host.uninstall()
    assert done.returncode == 0, done
    left = host.names()
    assert left == {"bin", "checkout", "config.json", "root", "share", "state", "units"}
    assert not any((host.base / "bin").iterdir())
    assert not any((host.base / "units").iterdir())
    assert not [path for path in (host.base / "share").rglob("*") if path.is_file()]
    host.install()
    assert host.run("inspect", "--format", "{{.State.ExitCode}}", "web") == "9"


def test_purging_never_goes_through_a_mount(host, tmp_path):
    mounted = host.base / "root/containers/x/merged"
    mounted.mkdir(parents=True)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    host.ok("mount", "--bind", str(precious), str(mounted))
    try:
        done = host.uninstall("--purge")
    finally:
        host.ok("umount", str(mounted))
    assert done.returncode == 1
    assert f"Error: {mounted} is mounted" in done.stderr
    assert (precious / "file").read_text() == "mine"
    assert host.run("ps", "-q") == ""


def test_a_directory_of_somebody_else_is_not_purged(host, tmp_path):
    (tmp_path / "letter").write_text("mine")
    done = host.call(
        "env", f"RUNENGINE_ROOT={tmp_path}", f"{host.checkout}/scripts/uninstall", "--purge",
        *host.places,
    )
    assert done.returncode == 1
    assert f"{tmp_path} has no state.db" in done.stderr
    assert (tmp_path / "letter").exists()


def test_purging_leaves_nothing(host):
    host.run("run", "-d", "runengine/busybox", "sleep", "1000")
    done = host.uninstall("--purge")
    assert done.returncode == 0, done
    assert host.names() == {"bin", "checkout", "share", "units"}


@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        ("install", ["--prefix"], "--prefix needs a value"),
        ("install", ["--prefix="], "--prefix needs a value"),
        ("install", ["--prefix", "relative"], "absolute path"),
        ("install", ["--bin", "/a b"], "absolute path"),
        ("install", ["--prefix", "/" + "x" * 300], "too long"),
        ("install", ["--wheels", "/nowhere"], "no such directory"),
        ("install", ["--purge"], "unknown argument --purge"),
        ("uninstall", ["--no-start"], "unknown argument --no-start"),
        ("uninstall", ["--unit-dir", "a'b"], "absolute path"),
    ],
)
def test_refused_options(script, options, words):
    done = subprocess.run(
        [f"{REPOSITORY}/scripts/{script}", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("script", ["install", "uninstall"])
def test_help(script):
    done = subprocess.run(
        [f"{REPOSITORY}/scripts/{script}", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: scripts/{script} ")


def test_a_directory_in_the_place_of_the_environment_is_kept(tmp_path):
    (tmp_path / "opt/venv").mkdir(parents=True)
    (tmp_path / "opt/venv/letter").write_text("mine")
    done = subprocess.run(
        [f"{REPOSITORY}/scripts/install", "--no-packages", "--no-start", "--prefix",
         f"{tmp_path}/opt", "--bin", f"{tmp_path}/bin", "--unit-dir", f"{tmp_path}/units"],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert (tmp_path / "opt/venv/letter").exists()


def test_somebody_elses_environment_is_kept(tmp_path):
    """Neither filled by an installation, nor taken away with the program."""
    (tmp_path / "opt/venv").mkdir(parents=True)
    for name in ("pyvenv.cfg", "letter"):
        (tmp_path / "opt/venv" / name).write_text("mine")
    where = ["--prefix", f"{tmp_path}/opt", "--bin", f"{tmp_path}/bin"]
    where += ["--unit-dir", f"{tmp_path}/units"]
    done = subprocess.run(
        [f"{REPOSITORY}/scripts/install", "--no-packages", "--no-start", *where],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "an environment of something else" in done.stderr
    data = {"RUNENGINE_ROOT": f"{tmp_path}/root", "RUNENGINE_STATE": f"{tmp_path}/run"}
    done = subprocess.run(
        [f"{REPOSITORY}/scripts/uninstall", *where],
        capture_output=True, text=True, check=False, env={**os.environ, **data},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "is not runengine's and stays" in done.stdout
    assert (tmp_path / "opt/venv/letter").exists()

"""The program as scripts/install leaves it, with its own directories and units."""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runengine import Engine
from runengine.paths import Paths
from tests.support import vm_carry
from tests.support.vm_image import NEWER_RUNC, PREFIX, PREPARED, WHEELS

if TYPE_CHECKING:
    from collections.abc import Callable

TREE = Path(__file__).parents[3]
NEWER = Path(vm_carry.CARRY, vm_carry.NEWER)
COMMAND = "/usr/local/bin/runengine"
ROOT, STATE = "/var/lib/runengine", "/run/runengine"
CONFIG = Path("/etc/runengine/config.json")
UNITS = ("runengine.service", "runengine.socket", "runengine-containers.service")
PATIENCE_S = 300.0

# A pause without a process of its own, which costs so much here that a dozen containers with a
# sleep in a loop would leave nothing for the rest.
BED = "[ -p /bed ] || mkfifo /bed; exec 3<>/bed"
NAP = "read -t 0.5 -u 3 nothing"
# Tells whether anything it said was lost, and whether it was asked to go.
COUNTER = (
    f"trap 'echo bye; exit 7' TERM; {BED}; i=0;"
    f" while :; do i=$((i+1)); echo $i; {NAP}; done"
)
# Ends once there is a file /go, with the exit code that follows.
UNTIL_GO = f"{BED}; while [ ! -e /go ]; do {NAP}; done; exit"


def install(tree: Path = TREE) -> str:
    """Install as an operator would, where the program itself is in its place already.

    How the script makes that is tested where nothing is emulated: here it takes minutes.
    """
    if not Path(PREFIX).exists():
        run("cp", "-al", PREPARED, PREFIX)
    run("cp", "-a", f"{vm_carry.CARRY}/{vm_carry.PROGRAMS}/{tree.name}/.", PREFIX)
    words = ["scripts/install", "--no-packages", "--wheels", WHEELS]
    done = subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return str(done.stdout)


def configure() -> None:
    """Let the engine know the newer of the two runtimes."""
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text(json.dumps({"runtimes": {"newer": [NEWER_RUNC]}}))


def run(*words: str, **options: Any) -> str:
    """Any command that must succeed; what it says on stdout."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done
    return str(done.stdout).strip()


def ok(*arguments: str) -> str:
    """``runengine ARGUMENTS``, which must succeed."""
    return run(COMMAND, *arguments)


def systemctl(*words: str) -> str:
    """``systemctl WORDS``, which must succeed."""
    return run("systemctl", *words)


def is_active(unit: str) -> bool:
    """Whether systemd says so."""
    command = ["systemctl", "is-active", "--quiet", unit]
    return subprocess.run(command, check=False).returncode == 0


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what must come; emulation is slow."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.3)


def state(name: str) -> dict[str, Any]:
    """A container's State."""
    found: dict[str, Any] = states(name)[name]["State"]
    return found


def states(*names: str) -> dict[str, dict[str, Any]]:
    """What ``inspect`` shows of containers, by the library: a command costs ten times as much."""
    with Engine.open(Paths(ROOT, STATE)) as engine:
        return {name: engine.containers.inspect(name) for name in names}


def start(name: str, script: str, *flags: str) -> None:
    """A detached container that runs a shell script."""
    ok("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", script)


def start_together(*containers: tuple[str, ...]) -> None:
    """Several, with the arguments of ``start``, as many at once as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda words: start(*words), containers):
            continue


def remove_all() -> None:
    """Remove every container."""
    names = ok("ps", "-aq").split()
    if names:
        ok("rm", "-f", *names)


def inside(pid: int, path: str) -> Path:
    """A file as that process sees it."""
    return Path(f"/proc/{pid}/root{path}")


def parent(pid: int) -> int:
    """Of a container's init that is its monitor."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def service_pid() -> int:
    """The launcher's."""
    return int(systemctl("show", "--property=MainPID", "--value", "runengine.service"))


def prove_counted(name: str) -> None:
    """Nothing of what a COUNTER said is missing, and it said goodbye."""
    lines = ok("logs", name).splitlines()
    assert lines[-1] == "bye"
    assert lines[:-1] == [str(number) for number in range(1, len(lines))]


def is_ours() -> bool:
    """Whether this is the guest: what follows belongs on no other host."""
    return "RUNENGINE_GUEST" in os.environ and Path("/carry/plan.json").exists()

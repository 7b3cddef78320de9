"""The guest's links: a namespace that stands for the world outside, and what the engine makes."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.vm.guest.installed import COMMAND, ok, run, start

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTSIDE = "outside"
HOST_IP, OUTSIDE_IP = "192.0.2.1", "192.0.2.2"
NETWORK, SUBNET = "mine", "10.77.0.0/24"
WEB = "mkdir -p /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www"
"""A container's command: a web server that says its host name."""
RESOLVER = "runengine-dns"
LISTENS_S = 30.0
_VETH = re.compile(r"\bve[0-9a-f]{12}\b")


def lay() -> None:
    """A wire from the guest to ``outside``, until the guest goes down."""
    if Path(f"/run/netns/{OUTSIDE}").exists():
        return
    run("ip", "netns", "add", OUTSIDE)
    run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", OUTSIDE)
    run("ip", "address", "add", f"{HOST_IP}/24", "dev", "wire")
    run("ip", "link", "set", "wire", "up")
    run("ip", "-n", OUTSIDE, "address", "add", f"{OUTSIDE_IP}/24", "dev", "wire")
    run("ip", "-n", OUTSIDE, "link", "set", "wire", "up")


def get(url: str, *, outside: bool = True) -> str:
    """What a web server answers to the world outside, or to the guest itself."""
    place = ("ip", "netns", "exec", OUTSIDE) if outside else ()
    return _answer(*place, "busybox", "wget", "-q", "-T", "30", "-O", "-", url)


def get_from(container: str, url: str) -> str:
    """What it answers to a container."""
    return _answer(COMMAND, "exec", container, "wget", "-q", "-T", "30", "-O", "-", url)


def _answer(*words: str) -> str:
    """What a client prints. A web server listens a moment after its container runs."""
    deadline = time.monotonic() + LISTENS_S
    while True:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
        assert "refused" in done.stderr, done
        assert time.monotonic() < deadline, done
        time.sleep(0.3)


def web(name: str, *flags: str) -> None:
    """A container that serves its name, and whose stop takes no time."""
    start(name, WEB, "--hostname", name, "--stop-signal=KILL", *flags)


def address(name: str, network: str = NETWORK) -> str:
    """What a container has on a network."""
    form = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    return ok("inspect", "--format", form, name)


def ensure_network() -> None:
    """The network of the user's."""
    if NETWORK not in ok("network", "ls", "--format", "{{.Name}}").split():
        ok("network", "create", "--subnet", SUBNET, NETWORK)


def device(network: str = NETWORK) -> str:
    """A network's bridge."""
    return "br-" + ok("network", "inspect", "--format", "{{.Id}}", network)[:12]


def resolvers() -> list[int]:
    """Pids of the processes that answer for names."""
    return [int(path.parent.name) for path in _comms() if _read(path) == f"{RESOLVER}\n"]


def _comms() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*/comm")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def mentions(*words: str) -> list[str]:
    """Lines about links and the firewall with one of ``words``."""
    return [line for line in _lines() if any(word in line for word in words)]


def left(*words: str) -> list[str]:
    """The same, and those about any container's link: for when there is no container."""
    return [line for line in _lines() if _VETH.search(line)] + mentions(*words)


def _lines() -> list[str]:
    return run("ip", "-o", "link").splitlines() + run("nft", "list", "ruleset").splitlines()

"""Pushes to a loopback registry: all of an image, and one that is there already."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import namespace
from scripts.bench import image_data
from scripts.bench.harness import check_run, interleave, report
from scripts.bench.peers import COLD, DOCKER, PODMAN, WARM, Peer
from scripts.bench.verdicts import Budget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scripts.bench.bench import Bench
    from scripts.bench.image_data import Image

LAYERS = 3
BYTES, QUICK_BYTES = 300 * 10**6, 90 * 10**6
FLOOR = "curl"
STORAGE = "push-registry"
LARGE = (Budget(WARM, {DOCKER: 0.6, PODMAN: 0.6}), Budget(COLD, {DOCKER: 0.6, PODMAN: 0.6}))
SMALL = (Budget(WARM, {DOCKER: 0.6, PODMAN: 0.6}), Budget(COLD, {}))
_CURL = """
at=$(curl -sf -D - -o /dev/null -X POST {url}/uploads/ | tr -d '\\r' | sed -n 's/^Location: //p')
curl -sf -o /dev/null -T {path} "$at&digest={digest}"
"""


class Case(NamedTuple):
    """One image that every engine has."""

    title: str
    image: Image
    reference: str


def measure(bench: Bench) -> None:
    """Push each image with every engine in turn, to a registry that has nothing; then again."""
    hosts = {peer.host.inside: peer.host for peer in bench.found.values()}
    with ExitStack() as stack:
        for host in hosts.values():
            stack.enter_context(image_data.registry(bench.scratch / STORAGE, host))
        large, small = cases(bench)
        measure_case(bench, large, bench.choose(7, 3), LARGE)
        measure_case(bench, small, bench.choose(15, 5), SMALL)
        measure_again(bench, small)


def cases(bench: Bench) -> list[Case]:
    """The images, at the registry and with every engine."""
    work = bench.scratch / "pushes"
    work.mkdir()
    size = QUICK_BYTES if bench.quick else BYTES
    contents = {
        f"push of {size / 1e6:.0f} MB in {LAYERS} gzip layers": image_data.host_files(
            work, LAYERS, size // LAYERS
        ),
        "push of a small image": [image_data.small_files(work, 100)],
    }
    made = []
    for number, (title, archives) in enumerate(contents.items()):
        image = image_data.image(work, f"push-{number}", archives)
        reference = image_data.upload(image, f"push/{number}:1", bench.found[COLD].host)
        for name, peer in bench.found.items():
            if name != COLD:  # it has what the warm one has
                peer.run("pull", "--quiet", *tls(peer), reference)
        made.append(Case(title, image, reference))
    return made


def measure_case(bench: Bench, case: Case, rounds: int, budgets: tuple[Budget, ...]) -> None:
    """Every engine, and the floor, in turn; the registry forgets everything after each."""
    data = bench.scratch / STORAGE / "data"
    actions: dict[str, Callable[[], object]] = {FLOOR: partial(floor, bench.found[COLD], case)}
    actions |= {peer.name: partial(push, peer, case) for peer in bench.found.values()}
    undo = dict.fromkeys(actions, partial(empty, bench.scratch, data))
    empty(bench.scratch, data)
    title = f"{case.title} ({case.image.tar_bytes / 1e6:.0f} MB unpacked)"
    report(title, interleave(actions, rounds, undo=undo, warm_up=1), budgets)


def measure_again(bench: Bench, case: Case) -> None:
    """Pushes of what the registry has."""
    push(bench.found[COLD], case)
    actions = {peer.name: partial(push, peer, case) for peer in bench.found.values()}
    report(f"{case.title}, that is there", interleave(actions, bench.choose(15, 5)), SMALL)


def tls(peer: Peer) -> list[str]:
    """Podman takes this machine for any other."""
    return ["--tls-verify=false"] if peer.name == PODMAN else []


def push(peer: Peer, case: Case) -> None:
    """Bring the image to the registry."""
    peer.run("push", "--quiet", *tls(peer), case.reference)


def empty(scratch: Path, data: Path) -> None:
    """The registry has nothing again, and nothing is left to be written."""
    shutil.rmtree(data, ignore_errors=True)
    check_run(["sync", "-f", str(scratch)])


def floor(peer: Peer, case: Case) -> None:
    """What it takes at least: the layers by curl, all at once."""
    url = f"http://{case.reference.replace('/', '/v2/', 1).rpartition(':')[0]}/blobs"
    with namespace.entered(peer.host.inside):
        running = [
            subprocess.Popen(
                ["sh", "-ec", _CURL.format(url=url, digest=digest, path=blob(case, digest))]
            )
            for digest in case.image.layers
        ]
    if any(list(map(subprocess.Popen.wait, running))):
        sys.exit("bench: curl failed")


def blob(case: Case, digest: str) -> Path:
    """A layer in the layout that was uploaded."""
    return case.image.layout / "blobs/sha256" / digest.removeprefix("sha256:")

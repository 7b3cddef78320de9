"""Cold pulls from a loopback registry: a large image, one of small files, a small one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import namespace
from scripts.bench import image_data
from scripts.bench.harness import check_run, host_facts, interleave, print_table, report
from scripts.bench.peers import COLD, DOCKER, PODMAN, WARM, Peer
from scripts.bench.processes import GONE, family
from scripts.bench.verdicts import Budget, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scripts.bench.bench import Bench
    from scripts.bench.image_data import Image

LAYERS = 5
LARGE_BYTES, QUICK_LARGE_BYTES = 1230 * 10**6, 400 * 10**6
FILES, QUICK_FILES = 50_000, 10_000
FLOOR = "curl, igzip, tar"
PEAK_LIMIT_MB = 150
SAMPLE_S = 0.05
LARGE = (Budget(WARM, {DOCKER: 0.3, PODMAN: 0.45}), Budget(COLD, {DOCKER: 0.3, PODMAN: 0.45}))
SMALL = (Budget(WARM, {DOCKER: 0.5, PODMAN: 0.5}), Budget(COLD, {}))


class Case(NamedTuple):
    """One image to pull."""

    title: str
    image: Image
    reference: str


def measure(bench: Bench) -> None:
    """Pull each image with every engine in turn, with nothing of it there; then weigh them."""
    hosts = {peer.host.inside: peer.host for peer in bench.found.values()}
    with ExitStack() as stack:
        for host in hosts.values():
            stack.enter_context(image_data.registry(bench.scratch / "registry", host))
        large, files, small = cases(bench)
        measure_case(bench, large, bench.choose(5, 3), LARGE, synced=True)
        measure_memory(bench, large)
        measure_case(bench, files, bench.choose(5, 3), LARGE)
        measure_case(bench, small, bench.choose(15, 5), SMALL)


def cases(bench: Bench) -> list[Case]:
    """The images, uploaded."""
    work = bench.scratch / "images"
    work.mkdir()
    host = bench.found[COLD].host
    size = QUICK_LARGE_BYTES if bench.quick else LARGE_BYTES
    count = QUICK_FILES if bench.quick else FILES
    large = image_data.host_files(work, LAYERS, size // LAYERS)
    contents = {
        "large": large,
        "files": [image_data.small_files(work, count)],
        "small": [small_archive(bench.scratch, work)],
    }
    titles = {
        "large": f"pull of {size / 1e9:.2f} GB in {LAYERS} gzip layers",
        "files": f"pull of {count} small files",
        "small": "pull of a small image",
    }
    made = []
    for name, archives in contents.items():
        image = image_data.image(work, name, archives)
        reference = image_data.upload(image, f"bench/{name}:1", host)
        made.append(Case(titles[name], image, reference))
    check_run(["sync", "-f", str(work)])
    return made


def small_archive(scratch: Path, work: Path) -> Path:
    """Busybox, but not in the layer that every engine has already."""
    target = work / "small.tar"
    check_run(["tar", "-C", str(scratch), "-cf", str(target), "rootfs"])
    return target


def measure_case(
    bench: Bench, case: Case, rounds: int, budgets: tuple[Budget, ...], *, synced: bool = False
) -> None:
    """Every engine, and the floor, in turn.

    With ``synced`` those that leave the writing to the kernel also until all is on disk, which
    our pulls always wait for.
    """
    actions: dict[str, Callable[[], object]] = {}
    undo: dict[str, Callable[[], object]] = {}
    target = bench.scratch / "floor-pull"
    actions[FLOOR] = partial(floor, bench.found[COLD], case, target)
    undo[FLOOR] = partial(check_run, ["rm", "-rf", str(target)])
    for peer in bench.found.values():
        actions[peer.name] = partial(pull, peer, case)
        undo[peer.name] = partial(forget, peer, case)
        if synced and peer.name in (DOCKER, PODMAN):
            name = f"{peer.name}, on disk"
            actions[name] = partial(settle, bench.scratch, actions[peer.name])
            undo[name] = undo[peer.name]
    settled = {name: partial(settle, bench.scratch, action) for name, action in undo.items()}
    title = f"{case.title} ({case.image.tar_bytes / 1e6:.0f} MB)"
    report(title, interleave(actions, rounds, undo=settled, warm_up=1), budgets)


def pull(peer: Peer, case: Case) -> None:
    """Bring the image."""
    tls = ["--tls-verify=false"] if peer.name == PODMAN else []
    peer.run("pull", "--quiet", *tls, case.reference)


def forget(peer: Peer, case: Case) -> None:
    """Remove it with all its layers."""
    peer.run("rmi", "-f", case.reference)


def settle(scratch: Path, action: Callable[[], object]) -> None:
    """Do it, and leave nothing to be written to the next one's account."""
    action()
    check_run(["sync", "-f", str(scratch)])


def floor(peer: Peer, case: Case, target: Path) -> None:
    """What it takes at least: each layer through three programs, all at once."""
    url = f"http://{image_data.REGISTRY}/v2/bench/{case.reference.split('/')[2].split(':')[0]}"
    with namespace.entered(peer.host.inside):
        running = [
            subprocess.Popen(["sh", "-c", _pipeline(f"{url}/blobs/{digest}", target / digest)])
            for digest in case.image.layers
        ]
    if any(list(map(subprocess.Popen.wait, running))):
        sys.exit("bench: curl, igzip or tar failed")


def _pipeline(url: str, target: Path) -> str:
    target.mkdir(parents=True)
    inflate = f"{sys.executable} -m isal.igzip -d -c"
    return f"curl -sf {url} | {inflate} | tar -C {target} -xpf -"


class Peak(NamedTuple):
    """The most memory that was in use at one time, MB."""

    rss: float
    pss: float


def measure_memory(bench: Bench, case: Case) -> None:
    """Weigh the processes of each engine during one more pull, over what they weigh idle."""
    title = f"peak memory of the {case.title}"
    print(f"\n### {title}\n\nOf all processes, above the idle service; {host_facts()}\n")
    lines = [["", "RSS MB", "PSS MB"], ["---"] * 3]
    for peer in bench.found.values():
        with watched() as peaks:
            pull(peer, case)
        forget(peer, case)
        [peak] = peaks
        cell = f"{peak.pss:.0f}"
        if peer.name in (WARM, COLD):
            cell += f" ({judge(f'{peer.name}: {title}, MB', '', peak.pss, PEAK_LIMIT_MB)})"
        lines.append([peer.name, f"{peak.rss:.0f}", cell])
    print_table(lines)


@contextmanager
def watched() -> Iterator[list[Peak]]:
    """Look at the processes again and again; the list has the peak when the block has ended."""
    peaks: list[Peak] = []
    ended = threading.Event()
    idle = in_use()
    most = [idle.rss, idle.pss]

    def watch() -> None:
        while not ended.is_set():
            now = in_use()
            most[:] = max(most[0], now.rss), max(most[1], now.pss)
            time.sleep(SAMPLE_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()
    peaks.append(Peak(most[0] - idle.rss, most[1] - idle.pss))


def in_use() -> Peak:
    """Memory of all that descends from the benchmark: what is shared counts once in PSS."""
    rss = pss = 0
    for pid in family(os.getpid())[1:]:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except GONE:
            continue
        figures = dict(line.split()[:2] for line in text.splitlines()[1:])
        rss, pss = rss + int(figures["Rss:"]), pss + int(figures["Pss:"])
    return Peak(rss * 1024 / 1e6, pss * 1024 / 1e6)

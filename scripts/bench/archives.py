"""``save`` and ``load`` of 100 MB, ``commit`` and ``export`` of 5,000 files, beside ``tar``."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING

from scripts.bench import image_data
from scripts.bench.harness import check_run, interleave, report
from scripts.bench.peers import COLD, DOCKER, IMAGE, PODMAN, WARM, Peer
from scripts.bench.verdicts import Budget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scripts.bench.bench import Bench

    Actions = dict[str, Callable[[], object]]

TOTAL_BYTES = 100 * 10**6
FILES = 5000
FEW = 4
FLOOR = "tar"
BOX = "box"
ARCHIVE = (Budget(WARM, {DOCKER: 0.4}), Budget(COLD, {DOCKER: 0.4}))
COMMIT = (Budget(WARM, {PODMAN: 0.6}), Budget(COLD, {}))
EXPORT = (Budget(WARM, {}), Budget(COLD, {}))


def measure(bench: Bench) -> None:
    """Two images of one size, of many files and of few; then a container with many files."""
    work = bench.scratch / "archives"
    work.mkdir()
    rounds = bench.choose(9, 3)
    for count, title in ((FILES, f"{FILES} files"), (FEW, f"{FEW} files")):
        tree = make_tree(work / f"tree-{count}", count)
        measure_image(bench, tree, f"100 MB in {title}", rounds)
        shutil.rmtree(tree)
    archive = image_data.small_files(work, FILES)
    measure_container(bench, archive, rounds)
    bench.clear()


def make_tree(root: Path, count: int) -> Path:
    """Files of one size, half of each random, half of it text."""
    size = TOTAL_BYTES // count
    for number in range(count):
        folder = root / f"directory-{number // image_data.SMALL_FILES_PER_DIRECTORY:03}"
        folder.mkdir(parents=True, exist_ok=True)
        text = b"%08d: a line of text as logs and programs have it\n" % number
        half = (text * (size // len(text)))[: size // 2]
        (folder / f"file-{number:05}").write_bytes(os.urandom(size // 2) + half)
    return root


def measure_image(bench: Bench, tree: Path, title: str, rounds: int) -> None:
    """All engines have the same image and load the same archive."""
    work, name = tree.parent, f"bench/{tree.name}:1"
    source, common = work / "image.tar", work / "common.tar"
    check_run(["tar", "-C", str(tree), "-cf", str(source), "."])
    peers = bench.found
    for peer in peers.values():
        if peer.name != WARM:  # its images are those of the cold one
            peer.run("import", str(source), name)
    peers[COLD].run("save", "-o", str(common), name)
    saves: Actions = {FLOOR: partial(pack, tree, work / "floor.tar")}
    loads: Actions = {FLOOR: partial(unpack, source, work / "unpacked")}
    forget: Actions = {FLOOR: partial(shutil.rmtree, work / "unpacked")}
    for peer in peers.values():
        saves[peer.name] = partial(peer.run, "save", "-o", str(work / f"{peer.name}.tar"), name)
        loads[peer.name] = partial(peer.run, "load", "-q", "-i", str(common))
        forget[peer.name] = partial(remove_image, peer, name)
    discard = {each: partial(remove_archives, work, common, source) for each in saves}
    report(f"save of {title}", interleave(saves, rounds, undo=discard), ARCHIVE)
    for peer in peers.values():
        if peer.name != WARM:
            remove_image(peer, name)
    report(f"load of {title}", interleave(loads, rounds, undo=forget), ARCHIVE)
    for path in (source, common):
        path.unlink()


def pack(tree: Path, target: Path) -> None:
    """What ``save`` cannot do without: one copy of all the bytes."""
    check_run(["tar", "-C", str(tree), "-cf", str(target), "."])


def unpack(source: Path, target: Path) -> None:
    """What ``load`` cannot do without: the files, on the disk."""
    target.mkdir()
    check_run(["tar", "-C", str(target), "-xf", str(source)])
    check_run(["sync", "-f", str(target)])


def remove_archives(work: Path, *kept: Path) -> None:
    """What the last action has written."""
    for path in work.glob("*.tar"):
        if path not in kept:
            path.unlink()


def remove_image(peer: Peer, name: str) -> None:
    """Podman puts a name without a registry under ``localhost``."""
    found = peer.run("images", "-q", "--no-trunc", name).split()
    peer.run("rmi", "-f", *dict.fromkeys(found))


def measure_container(bench: Bench, archive: Path, rounds: int) -> None:
    """A stopped container that has unpacked an archive in its writable layer."""
    work, name = archive.parent, "bench/committed:1"
    tree = work / "floor"
    tree.mkdir()
    check_run(["tar", "-C", str(tree), "-xf", str(archive)])
    commits: Actions = {FLOOR: partial(pack, tree, work / "floor.tar")}
    exports: Actions = dict(commits)
    undo: Actions = {FLOOR: partial(remove_archives, work, archive)}
    for peer in bench.found.values():
        if peer.name != WARM:
            mount = f"{archive}:/archive.tar:ro"
            words = ("--name", BOX, "--network", "none", "-v", mount, IMAGE)
            peer.run("run", *words, "tar", "-C", "/etc", "-xf", "/archive.tar")
        commits[peer.name] = partial(peer.run, "commit", BOX, name)
        target = work / f"{peer.name}.tar"
        exports[peer.name] = partial(peer.run, "export", "-o", str(target), BOX)
        undo[peer.name] = partial(remove_image, peer, name)
    title = f"commit of a container with {FILES} files"
    report(title, interleave(commits, rounds, undo=undo), COMMIT)
    discard = {each: partial(remove_archives, work, archive) for each in exports}
    title = f"export of a container with {FILES} files"
    report(title, interleave(exports, rounds, undo=discard), EXPORT)
    shutil.rmtree(tree)

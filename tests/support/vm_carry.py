"""The guest's second disk: the working tree, what is to be run, and what the host did for it.

The guest is slow and the host is not, so whatever does not need the guest's kernel is done here,
by the guest's own Python in what is kept of its files: byte code of the tree and of the tests as
pytest rewrites them, and the installations that scripts/install finds to be up to date inside.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.vm_image import APART, PREFIX, PREPARED, REPOSITORY, TESTS_VENV, WHEELS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.support.vm_image import Image

SIZE = "256M"
CARRY = "/carry"
RESULTS = "results"
TREE = "tree"
NEWER = "newer"
"""Another version of the program, to upgrade to."""
MARK = "MARK = 'newer'"
"""What makes it another one."""
PROGRAMS = "programs"
"""For TREE and NEWER, what installing them has put into PREFIX."""
PYTEST = ("-m", "root or vm", "-p", "tests.vm.guest.reporter", "-p", "no:cacheprovider")
_INSTALLED = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "runengine", "scripts",
              "systemd")  # fmt: skip

START = """\
#!/bin/sh
cd {carry}/{tree}
exec env RUNENGINE_GUEST=1 PYTHONUNBUFFERED=1 {venv}/bin/python -m tests.vm.guest.session
"""
# $1 is the guest's root, $2 what becomes the disk, $3 the script to run inside.
_INSIDE = """
mount --bind "$1" "$1"
cd "$1"
mount -t tmpfs none tmp
mount -t tmpfs none usr/local
mount -t tmpfs none "$1{prefix}"
mount --bind "$2" carry
mount --bind /dev dev
mount -t proc proc proc
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 \\
    PIP_NO_BUILD_ISOLATION=false RUNENGINE_GUEST=1 /bin/bash -ec "$3"
"""
_INSTALL = """
cp -a {prepared}/. {prefix}
# Of an installation that was cut short, for all that the script knows.
touch {prefix}/venv/.runengine-stamp
for version in {tree} {newer}; do
    (cd {carry}/$version; scripts/install --no-packages --no-start --wheels {wheels})
    put={carry}/{programs}/$version
    mkdir -p $put/venv/bin $put{site}
    cp -a {prefix}/venv/.runengine-stamp $put/venv
    cp -a {prefix}/venv/bin/runengine* $put/venv/bin
    cp -a {prefix}{site}/runengine* $put{site}
done
"""
_COMPILE = """
cd {carry}/{tree}
{venv}/bin/python -m compileall -q runengine tests/support tests/vm
{venv}/bin/python -m pytest --collect-only -q {options} {items} || :
"""
_SITE = "/venv/lib/python3.13/site-packages"


@contextlib.contextmanager
def prepared(image: Image, items: Collection[str]) -> Iterator[Path]:
    """A directory with what is on the second disk of guests that run ``items`` among them."""
    with tempfile.TemporaryDirectory(prefix="runengine-carry-") as work:
        top = Path(work)
        top.chmod(0o755)
        (top / RESULTS).mkdir()
        carry_tree(top / TREE)
        if items:
            _prepare(top, items, image)
        yield top


def make_disk(path: Path, top: Path, plan: dict[str, Any] | None) -> None:
    """The second disk, of what is in ``top``: with a plan, and the command that carries it out."""
    if plan is not None:
        (top / "plan.json").write_text(json.dumps(plan))
        (top / "start").write_text(START.format(carry=CARRY, tree=TREE, venv=TESTS_VENV))
        (top / "start").chmod(0o755)
    options = ["-q", "-F", "-t", "ext4", "-L", "carry", "-d", top]
    subprocess.run(["mke2fs", *map(str, options), path, SIZE], check=True)


def carry_tree(target: Path) -> None:
    """Copy the working tree as git sees it, without what git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = REPOSITORY / name
        if source.exists():  # else deleted, and git not told yet
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)


def _prepare(top: Path, items: Collection[str], image: Image) -> None:
    """Do what the guest need not do."""
    _make_newer(top)
    names = {
        "prepared": PREPARED, "prefix": PREFIX, "carry": CARRY, "tree": TREE, "newer": NEWER,
        "wheels": WHEELS, "programs": PROGRAMS, "site": _SITE, "venv": TESTS_VENV,
        "options": " ".join(map(repr, PYTEST)),
        "items": " ".join(map(repr, items)),
    }  # fmt: skip
    script = _INSTALL.format(**names) + _COMPILE.format(**names)
    inside = _INSIDE.format(**names)
    words = [*APART, "sh", "-ec", inside, "sh", str(image.native), str(top), script]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"guest: the second disk: {done.stdout}{done.stderr}")


def _make_newer(top: Path) -> None:
    newer = top / NEWER
    newer.mkdir()
    for name in _INSTALLED:
        source = top / TREE / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, newer / name)
    with (newer / "runengine/__init__.py").open("a") as file:
        file.write(f"\n{MARK}\n")

"""The program that ``scripts/install`` writes: how it begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.side_effects

SCRIPTS = Path(__file__).parents[3] / "scripts"
SHOW_FLAGS = "import sys; print(*(getattr(sys.flags, n) for n in ('utf8_mode', 'isolated')))"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """As it is written for this very environment."""
    path = tmp_path_factory.mktemp("bin") / "runengine"
    command = '. "$1/lib.sh"; write_launcher "$2" "$3"'
    words = ["bash", "-euc", command, "-", SCRIPTS, sys.prefix, path]
    subprocess.run(words, check=True, timeout=60)
    return path


@pytest.mark.parametrize("locale", ["C.UTF-8", "C", "no_SUCH.ISO-8859-1"])
def test_no_locale_and_no_variable_changes_its_arguments(program, locale):
    # One word is all that a #! line can give the interpreter.
    interpreter, options = program.read_text().splitlines()[0].removeprefix("#!").split(" ", 1)
    done = subprocess.run(
        [interpreter, options, "-c", SHOW_FLAGS],
        env={"LC_ALL": locale, "PYTHONUTF8": "0"},
        check=True, capture_output=True, text=True, timeout=60,
    )
    assert done.stdout.split() == ["1", "1"]

"""What the service has in memory: enough for the common calls, and no library of megabytes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from runengine.cli import preload
from tests.unit.test_tree import COLD_PATHS, ROOT, module_name, sources

pytestmark = pytest.mark.side_effects
OWN = {module_name(path) for path in sources()}
# With what each of them costs, in MiB, and what a call needs it for.
HEAVY = {
    "asyncio",  # 2
    "concurrent",  # 0.7: restore
    "dns",  # 5: the resolver's process
    "email",  # 0.6
    "http",  # 1: image import from a URL, and plugins
    "jsonschema",  # 2.5 with what it needs
    "oras",  # 0.4
    "prometheus_client",  # 2: the metrics server
    "psutil",  # 1: info, top
    "pydantic",  # 9 with its library: documents, the configuration file
    "requests",  # 4 with what it needs
    "ssl",  # 4 with its library
    "urllib3",
    "yaml",  # 1: CDI
}
MOST_OF_OTHERS = 260
"""Modules that are not ours; 227 when this was written, 600 when everything was loaded."""


@pytest.fixture(scope="module")
def loaded():
    script = (
        "import json, sys\n"
        "from runengine.cli import preload, rehearsal, serve\n"
        "from runengine.launcher import main\n"
        "preload.preload()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_no_library_of_megabytes_is_there(loaded):
    assert not HEAVY & {name.partition(".")[0] for name in loaded}
    assert len([name for name in loaded if name.partition(".")[0] != "runengine"]) < MOST_OF_OTHERS


def test_the_common_calls_find_their_code(loaded):
    common = {"cli.images", "mgr.container.copying", "mgr.image.pull", "mgr.network.connect"}
    assert {f"runengine.{name}" for name in common} | set(COLD_PATHS) <= loaded


def test_what_is_left_out_exists_and_is_not_there(loaded):
    assert preload._LEFT_OUT <= OWN
    # Of a package others may import something.
    packages = {name.rpartition(".")[0] for name in OWN}
    assert not (preload._LEFT_OUT - packages) & loaded

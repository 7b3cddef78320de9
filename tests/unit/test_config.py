"""The configuration file, read by a process that is to stay small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runengine import config
from runengine.errors import InvalidParameter
from runengine.paths import Paths

pytestmark = pytest.mark.side_effects
ROOT = Path(__file__).resolve().parents[2]
PATHS = Paths("/nowhere/root", "/nowhere/state")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNENGINE_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setattr(config, "_known", {})
    return tmp_path / "config.json"


def test_a_child_reads_the_same(file):
    pool = '{"base": "10.1.0.0/16", "size": 24}'
    file.write_text(f'{{"log_driver": "none", "default_address_pools": [{pool}]}}')
    apart = config.load_apart(PATHS)
    config._known.clear()
    assert apart == config.load(PATHS)
    assert apart.default_address_pools == (("10.1.0.0/16", 24),)


def test_addresses_of_published_ports(file):
    file.write_text('{"publish_addresses": ["127.0.0.1", "::1"]}')
    assert config.load(PATHS).publish_addresses == ("127.0.0.1", "::1")
    for wrong in ('["localhost"]', "[]", '"127.0.0.1"'):
        file.write_text(f'{{"publish_addresses": {wrong}}}')
        with pytest.raises(InvalidParameter, match="publish_addresses"):
            config.load(PATHS)


def test_directories_of_hooks_are_absolute(file):
    assert config.defaults(PATHS).hooks_dirs == ()
    file.write_text('{"hooks_dirs": ["/usr/h", "/etc/h"]}')
    assert config.load_apart(PATHS).hooks_dirs == ("/usr/h", "/etc/h")
    file.write_text('{"hooks_dirs": ["/usr/h", "h"]}')
    with pytest.raises(InvalidParameter, match=r"config\.json: hooks_dirs\.1: "):
        config.load(PATHS)


def test_what_was_read_is_each_askers_own(file):
    file.write_text('{"insecure_registries": ["a"]}')
    config.load(PATHS).insecure_registries.append("b")
    assert config.load(PATHS).insecure_registries == ["a"]


def test_a_file_that_changes_is_read_again(file):
    file.write_text('{"log_driver": "none"}')
    assert config.load_apart(PATHS).log_driver == "none"
    file.write_text('{"log_driver": "journald"}')
    assert config.load(PATHS).log_driver == "journald"


def test_what_is_wrong_with_a_file_is_said_here(file):
    file.write_text('{"log_drover": "none"}')
    hint = "there is no key 'log_drover' .did you mean log_driver"
    with pytest.raises(InvalidParameter, match=hint):
        config.load_apart(PATHS)
    file.write_text('{"nonsense": 1}')
    with pytest.raises(InvalidParameter, match=r"docs/configuration\.md"):
        config.load_apart(PATHS)
    file.unlink()
    with pytest.raises(InvalidParameter, match="does not exist"):
        config.load_apart(PATHS)


def test_whoever_reads_it_apart_stays_without_pydantic(file):
    file.write_text('{"log_driver": "none"}')
    script = (
        "import sys\n"
        "from runengine import config, paths\n"
        "print(config.load_apart(paths.Paths('/r', '/s')).log_driver, 'pydantic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "none False\n", done.stderr

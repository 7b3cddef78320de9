"""Where the other engines are taken from."""

from __future__ import annotations

import pytest

from scripts.bench import peers
from scripts.bench.hosts import Host
from scripts.bench.peer_root import programs

NOWHERE = Host(-1, -1)


def test_a_directory_without_engines_is_refused_with_what_makes_it(tmp_path):
    with pytest.raises(SystemExit, match=f"peer_root {tmp_path}"):
        programs(tmp_path)


def test_programs_are_in_a_directory_of_their_own(tmp_path):
    (tmp_path / "programs").mkdir()
    assert programs(tmp_path) == tmp_path / "programs"


def test_podman_takes_its_helpers_from_there_too(tmp_path):
    peer = peers.podman(tmp_path, NOWHERE, {"PATH": "/there:/bin"}, tmp_path / "programs")
    assert peer.environment["PATH"] == "/there:/bin"
    settings = (tmp_path / "containers.conf").read_text()
    assert f'conmon_path = ["{tmp_path}/programs/conmon"]' in settings
    assert f'helper_binaries_dir = ["{tmp_path}/programs"]' in settings


def test_podman_of_the_host_has_its_own(tmp_path):
    peers.podman(tmp_path, NOWHERE, {"PATH": "/bin"}, None)
    assert "[engine]" not in (tmp_path / "containers.conf").read_text()

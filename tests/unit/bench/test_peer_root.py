"""Where the other engines are taken from."""

from __future__ import annotations

import tomllib

import pytest

from scripts.bench import peers
from scripts.bench.hosts import Host
from scripts.bench.peer_root import programs

NOWHERE = Host(-1, -1)


def test_a_directory_without_engines_is_refused_with_what_makes_it(tmp_path):
    with pytest.raises(SystemExit, match=f"no engines in {tmp_path}; .*peer_root"):
        programs(tmp_path)


def test_programs_are_in_a_directory_of_their_own(tmp_path):
    (tmp_path / "programs").mkdir()
    assert programs(tmp_path) == tmp_path / "programs"


def test_podman_takes_its_helpers_from_there_too(tmp_path):
    there = tmp_path / "programs"
    peer = peers.podman(tmp_path, NOWHERE, {"PATH": "/there:/bin"}, there)
    assert peer.environment["PATH"] == "/there:/bin"
    settings = tomllib.loads((tmp_path / "containers.conf").read_text())
    assert settings["engine"] == {
        "image_copy_tmp_dir": f"{tmp_path}/podman-tmp",
        "conmon_path": [f"{there}/conmon"],
        "helper_binaries_dir": [str(there)],
    }
    profile = settings["containers"]["seccomp_profile"]
    assert profile == f"{tmp_path}/usr/share/containers/seccomp.json"


def test_podman_of_the_host_has_its_own(tmp_path):
    settings = tomllib.loads(peers.podman_settings(tmp_path, None))
    assert list(settings["engine"]) == ["image_copy_tmp_dir"]
    assert list(settings["containers"]) == ["default_ulimits"]
    assert settings["network"]["network_backend"] == "netavark"

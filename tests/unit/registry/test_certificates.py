"""Certificates of single hosts in Docker's layout."""

from __future__ import annotations

import pickle
import ssl

import pytest

from runengine.errors import InvalidParameter
from runengine.registry import certificates
from runengine.registry.certificates import Certificates, HostFiles


def fill(directory, *names) -> str:
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text("not a certificate")
    return str(directory)


def test_authorities_and_pairs_of_a_host_with_its_port(tmp_path) -> None:
    own = fill(tmp_path / "a.example:5000", "ca.crt", "more.crt", "client.cert", "client.key", "x")
    found = Certificates([str(tmp_path)])
    assert found.find("a.example:5000") == HostFiles(
        own,
        (f"{own}/ca.crt", f"{own}/more.crt"),
        ((f"{own}/client.cert", f"{own}/client.key"),),
    )
    assert found.has_authority("a.example:5000")
    assert found.find("a.example") is None
    assert pickle.loads(pickle.dumps(found)).has_authority("a.example:5000")


def test_the_first_directory_with_anything_counts(tmp_path) -> None:
    ours, dockers = tmp_path / "ours", tmp_path / "dockers"
    fill(ours / "a.example", "README")
    fill(dockers / "a.example", "ca.crt")
    fill(dockers / "b.example", "ca.crt")
    wanted = fill(ours / "b.example", "client.cert", "client.key")
    found = Certificates([str(ours), str(dockers)])
    assert found.has_authority("a.example")
    assert found.find("b.example") == HostFiles(
        wanted, (), ((f"{wanted}/client.cert", f"{wanted}/client.key"),)
    )
    assert not found.has_authority("b.example")


def test_docker_hub_by_its_own_name(tmp_path) -> None:
    fill(tmp_path / "docker.io", "ca.crt")
    assert Certificates([str(tmp_path)]).has_authority("registry-1.docker.io")


def test_a_certificate_without_its_key(tmp_path) -> None:
    fill(tmp_path / "a.example", "client.cert", "other.key")
    with pytest.raises(InvalidParameter, match=r"client\.cert has no key.*client\.key"):
        Certificates([str(tmp_path)]).find("a.example")


def test_files_that_are_no_good_are_named(tmp_path) -> None:
    own = fill(tmp_path / "a.example", "ca.crt", "client.cert", "client.key")
    ca = HostFiles(own, (f"{own}/ca.crt",), ())
    with pytest.raises(InvalidParameter, match=r"certificate .*/ca\.crt"):
        certificates.context(ca, verify=True)
    pair = HostFiles(own, (), ((f"{own}/client.cert", f"{own}/client.key"),))
    with pytest.raises(InvalidParameter, match=r"certificate .*/client\.cert"):
        certificates.context(pair, verify=True)
    with pytest.raises(InvalidParameter, match="No such file"):
        certificates.context(HostFiles(own, (f"{own}/gone.crt",), ()), verify=True)


def test_without_verification_any_name_will_do(tmp_path) -> None:
    made = certificates.context(HostFiles(str(tmp_path), (), ()), verify=False)
    assert made.verify_mode == ssl.CERT_NONE
    assert not made.check_hostname
    strict = certificates.context(HostFiles(str(tmp_path), (), ()), verify=True)
    assert strict.verify_mode == ssl.CERT_REQUIRED
    assert strict.check_hostname

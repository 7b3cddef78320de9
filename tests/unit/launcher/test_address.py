"""Addresses of the metrics server: what operators write, and listening there."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter, Unavailable
from runengine.launcher import address
from runengine.launcher.address import Address, listen, parse_address


@pytest.mark.parametrize(
    ("text", "expected", "private"),
    [
        ("127.0.0.1:9323", Address("127.0.0.1", 9323), True),
        ("127.1.2.3:0", Address("127.1.2.3", 0), True),
        ("localhost:80", Address("127.0.0.1", 80), True),
        ("[::1]:9323", Address("::1", 9323), True),
        ("0.0.0.0:9323", Address("0.0.0.0", 9323), False),
        ("[::]:65535", Address("::", 65535), False),
        ("unix:/run/x:1", Address(path="/run/x:1"), True),
    ],
)
def test_addresses(text, expected, private):
    found = parse_address(text)
    assert found == expected
    assert found.is_private == private
    assert parse_address(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no port"),
        ("9323", "no port"),
        ("127.0.0.1", "no port"),
        ("127.0.0.1:", "no port"),
        ("127.0.0.1:65536", "no port"),
        ("127.0.0.1:-1", "no port"),
        ("127.0.0.1:\u0661", "no port"),
        (":9323", "0.0.0.0:9323 to serve the whole network"),
        ("example:9323", "'example' is no IP address"),
        ("1.2.3:9323", "no IP address"),
        ("::1:9323", "brackets"),
        ("[127.0.0.1]:9323", "brackets"),
        ("unix:metrics.sock", "absolute"),
        ("unix:", "absolute"),
        ("unix:/a\0b", "absolute"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
    ],
)
def test_what_is_no_address(text, words):
    with pytest.raises(InvalidParameter, match="invalid metrics address") as caught:
        parse_address(text)
    assert words in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_refused(text):
    with suppress(InvalidParameter):
        assert parse_address(text) == parse_address(str(parse_address(text)))


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    monkeypatch.setattr(address, "PATIENCE_S", 0)


def test_a_port_is_listened_on():
    with listen(parse_address("127.0.0.1:0")) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
        text = f"127.0.0.1:{port}: Address already in use \\(choose"
        with pytest.raises(Unavailable, match=text):
            listen(Address("127.0.0.1", port))


def test_a_unix_socket_is_for_its_owner_alone(tmp_path):
    with listen(Address(path=f"{tmp_path}/m")):
        assert os.stat(tmp_path / "m").st_mode & 0o777 == 0o600


def test_the_socket_of_a_dead_server_is_taken_over(tmp_path):
    where = Address(path=f"{tmp_path}/m")
    listen(where).close()
    with listen(where), socket.socket(socket.AF_UNIX) as client:
        client.connect(where.path)


def test_the_socket_of_a_living_server_is_not(tmp_path):
    where = Address(path=f"{tmp_path}/m")
    with listen(where), socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(Unavailable, match="Address already in use"):
            listen(where)
        client.connect(where.path)


def test_a_file_is_never_replaced(tmp_path):
    (tmp_path / "m").write_text("mine")
    with pytest.raises(Unavailable, match="something else than a socket"):
        listen(Address(path=f"{tmp_path}/m"))
    assert (tmp_path / "m").read_text() == "mine"


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(Unavailable, match="No such file"):
        listen(Address(path=f"{tmp_path}/none/m"))

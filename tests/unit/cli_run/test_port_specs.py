"""``-p`` and ``--expose`` as users write them (Docker CLI reference, ``--publish``)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cli.port_specs import PortSpec, exposed, published

PORTS = st.integers(1, 65535)


@pytest.mark.parametrize(
    ("text", "port", "host_ip", "host_port"),
    [
        ("80", "80/tcp", "", ""),
        ("80/udp", "80/udp", "", ""),
        ("80/SCTP", "80/sctp", "", ""),
        ("8080:80", "80/tcp", "", "8080"),
        (":80", "80/tcp", "", ""),
        ("0:80", "80/tcp", "", ""),
        ("127.0.0.1:8080:80", "80/tcp", "127.0.0.1", "8080"),
        ("127.0.0.1::80/udp", "80/udp", "127.0.0.1", ""),
        ("[::1]:8080:80", "80/tcp", "::1", "8080"),
        ("[::1]::80", "80/tcp", "::1", ""),
        ("[FD00:0::1]:8080:80", "80/tcp", "fd00::1", "8080"),
        ("8000-9000:80", "80/tcp", "", "8000-9000"),
        ("127.0.0.1:8000-8001:80/udp", "80/udp", "127.0.0.1", "8000-8001"),
        ("target=80,published=8080,protocol=udp", "80/udp", "", "8080"),
        ("target=80", "80/tcp", "", ""),
    ],
)
def test_one_port(text: str, port: str, host_ip: str, host_port: str):  # O-19
    assert published(text) == [PortSpec(port, host_ip, host_port)]


def test_ranges_go_in_step():
    assert published("8000-8002:80-82") == [
        PortSpec("80/tcp", "", "8000"),
        PortSpec("81/tcp", "", "8001"),
        PortSpec("82/tcp", "", "8002"),
    ]
    assert published("80-81/udp") == [PortSpec("80/udp", "", ""), PortSpec("81/udp", "", "")]


@given(PORTS, PORTS, st.integers(0, 3000))
def test_a_range_has_as_many_ports_on_both_sides(host: int, container: int, more: int):
    host, container = min(host, 65535 - more), min(container, 65535 - more)
    found = published(f"{host}-{host + more}:{container}-{container + more}/tcp")
    assert len(found) == more + 1
    assert found[-1] == PortSpec(f"{container + more}/tcp", "", str(host + more))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no port specified"),
        ("8080:", "no port specified"),
        ("0", "invalid containerPort: 0"),
        ("65536", "invalid containerPort: 65536"),
        ("80-79", "invalid containerPort: 80-79"),
        ("x:80", "invalid hostPort: x"),
        ("65536:80", "invalid hostPort: 65536"),
        ("1.2.3:80:80", "invalid IP address"),
        ("localhost:80:80", "invalid IP address: localhost"),
        ("[::1:80:80", "invalid IP address"),
        ("[1.2.3.400]:80:80", "invalid IP address"),
        ("[::1]80:80", "invalid IP address"),
        ("[::1]:80", "expected [IP]:HOSTPORT:PORT"),
        ("::1:80:80", "in brackets"),
        ("80/icmp", "invalid proto: icmp"),
        ("8000-8001:80-82", "invalid ranges specified for container and host Ports"),
        ("published=80", "target is missing"),
        ("target=80,mode=swarm", "invalid publish mode"),
        ("target=80,what=1", "keys are"),
        ("\u0668\u0660", "invalid containerPort"),
    ],
)
def test_what_is_no_port_is_refused(text: str, complaint: str):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        published(text)


def test_exposed_ports():
    assert exposed("80") == ["80/tcp"]
    assert exposed("80-82/udp") == ["80/udp", "81/udp", "82/udp"]
    for text in ("", "0", "82-80", "80/icmp", "a"):
        with pytest.raises(ValueError, match=r"invalid (port|proto)"):
            exposed(text)

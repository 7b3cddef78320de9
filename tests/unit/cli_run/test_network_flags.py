"""The network flags of ``run``: what they ask for, and what contradicts what."""

from __future__ import annotations

from typing import Any

import click
import pytest

from runengine.cli import run, run_flags
from runengine.cli.context import App
from runengine.errors import InvalidParameter
from runengine.model import endpoint_config
from tests.support.documents import changed


def build(*words: str) -> run_flags.Request:
    ctx = run.run.make_context("run", [*words, "busybox"], obj=App())
    return run_flags.build(ctx.params)


def endpoint(**fields: Any) -> dict[str, Any]:
    return dict(changed(endpoint_config(), fields))


def test_without_flags_it_is_the_default_network():
    request = build()
    assert request.host["NetworkMode"] == ""
    assert request.endpoints == {"default": endpoint()}
    assert request.host["PortBindings"] == {}
    assert request.warnings == ()


@pytest.mark.parametrize(
    ("text", "name", "fields"),
    [
        ("mine", "mine", {}),
        ("name=mine", "mine", {}),
        ("name=mine,alias=a,alias=b", "mine", {"Aliases": ["a", "b"]}),
        ("mine:alias=a", "mine", {"Aliases": ["a"]}),
        ("mine:10.1.0.5", "mine", {"IPAMConfig": {"IPv4Address": "10.1.0.5"}}),
        ("mine:fd00::5", "mine", {"IPAMConfig": {"IPv6Address": "fd00::5"}}),
        ("mine:mode", "mine", {}),
        ("mine:10.1.0.5:mode", "mine", {"IPAMConfig": {"IPv4Address": "10.1.0.5"}}),
        ("10.1.0.5", "default", {"IPAMConfig": {"IPv4Address": "10.1.0.5"}}),
        (
            "name=mine,ip=10.1.0.5,ip6=fd00::5,link-local-ip=169.254.3.4",
            "mine",
            {
                "IPAMConfig": {
                    "IPv4Address": "10.1.0.5",
                    "IPv6Address": "fd00::5",
                    "LinkLocalIPs": ["169.254.3.4"],
                }
            },
        ),
        ("name=mine,mac-address=92-D0-c6-0a-29-33", "mine", {"MacAddress": "92:d0:c6:0a:29:33"}),
        ("name=mine,gw-priority=-5", "mine", {"GwPriority": -5}),
        ("name=mine,driver-opt=a=b=c", "mine", {"DriverOpts": {"a": "b=c"}}),
        ("name=mine,link=db", "mine", {"Links": ["db:db"]}),
    ],
)
def test_one_network(text: str, name: str, fields: dict[str, Any]):  # O-22
    request = build("--network", text)
    assert request.host["NetworkMode"] == name
    assert request.endpoints == {name: endpoint(**fields)}


def test_several_networks_keep_their_order():
    request = build("--net", "b", "--network", "name=a,gw-priority=9", "--network", "c")
    assert request.host["NetworkMode"] == "b"
    assert request.endpoints == {"b": endpoint(), "a": endpoint(GwPriority=9), "c": endpoint()}


def test_one_of_several_can_be_the_first():  # O-22
    request = build("--network", "a", "--network", "b:mode")
    assert request.host["NetworkMode"] == "b"
    assert list(request.endpoints) == ["b", "a"]


def test_flags_for_one_network_are_about_the_first():
    request = build(
        *("--network", "mine", "--network", "other", "--ip", "10.1.0.5", "--ip6", "fd00::5"),
        *("--mac-address", "92:d0:c6:0a:29:33", "--network-alias", "a", "--net-alias", "b"),
        *("--link", "db:store", "--link-local-ip", "fe80::9"),
    )
    wanted = endpoint(
        IPAMConfig={
            "IPv4Address": "10.1.0.5", "IPv6Address": "fd00::5", "LinkLocalIPs": ["fe80::9"]
        },
        MacAddress="92:d0:c6:0a:29:33",
        Aliases=["a", "b"],
        Links=["db:store"],
    )
    assert request.endpoints == {"mine": wanted, "other": endpoint()}
    assert request.host["Links"] is None


@pytest.mark.parametrize("network", [[], ["--network", "bridge"], ["--network", "default"]])
def test_links_on_the_default_network_are_the_containers_own(network: list[str]):
    request = build(*network, "--link", "db", "--link", "web:front")
    assert request.host["Links"] == ["db:db", "web:front"]
    assert list(request.endpoints.values()) == [endpoint()]


@pytest.mark.parametrize(
    "mode", ["none", "host", "container:x", "netns:/run/netns/x"]
)
def test_modes_without_networks(mode: str):
    request = build("--network", mode)
    assert request.host["NetworkMode"] == mode
    assert request.endpoints == {}


def test_ports_are_bound_and_exposed():  # O-19
    request = build(
        *("-p", "8080:80", "-p", "[::1]::53/udp", "-p", "8081:80", "-p", "8080:80"),
        *("--expose", "443", "-P"),
    )
    assert request.host["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "", "HostPort": "8081"}],
        "53/udp": [{"HostIp": "::1", "HostPort": ""}],
    }
    assert set(request.config["ExposedPorts"]) == {"80/tcp", "53/udp", "443/tcp"}
    assert request.host["PublishAllPorts"]


@pytest.mark.parametrize("mode", ["host", "none", "netns:/run/netns/x"])
@pytest.mark.parametrize("flags", [["-p", "80:80"], ["-P"]])
def test_ports_are_dropped_where_there_is_no_network_of_the_engines(mode, flags):
    request = build("--network", mode, *flags)
    assert request.warnings == (f"Published ports are discarded when using {mode} network mode",)
    assert request.host["PortBindings"] == {}
    assert not request.host["PublishAllPorts"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--network", "container:x", "-h", "x"], "hostname"),
        (["--network", "container:x", "--dns", "1.1.1.1"], "dns"),
        (["--network", "container:x", "--add-host", "a:1.1.1.1"], "host-to-IP"),
        (["--network", "container:x", "--expose", "80"], "port exposing"),
        (["--network", "container:x", "-p", "80"], "port publishing"),
        (["--network", "container:x", "-P"], "port publishing"),
        (["--network", "container:x", "--link", "a"], "links"),
        (["--network", "container:x", "--mac-address", "92:d0:c6:0a:29:33"], "mac-address"),
        (["--network", "host", "--link", "a"], "links"),
        (["--network", "none", "--ip", "10.0.0.1"], "addresses"),
        (["--network", "host", "--network-alias", "a"], "only supported for user-defined"),
        (["--network", "none", "--network", "host"], "at once"),
        (["--network", "mine", "--network", "container:x"], "at once"),
        (["--network", "mine", "--network", "name=mine,alias=x"], "multiple times"),
        (["--network", "name=mine,ip=10.0.0.1", "--ip", "10.0.0.2"], "--ip and per-network"),
        (["--network", "name=mine,alias=a", "--network-alias", "b"], "--network-alias and"),
    ],
)
def test_what_contradicts_itself(words: list[str], complaint: str):
    with pytest.raises(InvalidParameter) as caught:
        build(*words)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--network", ""], "cannot be empty"),
        (["--network", "name=,alias=x"], "name is missing"),
        (["--network", "name=mine,colour=red"], "colour"),
        (["--network", "name=mine,ip=fd00::1"], "invalid IPv4 address"),
        (["--network", "name=mine,ip6=10.0.0.1"], "invalid IPv6 address"),
        (["--network", "name=mine,gw-priority=x"], "gw-priority"),
        (["--network", "name=mine,driver-opt=x"], "driver options"),
        (["--network", "mine:nonsense"], "expected NAME"),
        (["--ip", "10.0.0.300"], "not correctly formatted"),
        (["--mac-address", "01:00:5e:00:00:01"], "single station"),
        (["--mac-address", "x"], "not a valid mac"),
        (["--link", "a:b:c"], "bad format for links"),
        (["--network-alias", "a b"], "invalid network alias"),
    ],
)
def test_what_cannot_be_read(words: list[str], complaint: str):
    with pytest.raises(click.UsageError) as caught:
        build(*words)
    assert complaint in caught.value.message

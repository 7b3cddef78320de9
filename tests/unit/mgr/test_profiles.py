"""``--profile bench``: what it sets, and that whatever is given outright wins."""

import pytest

from runengine.errors import InvalidParameter
from runengine.mgr.container import profiles
from runengine.model import HostConfig, container_config, endpoint_config, host_config
from runengine.runtime.abilities import Abilities

DEFAULT_ENDPOINT = {"default": endpoint_config()}


def apply(config=None, host=None, endpoints=DEFAULT_ENDPOINT):
    return profiles.apply(
        {**container_config("x"), **(config or {})},
        {**host_config(), "Profile": "bench", **(host or {})},
        endpoints,
    )


def test_nothing_of_the_engine_runs_beside_it():
    found = apply()
    assert found.config["Healthcheck"] == {"Test": ["NONE"]}
    assert found.host["LogConfig"] == {"Type": "passthrough", "Config": {}}
    assert (found.host["NetworkMode"], found.endpoints) == ("host", {})
    assert found.host["PidsLimit"] == -1


def test_a_terminal_has_to_be_relayed():
    assert apply({"Tty": True}).host["LogConfig"]["Type"] == "none"


@pytest.mark.parametrize(
    ("config", "host"),
    [
        ({"Healthcheck": {"Test": ["CMD", "x"]}}, {}),
        ({}, {"LogConfig": {"Type": "cri", "Config": {}}}),
        ({}, {"LogConfig": {"Type": "", "Config": {"max-size": "1m"}}}),
        ({}, {"NetworkMode": "none"}),
        ({}, {"NetworkMode": "net1"}),
        ({}, {"PidsLimit": 50}),
    ],
)
def test_what_is_given_wins(config, host):
    found = apply(config, host)
    assert {key: found.config[key] for key in config} == config
    assert {key: found.host[key] for key in host} == host


@pytest.mark.parametrize(
    "host",
    [
        {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}},
        {"PublishAllPorts": True},
        {"Links": ["other:other"]},
        {"Sysctls": {"net.core.somaxconn": "1024"}},
    ],
)
def test_what_the_hosts_network_has_not_needs_one(host):
    found = apply(host=host)
    assert (found.host["NetworkMode"], found.endpoints) == ("", DEFAULT_ENDPOINT)


@pytest.mark.parametrize(
    "endpoints",
    [{"default": {**endpoint_config(), "MacAddress": "02:00:00:00:00:01"}},
     {"default": endpoint_config(), "net1": endpoint_config()}],
)  # fmt: skip
def test_wishes_for_a_network_are_a_network(endpoints):
    assert apply(endpoints=endpoints).endpoints == endpoints


def test_other_settings_of_the_kernel_are_no_network():
    assert apply(host={"Sysctls": {"kernel.msgmax": "1"}}).host["NetworkMode"] == "host"


def test_without_a_profile_all_is_as_it_was():
    config, host = container_config("x"), host_config()
    assert profiles.apply(config, host, DEFAULT_ENDPOINT) == (config, host, DEFAULT_ENDPOINT)


def test_a_profile_that_is_none():
    with pytest.raises(InvalidParameter, match=r"unknown profile 'fast' \(there is: bench\)"):
        apply(host={"Profile": "fast"})


@pytest.mark.parametrize(
    ("state", "host", "flags", "warned"),
    [
        ("Mitigation: ... via prctl and seccomp", {}, (), True),
        ("Mitigation: ... via prctl and seccomp", {}, (profiles.SPEC_ALLOW,), False),
        ("Mitigation: ... via prctl and seccomp", {"Privileged": True}, (), False),
        (
            "Mitigation: ... via prctl and seccomp",
            {"SecurityOpt": ["seccomp=unconfined"]},
            (),
            False,
        ),
        ("Mitigation: ... via prctl and seccomp", {"Profile": ""}, (), False),
        ("Mitigation: ... via prctl", {}, (), False),
        ("Vulnerable", {}, (), False),
    ],
)
def test_a_filter_that_slows_down_is_told_of(tmp_path, state, host, flags, warned):
    file = tmp_path / "spec_store_bypass"
    file.write_text(state + "\n")
    asked: HostConfig = {**host_config(), "Profile": "bench", **host}
    found = profiles.warnings(asked, Abilities("1.1.5", seccomp_flags=flags), str(file))
    assert bool(found) is warned
    assert not warned or "runc 1.1.5 cannot tell it not to" in found[0]

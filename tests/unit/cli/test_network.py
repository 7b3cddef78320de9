"""The ``network`` commands."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from click import Command, Context
from click.testing import CliRunner

from runengine.cli import context
from runengine.cli.context import App
from runengine.cli.main import program
from runengine.errors import Conflict, NotFound
from runengine.mgr.network.request import network_config
from runengine.model import endpoint_config
from tests.support.cli import FakeEngine, call

A, B = "ab" * 32, "cd" * 32


def entry(name, identity=A, **fields):
    return {
        "Name": name,
        "Id": identity,
        "Created": "2026-11-28T03:35:02.346797607Z",
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": True,
        "EnableIPv6": False,
        "Internal": False,
        "Labels": {},
        "Containers": {},
        "Options": {},
        **fields,
    }


class Manager:
    """Answers and remembers."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __getattr__(self, name):
        def answer(*args, **options):
            self.asked.append((name, *args, *([options] if options else [])))
            result = self.answers.get(name)
            if isinstance(result, dict) and args and args[0] in result:
                result = result[args[0]]
            if isinstance(result, Exception):
                raise result
            return result

        return answer


LISTED = Manager(
    list=[
        entry("bridge"),
        entry("web", B, Labels={"b": "2", "a": "1"}, EnableIPv6=True, Internal=True),
    ]
)


# ls


def test_the_table_is_dockers():
    done = call("network", "ls", networks=LISTED)
    assert done.output == (
        "NETWORK ID     NAME      DRIVER    SCOPE\n"
        "abababababab   bridge    bridge    local\n"
        "cdcdcdcdcdcd   web       bridge    local\n"
    )
    assert call("network", "list", networks=LISTED).output == done.output


@pytest.mark.parametrize(
    ("args", "output"),
    [
        (["-q"], "abababababab\ncdcdcdcdcdcd\n"),
        (["-q", "--no-trunc"], f"{A}\n{B}\n"),
        (["--format", "{{.Name}}:{{.ID}}", "--no-trunc"], f"bridge:{A}\nweb:{B}\n"),
        (["--format", "{{.Labels}}|{{.Label \"a\"}}|{{.Label \"x\"}}"], "||\na=1,b=2|1|\n"),
        (
            ["--format", "{{.IPv4}} {{.IPv6}} {{.Internal}} {{.Scope}}"],
            "true false false local\ntrue true true local\n",
        ),
        (["--format", "table {{.Name}}\t{{.Driver}}"], "NAME      DRIVER\nbridge    bridge\n"
         "web       bridge\n"),
    ],
)
def test_formats(args, output):
    assert call("network", "ls", *args, networks=LISTED).output == output


def test_json_has_all_fields_as_docker_has_them():
    line = call("network", "ls", "--format", "json", networks=LISTED).output.splitlines()[1]
    assert json.loads(line) == {
        "CreatedAt": "2026-11-28 03:35:02.346797607 +0000 UTC",
        "Driver": "bridge",
        "ID": "cdcdcdcdcdcd",
        "IPv4": "true",
        "IPv6": "true",
        "Internal": "true",
        "Labels": "a=1,b=2",
        "Name": "web",
        "Scope": "local",
    }


def test_filters_go_to_the_manager():
    manager = Manager(list=[])
    call("network", "ls", "-f", "driver=bridge", "--filter", "label=a=b", networks=manager)
    assert manager.asked == [("list", {"driver": ["bridge"], "label": ["a=b"]})]
    assert call("network", "ls", "-f", "x", networks=manager).exit_code == 125


def test_quiet_ignores_a_template_and_says_so():
    done = call("network", "ls", "-q", "--format", "{{.Name}}", networks=LISTED)
    assert "Ignoring custom format" in done.stderr
    assert done.stdout == "abababababab\ncdcdcdcdcdcd\n"


# create


def create(*args):
    manager = Manager(create=SimpleNamespace(id=A))
    done = call("network", "create", *args, "net", networks=manager)
    assert done.output == f"{A}\n"
    ((_, name, config),) = manager.asked
    assert name == "net"
    usual: dict[str, Any] = {**network_config()}
    return {key: value for key, value in config.items() if value != usual[key]}


@pytest.mark.parametrize(
    ("args", "changed"),
    [
        ([], {"IPAMDriver": "default"}),
        (["-d", "macvlan"], {"Driver": "macvlan"}),
        (["--internal", "--attachable", "--ipv6"],
         {"Internal": True, "Attachable": True, "EnableIPv6": True}),
        (["--ipv4=false", "--ipv6=true"], {"EnableIPv4": False, "EnableIPv6": True}),
        (["-o", "parent=eth0", "--opt", "a.b=c=d", "-o", "flag"],
         {"Options": {"parent": "eth0", "a.b": "c=d", "flag": ""}}),
        (["--label", "a=b", "--label", "c"], {"Labels": {"a": "b", "c": ""}}),
        (["--ipam-opt", "x=y", "--ipam-driver", "mine"],
         {"IPAMOptions": {"x": "y"}, "IPAMDriver": "mine"}),
        (["--scope", "swarm", "--config-from", "x", "--config-only", "--ingress"],
         {"Scope": "swarm", "ConfigFrom": "x", "ConfigOnly": True, "Ingress": True}),
        (
            [
                "--subnet", "10.1.0.0/16,fd00:1::/64", "--gateway", "fd00:1::5",
                "--ip-range", "10.1.4.0/24", "--gateway", "10.1.0.9",
                "--aux-address", "r1=10.1.0.1", "--aux-address", "r2=10.1.0.2",
            ],
            {
                "IPAM": [
                    {
                        "Subnet": "10.1.0.0/16",
                        "IPRange": "10.1.4.0/24",
                        "Gateway": "10.1.0.9",
                        "AuxiliaryAddresses": {"r1": "10.1.0.1", "r2": "10.1.0.2"},
                    },
                    {"Subnet": "fd00:1::/64", "Gateway": "fd00:1::5"},
                ]
            },
        ),
    ],
)
def test_create_asks_for_what_the_flags_say(args, changed):
    assert create(*args) == {"IPAMDriver": "default", **changed}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--gateway", "10.1.0.1"], "every ip-range or gateway must have a corresponding subnet"),
        (["--aux-address", "a=10.1.0.1"], "must have a corresponding subnet"),
        (["--subnet", "10.1.0.1/24"], "invalid subnet 10.1.0.1/24: it should be 10.1.0.0/24"),
        (["--subnet", "10.1.0.0/24", "--subnet", "10.1.0.0/16"], "multiple overlapping subnet"),
        (["--subnet", "10.1.0.0/24", "--gateway", "10.2.0.1"],
         "no matching subnet for gateway 10.2.0.1 (the subnets are 10.1.0.0/24)"),
        (["--subnet", "10.1.0.0/24", "--ip-range", "fd00::/64"],
         "no matching subnet for ip-range fd00::"),
        (["--subnet", "10.1.0.0/24", "--aux-address", "a=10.2.0.1"],
         "no matching subnet for aux-address 10.2.0.1"),
        (["--subnet", "10.1.0.0/24", "--gateway", "x"], "invalid IP address 'x'"),
        (["--subnet", "10.1.0.0/24", "--gateway", "10.1.0.1,10.1.0.2"],
         "cannot configure multiple gateways (10.1.0.1, 10.1.0.2) on the same subnet"),
        (["--subnet", "10.1.0.0/24", "--ip-range", "10.1.0.0/25", "--ip-range", "10.1.0.128/25"],
         "cannot configure multiple ip-ranges"),
    ],
)
def test_addresses_that_do_not_belong_together_are_refused(args, message):
    manager = Manager()
    done = call("network", "create", *args, "net", networks=manager)
    assert done.exit_code == 1
    assert message in done.stderr
    assert manager.asked == []


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 1, "'runengine network create' requires 1 argument"),
        (["a", "b"], 1, "requires 1 argument"),
        (["--nope", "a"], 125, "unknown flag: --nope"),
        (["-o", "=x", "a"], 125, "the key is missing"),
        (["--subnet", "", "a"], 125, "has an empty value"),
        (["--ipv4=maybe", "a"], 125, 'invalid argument "maybe"'),
    ],
)
def test_flags_that_mean_nothing_are_refused(args, code, message):
    done = call("network", "create", *args, networks=Manager())
    assert done.exit_code == code
    assert message in done.stderr


def test_what_was_changed_on_the_host_is_told():
    engine: Any = FakeEngine(networks=Manager(create=SimpleNamespace(id=A)))
    engine.notices = ["network net needs forwarding: set net.ipv4.ip_forward=1"]
    done = call("network", "create", "net", engine=engine)
    assert done.stdout == f"{A}\n"
    assert done.stderr == "NOTICE: network net needs forwarding: set net.ipv4.ip_forward=1\n"


def test_it_is_told_before_a_container_speaks_and_once():
    engine: Any = FakeEngine(networks=Manager(create=SimpleNamespace(id=A)))
    app = App(lambda _: engine)
    app.engine()
    engine.notices = ["first"]
    with Context(Command("x"), obj=app):
        context.tell()
    engine.notices = ["first", "second"]
    assert CliRunner().invoke(program, ["network", "create", "net"], obj=app).stderr == (
        "NOTICE: second\n"
    )


# rm, prune, reload


def test_rm_goes_on_after_an_error():
    manager = Manager(remove={"a": Conflict("network a has active endpoints: web"), "b": None})
    done = call("network", "rm", "a", "b", networks=manager)
    assert (done.exit_code, done.stdout) == (1, "b\n")
    assert done.stderr == "Error: network a has active endpoints: web\n"
    assert manager.asked == [("remove", "a", {"force": False}), ("remove", "b", {"force": False})]
    call("network", "remove", "-f", "c", networks=manager)
    assert manager.asked[-1] == ("remove", "c", {"force": True})


def test_prune_tells_what_went():
    manager = Manager(prune=["a", "b"])
    done = call("network", "prune", "--force", "--filter", "label!=keep", networks=manager)
    assert done.output == "Deleted Networks:\na\nb\n\n"
    assert manager.asked == [("prune", {"label!": ["keep"]})]
    assert call("network", "prune", "-f", networks=Manager(prune=[])).output == ""


@pytest.mark.parametrize(
    ("answer", "asked"), [("y\n", 1), ("YES\n", 1), ("n\n", 0), ("\n", 0), ("", 0)]
)
def test_prune_asks_first(answer, asked, monkeypatch):
    from click.testing import CliRunner

    from runengine.cli.context import App
    from runengine.cli.main import program

    manager = Manager(prune=["a"])
    app = App(lambda _: FakeEngine(networks=manager))
    done = CliRunner().invoke(program, ["network", "prune"], obj=app, input=answer)
    assert done.exit_code == 0
    assert done.output.startswith("WARNING! This will remove all custom networks")
    assert "Are you sure you want to continue? [y/N] " in done.output
    assert len(manager.asked) == asked


def test_reload_names_what_is_up():
    manager = Manager(reload=["bridge"])
    assert call("network", "reload", networks=manager).output == "bridge\n"
    call("network", "reload", "a", "b", networks=manager)
    assert manager.asked == [("reload", ()), ("reload", ("a", "b"))]


# connect and disconnect


def test_connect_without_wishes():
    manager = Manager()
    assert call("network", "connect", "net", "web", containers=manager).output == ""
    assert manager.asked == [("connect", "web", "net", endpoint_config())]


def test_connect_with_wishes():
    manager = Manager()
    done = call(
        *("network", "connect", "--ip", "10.1.0.7", "--ip6", "fd00:1::7", "--alias", "www,app"),
        *("--alias", "more", "--link", "db:database", "--link-local-ip", "169.254.1.2"),
        *("--driver-opt", "a=b", "--gw-priority", "-5", "--mac-address", "92:D0:C6:0A:29:33"),
        *("net", "web"),
        containers=manager,
    )
    assert done.output == ""
    assert manager.asked[0][3] == {
        "IPAMConfig": {
            "IPv4Address": "10.1.0.7",
            "IPv6Address": "fd00:1::7",
            "LinkLocalIPs": ["169.254.1.2"],
        },
        "Links": ["db:database"],
        "Aliases": ["www", "app", "more"],
        "MacAddress": "92:d0:c6:0a:29:33",
        "DriverOpts": {"a": "b"},
        "GwPriority": -5,
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--ip", "x"], "--ip: "),
        (["--ip", "fd00::1"], "invalid IPv4 address: fd00::1"),
        (["--gw-priority", "x"], "invalid gw-priority (x)"),
        (["--driver-opt", "x"], "--driver-opt: "),
        (["--mac-address", "x"], "x is not a valid mac address"),
    ],
)
def test_wishes_that_mean_nothing_are_refused(args, message):
    manager = Manager()
    done = call("network", "connect", *args, "net", "web", containers=manager)
    assert done.exit_code == 1
    assert message in done.stderr
    assert manager.asked == []


def test_disconnect_by_force_is_content_with_nothing():
    manager = Manager(disconnect=NotFound("network net not found"))
    assert call("network", "disconnect", "-f", "net", "web", containers=manager).exit_code == 0
    done = call("network", "disconnect", "net", "web", containers=manager)
    assert (done.exit_code, done.stderr) == (1, "Error: network net not found\n")
    assert manager.asked[0] == ("disconnect", "web", "net")


# inspect


def test_inspect_shows_documents_and_complains_of_the_rest():
    manager = Manager(inspect={"net": entry("net"), "nope": NotFound("network nope not found")})
    done = call("network", "inspect", "net", "nope", networks=manager)
    assert json.loads(done.stdout) == [entry("net")]
    assert (done.exit_code, done.stderr) == (1, "Error: network nope not found\n")
    done = call("network", "inspect", "-v", "-f", "{{.Name}} {{len .Containers}}", "net",
                networks=manager)
    assert done.output == "net 0\n"


def test_the_general_inspect_finds_networks_last():
    missing = Manager(inspect=NotFound("no"))
    managers = {
        "containers": missing, "images": missing, "networks": Manager(inspect=entry("net"))
    }
    managers["volumes"] = missing
    done = call("inspect", "-f", "{{.Name}}", "net", **managers)
    assert done.output == "net\n"
    done = call("inspect", "--type", "network", "-f", "{{.Driver}}", "net", **managers)
    assert done.output == "bridge\n"
    done = call("inspect", "--type", "plugin", "net", **managers)
    assert 'must be one of "container", "image", "network"' in done.stderr


def test_help_lists_every_command():
    output = call("network", "--help").output
    for name in ("connect", "create", "disconnect", "inspect", "ls", "prune", "reload", "rm"):
        assert f"  {name} " in output
    assert "Usage:  runengine network create [OPTIONS] NETWORK" in call(
        "network", "create", "--help"
    ).output

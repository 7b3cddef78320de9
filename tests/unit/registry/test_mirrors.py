"""Which hosts are asked, in which order and how (N-04, N-09)."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter
from runengine.registry import mirrors
from runengine.registry.mirrors import Endpoint, resolve
from runengine.registry.reference import parse


def endpoints(name, table=None, insecure=()) -> list[Endpoint]:
    return resolve(parse(name), mirrors=table or {}, insecure=insecure)


def test_docker_hub_is_asked_by_its_real_host() -> None:
    (endpoint,) = endpoints("debian")
    assert tuple(endpoint) == ("registry-1.docker.io", "library/debian", ("https",), True, False)
    assert endpoint.registry == "docker.io"


def test_the_longest_prefix_wins_and_the_registry_comes_last() -> None:
    table = {
        "docker.io": ["hub.mirror.example"],
        "docker.io/library": ["http://one.example/proxy/", "two.example:5000"],
        "docker.io/lib": ["never.example"],
        "quay.io": ["never.example"],
    }
    first, second, last = endpoints("debian", table)
    assert first == ("one.example", "proxy/debian", ("http",), True, True)
    assert second == ("two.example:5000", "debian", ("https",), True, True)
    assert last.host == "registry-1.docker.io"
    other = endpoints("user/app", table)[0]
    assert (other.host, other.repository) == ("hub.mirror.example", "user/app")
    assert len(endpoints("ghcr.io/a/b", table)) == 1


def test_a_prefix_may_be_a_whole_repository() -> None:
    (first, _) = endpoints("a.example/x/y", {"a.example/x/y": ["b.example/z"]})
    assert (first.host, first.repository) == ("b.example", "z")


@pytest.mark.parametrize("mirror", ["ftp://x.example", "", "https://", "bad host"])
def test_a_bad_mirror_is_named(mirror) -> None:
    with pytest.raises(InvalidParameter, match="invalid mirror"):
        endpoints("debian", {"docker.io": [mirror]})


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:80", "127.9.9.9",
                                  "[::1]:5000", "reg.localhost:1"])
def test_loopback_may_be_plain_http(host) -> None:
    assert endpoints(f"{host}/x")[0].schemes == ("http", "https")


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "localhost.evil.example",
                                  "evil.example:5000", "10.0.0.1:5000"])
def test_nothing_else_may(host) -> None:
    assert endpoints(f"{host}/x")[0] == (host, "x", ("https",), True, False)


@pytest.mark.parametrize(
    ("entry", "covered"),
    [
        ("reg.example:5000", True),
        ("reg.example", True),
        ("http://reg.example:5000/", True),
        ("reg.example:5001", False),
        ("example", False),
        ("10.0.0.0/8", False),
    ],
)
def test_insecure_entries(entry, covered) -> None:
    assert mirrors.is_insecure("reg.example:5000", [entry]) is covered
    schemes = endpoints("reg.example:5000/x", insecure=[entry])[0].schemes
    assert schemes == (("https", "http") if covered else ("https",))


def test_an_insecure_entry_may_be_a_network() -> None:
    assert mirrors.is_insecure("10.1.2.3:5000", ["10.0.0.0/8"])
    assert not mirrors.is_insecure("11.1.2.3:5000", ["10.0.0.0/8"])
    assert mirrors.is_insecure("[fd00::1]:5000", ["fd00::/8"])


def test_explaining_names_all_that_matters() -> None:
    line = endpoints("reg.example/x", insecure=["reg.example"])[0].describe()
    assert line == "registry reg.example/x (https then http, certificate not checked)"


def test_a_host_of_this_machine_with_an_authority_is_checked() -> None:
    (found,) = resolve(
        parse("localhost:5000/x"), mirrors={}, insecure=(), certified=lambda _: True
    )
    assert (found.schemes, found.verify_tls) == (("https",), True)
    (listed,) = resolve(
        parse("localhost:5000/x"),
        mirrors={},
        insecure=["localhost:5000"],
        certified=lambda _: True,
    )
    assert (listed.schemes, listed.verify_tls) == (("http", "https"), False)


def test_a_name_is_in_a_network_by_all_its_addresses(monkeypatch) -> None:
    table = {"one.example": ["10.1.2.3"], "two.example": ["10.1.2.3", "192.0.2.1"]}
    asked = []

    def look_up(name, *_: object, **__: object):
        asked.append(name)
        if name not in table:
            raise OSError("no such name")
        return [(0, 0, 0, "", (address, 0)) for address in table[name]]

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    mirrors._looked_up.cache_clear()
    assert mirrors.is_insecure("one.example:5000", ["10.0.0.0/8"])
    assert not mirrors.is_insecure("two.example:5000", ["10.0.0.0/8"])
    assert mirrors.is_insecure("two.example", ["10.0.0.0/8", "192.0.2.0/24"])
    assert not mirrors.is_insecure("gone.example", ["10.0.0.0/8"])
    asked.clear()
    assert not mirrors.is_insecure("four.example", ["three.example", "x/y"])
    assert asked == []
    mirrors._looked_up.cache_clear()


def test_a_name_that_was_not_known_is_looked_up_again(monkeypatch) -> None:
    """A worker of the service serves calls for hours."""
    answers = [OSError("no such name"), [(0, 0, 0, "", ("10.1.2.3", 0))]]
    now = [0.0]

    def look_up(*_: object, **__: object):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    mirrors._looked_up.cache_clear()
    assert not mirrors.is_insecure("late.example", ["10.0.0.0/8"])
    assert not mirrors.is_insecure("late.example", ["10.0.0.0/8"])
    now[0] += mirrors.LOOK_UP_AGAIN_S
    assert mirrors.is_insecure("late.example", ["10.0.0.0/8"])
    mirrors._looked_up.cache_clear()

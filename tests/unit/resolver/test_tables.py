"""The tables as files: whole, complete, and refused when damaged."""

import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter, StateError
from runengine.resolver import tables
from runengine.resolver.tables import Host, Table

WEB = Host("c1", ("web", "www", "c1"), ("10.1.0.2", "fd00::2"), ("9.9.9.9",), (("db", "c2"),))
TABLE = Table("n1", "front", ("10.1.0.1",), ("10.1.0.0/24",), (WEB,), ("8.8.8.8",), internal=True)


def test_a_table_comes_back_as_it_was(tmp_path):
    tables.write(str(tmp_path), TABLE)
    tables.write(str(tmp_path), TABLE._replace(network_id="n2", upstream=None, hosts=()))
    first, second = tables.read_all(str(tmp_path))
    assert first == TABLE
    assert second.upstream is None
    assert second.hosts == ()


texts = st.text(max_size=8)


@given(
    st.builds(
        Host, texts, st.tuples(texts), st.tuples(texts), st.tuples(texts),
        st.tuples(st.tuples(texts, texts)),
    )
)  # fmt: skip
def test_any_names_survive(tmp_path_factory, host):
    directory = str(tmp_path_factory.mktemp("dns"))
    tables.write(directory, TABLE._replace(hosts=(host,)))
    assert tables.read_all(directory)[0].hosts == (host,)


def test_the_directory_is_made_for_root_alone(tmp_path):
    directory = tmp_path / "state" / "dns"
    tables.write(str(directory), TABLE)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "n1.json").stat().st_mode & 0o777 == 0o600


def test_nothing_but_the_table_is_left(tmp_path):
    for _ in range(3):
        tables.write(str(tmp_path), TABLE)
    assert os.listdir(tmp_path) == ["n1.json"]
    tables.remove(str(tmp_path), "n1")
    tables.remove(str(tmp_path), "n1")
    assert not os.listdir(tmp_path)


def test_no_directory_has_no_tables(tmp_path):
    assert tables.read_all(f"{tmp_path}/none") == []
    tables.remove(f"{tmp_path}/none", "n1")


@pytest.mark.parametrize("network_id", ["", "../n1", "a/b", ".hidden"])
def test_an_id_that_is_no_file_name_is_refused(tmp_path, network_id):
    with pytest.raises(InvalidParameter, match="invalid network id"):
        tables.write(str(tmp_path), TABLE._replace(network_id=network_id))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"network_id": 1}',
        b"\xff",
        b"[" * 100_000,
        json.dumps(TABLE._asdict() | {"hosts": [[]]}).encode(),
        json.dumps(TABLE._asdict() | {"gateways": "10.1.0.1", "hosts": []}).encode(),
        json.dumps(TABLE._asdict() | {"gateways": [5], "hosts": []}).encode(),
    ],
)
def test_a_damaged_table_is_named(tmp_path, content):
    tables.write(str(tmp_path), TABLE)
    path = tmp_path / "n0.json"
    path.write_bytes(content)
    with pytest.raises(StateError, match=f"damaged table of names {path}"):
        tables.read(str(path))
    assert tables.read_all(str(tmp_path)) == [TABLE]


def test_a_table_of_another_version_is_read(tmp_path):
    """Without what is optional, and with what is not known yet."""
    document = {
        "network_id": "n1", "name": "front", "gateways": [], "subnets": [], "new": 1,
        "hosts": [{"container_id": "c1", "names": ["web"], "addresses": [], "newer": 2}],
    }  # fmt: skip
    (tmp_path / "n1.json").write_text(json.dumps(document))
    table = Table("n1", "front", (), (), (Host("c1", ("web",), ()),))
    assert tables.read_all(str(tmp_path)) == [table]


def test_updates_see_each_other(tmp_path):
    """Each reads what there is and adds itself: none is lost."""
    directory = str(tmp_path)

    def add(number):
        def make():
            known = tables.read_all(directory)
            hosts = known[0].hosts if known else ()
            return TABLE._replace(hosts=(*hosts, Host(f"c{number}", (f"n{number}",), ())))

        tables.update(directory, "n1", make)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (table,) = tables.read_all(directory)
    assert {host.container_id for host in table.hosts} == {f"c{n}" for n in range(16)}
    tables.update(directory, "n1", lambda: None)
    assert not os.listdir(directory)

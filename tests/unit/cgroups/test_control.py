"""Limits that are put back, and rates of single devices, on made-up control files."""

import pytest

from runengine.cgroups import control
from runengine.cgroups.control import Write

SDA, SDB = (8, 0), (8, 16)


def write(directory, files):
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return str(directory)


@pytest.fixture
def v1(tmp_path):
    memory = {"memory.limit_in_bytes": "100\n", "memory.memsw.limit_in_bytes": "200\n"}
    return {
        "memory": write(tmp_path / "memory", memory),
        "pids": write(tmp_path / "pids", {"pids.max": "max\n"}),
        "unified": write(tmp_path / "unified", {}),
    }


def test_only_what_has_changed_is_put_back(v1, tmp_path, monkeypatch):
    kept = control.Kept(v1)
    (tmp_path / "pids/pids.max").write_text("5\n")
    written = []

    def write(line):
        written.append(line)
        return True

    monkeypatch.setattr(control, "_try", write)
    assert kept.restore() == []
    assert written == [Write(f"{v1['pids']}/pids.max", "max\n")]


def test_limits_that_stand_in_each_others_way(v1, tmp_path, monkeypatch):
    """As the kernel has it: memory is never above memory with swap."""
    kept = control.Kept(v1)
    limit, swap = (tmp_path / "memory" / name for name in
                   ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"))  # fmt: skip
    limit.write_text("20\n")
    swap.write_text("30\n")
    real = control._write

    def kernel(line):
        if line.path == str(limit) and int(line.text) > int(swap.read_text()):
            raise OSError(22, "Invalid argument")
        real(line)

    monkeypatch.setattr(control, "_write", kernel)
    assert kept.restore() == []
    assert (limit.read_text(), swap.read_text()) == ("100\n", "200\n")


def test_what_cannot_be_put_back_is_named(v1, tmp_path, monkeypatch):
    kept = control.Kept(v1)
    (tmp_path / "pids/pids.max").write_text("5\n")
    monkeypatch.setattr(control, "_try", lambda _: False)
    assert kept.restore() == [f"{v1['pids']}/pids.max"]


def test_v2_keeps_its_own_files(tmp_path):
    files = {"memory.max": "max\n", "cpu.max": "max 100000\n", "io.bfq.weight": "default 100\n"}
    kept = control.Kept({"unified": write(tmp_path, files)})
    for name in files:
        (tmp_path / name).write_text("1\n")
    assert kept.restore() == []
    assert {name: (tmp_path / name).read_text() for name in files} == files


def test_rates_of_v1(tmp_path):
    blkio = write(tmp_path, {"blkio.throttle.read_bps_device": "8:0 1024\n8:16 2048\n"})
    path = f"{blkio}/blkio.throttle.read_bps_device"
    found = control.rates({"blkio": blkio}, "BlkioDeviceReadBps", {SDB: 4096, (253, 0): 1})
    assert found == [Write(path, "8:0 0"), Write(path, "8:16 4096"), Write(path, "253:0 1")]


def test_rates_of_v2(tmp_path):
    text = "8:0 rbps=1024 wbps=max riops=max wiops=50\n8:16 rbps=max wbps=7 riops=max wiops=max\n"
    dirs = {"unified": write(tmp_path, {"io.max": text})}
    path = f"{tmp_path}/io.max"
    assert control.rates(dirs, "BlkioDeviceReadBps", {}) == [Write(path, "8:0 rbps=max")]
    assert control.rates(dirs, "BlkioDeviceWriteIOps", {SDA: 9, SDB: 0}) == [
        Write(path, "8:0 wiops=9"),
        Write(path, "8:16 wiops=max"),
    ]


def test_a_refusal_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        control.apply([Write(f"{tmp_path}/nowhere/io.max", "8:0 rbps=1")])
    assert caught.value.filename.endswith("io.max")

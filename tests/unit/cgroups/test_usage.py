"""Usage in Docker's shape (rows H-03, H-05), on made-up control files of v1, v2 and both."""

import pytest

from runengine.cgroups import usage

HOST_MEMORY = 8 << 30
PRESSURE = "some avg10=1.50 avg60=0.00 avg300=0.25 total=77\nfull avg10=0.00 total=5\n"


def write(directory, files):
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return str(directory)


@pytest.fixture
def v1(tmp_path):
    return {
        "cpu": write(
            tmp_path / "cpu", {"cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 77\n"}
        ),
        "cpuacct": write(
            tmp_path / "cpuacct",
            {
                "cpuacct.usage": "100\n",
                "cpuacct.usage_percpu": "60 40 \n",
                "cpuacct.usage_user": "70\n",
                "cpuacct.usage_sys": "30\n",
            },
        ),
        "memory": write(
            tmp_path / "memory",
            {
                "memory.usage_in_bytes": "4096\n",
                "memory.max_usage_in_bytes": "8192\n",
                "memory.failcnt": "3\n",
                "memory.limit_in_bytes": "9223372036854771712\n",
                "memory.stat": "cache 1\ntotal_inactive_file 2\ntotal_rss 40\ntotal_cache 50\n",
                "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            },
        ),
        "pids": write(tmp_path / "pids", {"pids.current": "3\n", "pids.max": "max\n"}),
        "blkio": write(
            tmp_path / "blkio",
            {
                "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Total 10\nTotal 10",
                "blkio.throttle.io_serviced_recursive": "",
            },
        ),
    }


@pytest.fixture
def v2(tmp_path):
    files = {
        "cpu.stat": "usage_usec 100\nuser_usec 70\nsystem_usec 30\nnr_periods 9\nnr_throttled 4\n"
        "throttled_usec 77\n",
        "memory.current": "4096\n",
        "memory.peak": "8192\n",
        "memory.events": "low 0\noom 3\noom_kill 1\n",
        "memory.max": "max\n",
        "memory.stat": "anon 40\nfile 50\ninactive_file 2\n",
        "pids.current": "3\n",
        "pids.max": "100\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 \n",
        "cpu.pressure": PRESSURE,
    }
    return {"unified": write(tmp_path / "v2", files)}


def test_version_1(v1):
    found = usage.read(v1, HOST_MEMORY)
    assert found.cpu == {
        "cpu_usage": {
            "total_usage": 100,
            "usage_in_kernelmode": 30,
            "usage_in_usermode": 70,
            "percpu_usage": [60, 40],
        },
        "throttling_data": {"periods": 9, "throttled_periods": 4, "throttled_time": 77},
    }
    assert found.memory == {
        "usage": 4096,
        "max_usage": 8192,
        "failcnt": 3,
        "limit": HOST_MEMORY,
        "anon": 40,
        "file": 50,
        "stats": {"cache": 1, "total_inactive_file": 2, "total_rss": 40, "total_cache": 50},
        "events": {"max": 3, "oom_kill": 1},
    }
    assert found.pids == {"current": 3}
    bytes_ = found.blkio["io_service_bytes_recursive"]
    assert bytes_[0] == {"major": 8, "minor": 0, "op": "Read", "value": 10}
    assert [entry["op"] for entry in bytes_] == ["Read", "Total"]
    assert found.blkio["io_serviced_recursive"] is None
    assert len(found.blkio) == 8


def test_version_2(v2):
    found = usage.read(v2, HOST_MEMORY)
    assert found.cpu["cpu_usage"] == {
        "total_usage": 100_000,
        "usage_in_kernelmode": 30_000,
        "usage_in_usermode": 70_000,
    }
    assert found.cpu["throttling_data"]["throttled_time"] == 77_000
    assert found.memory == {
        "usage": 4096,
        "max_usage": 8192,
        "failcnt": 3,
        "limit": HOST_MEMORY,
        "anon": 40,
        "file": 50,
        "stats": {"anon": 40, "file": 50, "inactive_file": 2},
        "events": {"low": 0, "oom": 3, "oom_kill": 1},
    }
    assert found.pids == {"current": 3, "limit": 100}
    assert found.blkio["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "read", "value": 10},
        {"major": 8, "minor": 0, "op": "write", "value": 20},
    ]
    assert [entry["value"] for entry in found.blkio["io_serviced_recursive"]] == [1, 2]


def test_a_limit_below_the_hosts_memory_is_shown_as_it_is(v1, v2, tmp_path):  # H-05
    (tmp_path / "memory/memory.limit_in_bytes").write_text("1048576\n")
    (tmp_path / "v2/memory.max").write_text("1048576\n")
    assert usage.read(v1, HOST_MEMORY).memory["limit"] == 1 << 20
    assert usage.read(v2, HOST_MEMORY).memory["limit"] == 1 << 20


def test_pressure_where_the_kernel_measures_it(v1, v2):
    wanted = {
        "some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.25, "total": 77},
        "full": {"avg10": 0.0, "total": 5},
    }
    found = usage.read(v2, HOST_MEMORY)
    assert found.cpu["psi"] == wanted
    assert "psi" not in found.memory
    hybrid = usage.read({**v1, **v2}, HOST_MEMORY)
    assert hybrid.cpu["psi"] == wanted
    assert hybrid.memory["usage"] == 4096  # v1 has the controllers


@pytest.mark.parametrize("dirs", [{"unified": "/nowhere"}, {"memory": "/nowhere"}, {}])
def test_a_cgroup_that_is_gone_is_no_error(dirs):
    found = usage.read(dirs, HOST_MEMORY)
    assert found.cpu["cpu_usage"]["total_usage"] == 0
    assert found.memory == {"limit": HOST_MEMORY, "stats": {}, "events": {}}
    assert found.pids == {}

"""From a command line to a container's configuration."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from runengine.cli import run, run_flags
from runengine.cli.context import App
from runengine.errors import EngineError, InvalidParameter, Unsupported


def build(*words: str, command: Any = run.run) -> run_flags.Request:
    ctx = command.make_context(command.name, list(words), obj=App())
    return run_flags.build(ctx.params)


def config(*words: str) -> dict[str, Any]:
    return dict(build(*words).config)


def host(*words: str) -> dict[str, Any]:
    return dict(build(*words).host)


def test_defaults():
    request = build("busybox")
    assert request.config["Image"] == "busybox"
    assert request.config["Cmd"] is None
    assert request.config["Entrypoint"] is None
    assert request.host["NetworkMode"] == ""  # the engine's default
    assert request.host["AutoRemove"] is False
    assert request.host["OomScoreAdj"] == 0  # E-13
    assert request.host["MemorySwappiness"] is None  # E-13
    assert request.host["LogConfig"] == {"Type": "", "Config": {}}  # E-13
    assert request.host["PidsLimit"] is None
    assert (request.name, request.platform, request.pull) == (None, None, "missing")
    assert request.sig_proxy
    assert not request.detach
    assert request.detach_keys == b"\x10\x11"


def test_options_end_at_the_image():
    request = build("--rm", "busybox", "ls", "--rm", "-l", "--", "-x")
    assert request.config["Cmd"] == ["ls", "--rm", "-l", "--", "-x"]
    assert request.host["AutoRemove"]


@pytest.mark.parametrize("cluster", ["-itd", "-dit", "-tid"])
def test_short_clusters(cluster: str):
    request = build(cluster, "busybox")
    assert request.config["Tty"]
    assert request.config["OpenStdin"]
    assert request.detach


def test_pflag_spellings():
    request = build(
        "--rm=true", "-i=false", "--tty=1", "-eA=b=c", "-e=D=e", "--name=x1", "busybox"
    )
    assert request.host["AutoRemove"]
    assert not request.config["OpenStdin"]
    assert request.config["Tty"]
    assert request.config["Env"] == ["A=b=c", "D=e"]
    assert request.name == "x1"


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["-m", "64m"], "Memory", 64 << 20),
        (["--memory", "1.5g"], "Memory", 3 << 29),
        (["--memory-swap", "-1"], "MemorySwap", -1),
        (["--memory-reservation", "8MiB"], "MemoryReservation", 8 << 20),
        (["--memory-swappiness", "0"], "MemorySwappiness", 0),
        (["--cpus", "1.5"], "NanoCpus", 1_500_000_000),
        (["--cpus", ".25"], "NanoCpus", 250_000_000),
        (["-c", "512"], "CpuShares", 512),
        (["--cpuset-cpus", "0-1"], "CpusetCpus", "0-1"),
        (["--numa-node", "0,2-3"], "NumaNode", "0,2-3"),
        (["--exec-cpu-affinity", "1"], "ExecCPUAffinity", {"Initial": "1", "Final": "1"}),
        (
            ["--exec-cpu-affinity", "initial=0", "--exec-cpu-affinity=final=2,3"],
            "ExecCPUAffinity",
            {"Initial": "0", "Final": "2,3"},
        ),
        (["--cpu-quota", "-1"], "CpuQuota", -1),
        (["--pids-limit", "-1"], "PidsLimit", -1),
        (["--shm-size", "0"], "ShmSize", 0),
        (["--oom-score-adj", "-500"], "OomScoreAdj", -500),
        (["--oom-kill-disable"], "OomKillDisable", True),
        (["--blkio-weight", "10"], "BlkioWeight", 10),
        (
            ["--blkio-weight-device", "/dev/vda:100"],
            "BlkioWeightDevice",
            [{"Path": "/dev/vda", "Weight": 100}],
        ),
        (
            ["--device-read-bps", "/dev/vda:1mb"],
            "BlkioDeviceReadBps",
            [{"Path": "/dev/vda", "Rate": 1 << 20}],
        ),
        (
            ["--device-write-iops", "/dev/vda:7"],
            "BlkioDeviceWriteIOps",
            [{"Path": "/dev/vda", "Rate": 7}],
        ),
        (
            ["--hugetlb", "2M:1g", "--hugetlb", "1048576kB:0"],
            "HugetlbLimits",
            [{"PageSize": "2MB", "Limit": 1 << 30}, {"PageSize": "1GB", "Limit": 0}],
        ),
        (["--cap-add", "NET_ADMIN", "--cap-add", "ALL"], "CapAdd", ["NET_ADMIN", "ALL"]),
        (["--cap-drop", "ALL"], "CapDrop", ["ALL"]),
        (["--profile", "bench"], "Profile", "bench"),
        (["--privileged"], "Privileged", True),
        (["--read-only"], "ReadonlyRootfs", True),
        (["--init"], "Init", True),
        (["--pid", "host"], "PidMode", "host"),
        (["--ipc", "container:x1"], "IpcMode", "container:x1"),
        (["--uts", "host"], "UTSMode", "host"),
        (["--cgroupns", "private"], "CgroupnsMode", "private"),
        (["--cgroup-parent", "/x"], "CgroupParent", "/x"),
        (["--runtime", "crun"], "Runtime", "crun"),
        (["--group-add", "wheel"], "GroupAdd", ["wheel"]),
        (["--dns", "1.1.1.1", "--dns", "::1"], "Dns", ["1.1.1.1", "::1"]),
        (["--dns-opt", "ndots:1"], "DnsOptions", ["ndots:1"]),
        (["--dns-search", "example.com"], "DnsSearch", ["example.com"]),
        (
            ["--add-host", "a:10.0.0.1", "--add-host", "b=::1", "--add-host", "c:host-gateway"],
            "ExtraHosts",
            ["a:10.0.0.1", "b:::1", "c:host-gateway"],
        ),
        (["--sysctl", "a.b=c"], "Sysctls", {"a.b": "c"}),
        (["--annotation", "a=b=c"], "Annotations", {"a": "b=c"}),
        (["--device-cgroup-rule", "c 1:3 r"], "DeviceCgroupRules", ["c 1:3 r"]),
        (["--net", "host"], "NetworkMode", "host"),
        (["--network", "container:x1"], "NetworkMode", "container:x1"),
        (["--network", "none", "--net", "none"], "NetworkMode", "none"),
        (["-v", "/a:/b:ro,rslave"], "Binds", ["/a:/b:ro,rslave"]),
        (["--tmpfs", "/x:size=1m", "--tmpfs", "/y"], "Tmpfs", {"/x": "size=1m", "/y": ""}),
    ],
)
def test_host_fields(words: list[str], field: str, value: object):
    assert host(*words, "busybox")[field] == value


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["-h", "box"], "Hostname", "box"),
        (["--domainname", "example.com"], "Domainname", "example.com"),
        (["-u", "1:2"], "User", "1:2"),
        (["-w", "/srv"], "WorkingDir", "/srv"),
        (["--stop-signal", "INT"], "StopSignal", "INT"),
        (["--stop-timeout", "0"], "StopTimeout", 0),
        (["--entrypoint", "/bin/sh"], "Entrypoint", ["/bin/sh"]),
        (["--entrypoint", ""], "Entrypoint", [""]),
        (["-l", "a", "-l", "b=c=d"], "Labels", {"a": "", "b": "c=d"}),
        (["--no-healthcheck"], "Healthcheck", {"Test": ["NONE"]}),
        (
            ["--expose", "80", "--expose", "5-6/udp"],
            "ExposedPorts",
            {"80/tcp": {}, "5/udp": {}, "6/udp": {}},
        ),
    ],
)
def test_config_fields(words: list[str], field: str, value: object):
    assert config(*words, "busybox")[field] == value


def test_ulimits_last_of_a_name_wins():  # E-15
    limits = host(
        "--ulimit", "nofile=1:2", "--ulimit", "core=0", "--ulimit", "nofile=5", "busybox"
    )["Ulimits"]
    assert limits == [
        {"Name": "nofile", "Soft": 5, "Hard": 5},
        {"Name": "core", "Soft": 0, "Hard": 0},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/null", ("/dev/null", "/dev/null", "rwm")),
        ("/dev/null:r", ("/dev/null", "/dev/null", "r")),
        ("/dev/null:/dev/x", ("/dev/null", "/dev/x", "rwm")),
        ("/dev/null:/dev/x:mr", ("/dev/null", "/dev/x", "mr")),
    ],
)
def test_device(text: str, expected: tuple[str, str, str]):  # E-17
    found = host("--device", text, "busybox")["Devices"][0]
    assert tuple(found.values()) == expected


def test_devices_by_name_are_requests():  # Y-06
    words = ("--gpus", "all", "--device", "a/b=c", "--device", "/dev/null", "--device", "a/b=d")
    made = host(*words, "busybox")
    assert [one["PathOnHost"] for one in made["Devices"]] == ["/dev/null"]
    by_count, by_name = made["DeviceRequests"]
    assert (by_count["Count"], by_count["Capabilities"]) == (-1, [["gpu"]])
    assert (by_name["Driver"], by_name["DeviceIDs"]) == ("cdi", ["a/b=c", "a/b=d"])
    assert host("busybox")["DeviceRequests"] is None


def test_streams_follow_docker():
    assert config("busybox")["AttachStdout"]
    both = config("-i", "busybox")
    assert both["AttachStdin"]
    assert both["StdinOnce"]
    only_out = config("-i", "-a", "stdout", "busybox")
    assert only_out["AttachStdout"]
    assert not only_out["AttachStdin"]
    assert not only_out["AttachStderr"]
    assert not only_out["StdinOnce"]
    away = config("-di", "busybox")
    assert away["OpenStdin"]
    assert not any(away[name] for name in ("AttachStdin", "AttachStdout", "StdinOnce"))


def test_seccomp_file_is_inlined(tmp_path):
    profile = tmp_path / "p.json"
    profile.write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }\n')
    options = host("--security-opt", f"seccomp={profile}", "busybox")["SecurityOpt"]
    assert options == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']
    assert json.loads(options[0].removeprefix("seccomp="))


@pytest.mark.parametrize(
    "word", ["seccomp=unconfined", "seccomp:unconfined", "no-new-privileges", "apparmor=x",
             "seccomp=default", "seccomp=runtime/default", "seccomp=builtin"]
)
def test_security_words_are_kept(word: str):  # A-04..A-07
    assert host("--security-opt", word, "busybox")["SecurityOpt"] == [word]


def test_systempaths_unconfined_opens_the_paths():
    found = host("--security-opt", "systempaths=unconfined", "busybox")
    assert found["MaskedPaths"] == []
    assert found["ReadonlyPaths"] == []
    assert found["SecurityOpt"] == []


def test_relative_bind_is_the_callers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = host("-v", "./x:/y", "--mount", "type=bind,src=.,dst=/z", "busybox")
    assert found["Binds"] == [f"{tmp_path}/x:/y"]
    assert found["Mounts"][0]["Source"] == str(tmp_path)


def test_detach_keys():
    assert build("--detach-keys", "ctrl-a,x", "busybox").detach_keys == b"\x01x"
    assert build("--detach-keys", "", "busybox").detach_keys == b""


@pytest.mark.parametrize(
    "words",
    [
        ["-d", "-a", "stdout"],  # E-14
        ["--stop-timeout", "-2"],
        ["--uts", "host", "-h", "x"],
        ["--cpus", "1", "--cpu-quota", "1000"],
        ["--log-driver", "none", "--log-opt", "a=b"],
        ["--log-driver", "passthrough"],
        ["--log-opt", "a"],
        ["--pull", "sometimes"],
        ["--platform", "linux/"],
        ["--detach-keys", "ctrl-1"],
        ["-e", "=x"],  # E-03
        ["-e", ""],
        ["-l", "=x"],
        ["--env-file", "/nonexistent"],  # E-04
        ["--label-file", "/"],
        ["--annotation", "=x"],
        ["--security-opt", "bogus"],
        ["--security-opt", "seccomp=/nonexistent"],
        ["--security-opt", "seccomp={"],
        ["--no-healthcheck", "--health-cmd", "x"],
        ["-v", "/a:b"],
        ["-v", "/a:/"],
        ["-v", "/a:/b:rox"],
        ["-v", "a/b:/x"],
        ["-v", "relative"],
        ["--mount", "dst=/x,volume-subpath=../y"],
        ["--mount", "type=bind,src=/a"],
        ["--mount", "type=bind,dst=/a"],
        ["--mount", "bogus"],
        ["--tmpfs", "x"],
    ],
)
def test_refused_before_anything_is_made(words: list[str]):
    with pytest.raises(InvalidParameter):
        build(*words, "busybox")


def test_who_stays_to_see_the_output_gets_it_and_no_log_does():
    """Of a measurement; what is given outright stays, and who is not there needs the log."""
    profile = ("--profile", "bench")
    assert host(*profile, "busybox")["LogConfig"]["Type"] == "none"
    assert host(*profile, "-d", "busybox")["LogConfig"]["Type"] == ""
    assert host(*profile, "-a", "stdin", "busybox")["LogConfig"]["Type"] == ""
    assert host(*profile, "--log-driver", "cri", "busybox")["LogConfig"]["Type"] == "cri"
    assert host("-d", "--log-driver", "passthrough", "x")["LogConfig"]["Type"] == "passthrough"
    created = build(*profile, "busybox", command=run.create)
    assert created.host["LogConfig"]["Type"] == ""


def test_limits_of_the_disk():
    found = build("--storage-opt", "size=1g", "--storage-opt", "inodes=9", "busybox").host
    assert found.get("StorageOpt") == {"size": "1g", "inodes": "9"}
    found = build("--disk-quota", "1g", "busybox").host
    assert (found.get("DiskQuota"), found.get("QuotaId")) == ({".*": "1g"}, "-1")
    found = build("--disk-quota", "/=1g", "--quota-id", "7", "busybox").host
    assert (found.get("DiskQuota"), found.get("QuotaId")) == ({"/": "1g"}, "7")
    for words in (["--storage-opt", "size"], ["--quota-id", "7"], ["--disk-quota", "/=0"]):
        with pytest.raises(InvalidParameter):
            build(*words, "busybox")
    with pytest.raises(Unsupported, match=r"dm\.basesize"):
        build("--storage-opt", "dm.basesize=1g", "busybox")


def test_a_map_means_a_user_namespace():
    found = build("--uidmap", "0:100:5", "busybox").host
    assert found["UsernsMode"] == "private"
    assert found.get("IDMappings") == {"UidMap": ["0:100:5"], "GidMap": []}
    assert build("--userns", "auto", "busybox").host["UsernsMode"] == "auto"


def test_volumes_go_where_docker_has_them():
    words = ["-v", "/anonymous/", "-v", "named:/x:ro", "--volumes-from", "one:ro"]
    found = build(*words, "--mount", "dst=/y", "--volume-driver", "nfs", "busybox")
    assert found.config["Volumes"] == {"/anonymous": {}}
    assert found.host["Binds"] == ["named:/x:ro"]
    assert found.host["Mounts"] == [{"Type": "volume", "Target": "/y"}]
    assert found.host["VolumesFrom"] == ["one:ro"]
    assert found.host.get("VolumeDriver") == "nfs"


def test_a_read_only_root_can_have_scratch_space():
    words = ["--read-only", "--read-only-tmpfs", "-v", "data:/run", "-v", "/var/tmp"]
    found = build(*words, "busybox").host
    assert found["Tmpfs"] == {"/tmp": "exec,mode=1777"}
    assert build("--read-only", "busybox").host["Tmpfs"] == {}
    assert build("--read-only-tmpfs", "busybox").host["Tmpfs"] == {}


@pytest.mark.parametrize(
    "words",
    [
        ["--bogus"],
        ["-Z"],
        ["--rm=maybe"],
        ["-m", "1q"],
        ["-m", "-1"],
        ["--cpus", "1.0000000001"],
        ["--cpus", "x"],
        ["--cpu-shares", "1_0"],
        ["--cpu-shares", "99999999999999999999"],
        ["--ulimit", "nofile"],
        ["--ulimit", "bogus=1"],
        ["--ulimit", "nofile=2:1"],
        ["--sysctl", "bogus"],  # E-16
        ["--device", ""],
        ["--device", "x"],
        ["--device", "/dev/null:rr"],
        ["--device", "/a:/b:rwm:x"],
        ["--device", "vendor.com/class="],
        ["--gpus", "some"],
        ["--gpus", "bogus=1"],
        ["-a", "stdfoo"],
        ["-h", "-x"],
        ["-h", "a b"],
        ["-h", "x" * 65],
        ["--stop-signal", "BOGUS"],
        ["--dns", "1.2.3"],
        ["--add-host", "x"],
        ["--add-host", "x:1"],
        ["--expose", "0"],
        ["--expose", "9-8"],
        ["--expose", "80/icmp"],
        ["--cgroupns", "x"],
        ["--blkio-weight-device", "/dev/vda:5"],
        ["--device-read-bps", "vda:1"],
        ["--device-read-iops", "/dev/vda:1k"],
    ],
)
def test_bad_flag_values(words: list[str]):
    with pytest.raises(click.UsageError) as caught:
        build(*words, "busybox")
    assert caught.value.exit_code == 125


@pytest.mark.parametrize("word", ["--name", "-m", "-itm"])
def test_flag_without_its_value(word: str):
    with pytest.raises(click.UsageError, match="flag needs an argument"):
        build(word)


def test_empty_image_name():
    with pytest.raises(EngineError):
        build("")


def test_kernel_memory_is_warned_away():  # E-53
    (text,) = build("--kernel-memory", "64m", "busybox").warnings
    assert text.endswith("discard --kernel-memory")
    assert build("busybox").warnings == ()

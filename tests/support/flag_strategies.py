"""Random command lines of ``run``: flags that go together and flags that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from runengine.cli import run, run_flags
from runengine.cli.context import App
from runengine.linux.kernel import CAPABILITIES
from runengine.oci_spec import seccomp

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
NAME = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
CAPABILITY = st.sampled_from(["ALL", "all", *CAPABILITIES, *(n[4:].lower() for n in CAPABILITIES)])
PATH = st.sampled_from(["/data", "/data/deep", "/srv/a b", "/opt/x/../y", "/tmp", "/etc/hosts"])
SIZE = st.sampled_from(["16m", "64m", "1g", "0"])
PROFILES = [
    '{"defaultAction":"SCMP_ACT_ALLOW"}',
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","nosuchcall"],'
    '"action":"SCMP_ACT_ERRNO","errnoRet":18,"comment":"x","includes":{"caps":["CAP_CHOWN"]}}]}',
]
SECURITY = [
    *("no-new-privileges", "seccomp=unconfined", "apparmor=unconfined", "writable-cgroups"),
    *("seccomp=default", "seccomp=runtime/default", "seccomp-arch=x86", "seccomp-arch=all"),
    *("systempaths=unconfined", "mask=/proc/stat", "mask=/nowhere", "unmask=/proc/acpi"),
    *("unmask=ALL", "label=disable", *(f"seccomp={text}" for text in PROFILES)),
]
assert seccomp.ALLOW in PROFILES[0]


def tmpfs_options() -> SearchStrategy[str]:
    words = st.sampled_from(["exec", "suid", "ro", "size=1m", "mode=1777", "noatime", "dev"])
    return st.builds(",".join, st.lists(words, unique=True, min_size=1, max_size=3))


def valued(source: str) -> dict[str, SearchStrategy[str]]:
    """Flags with a value, any number of times; binds are of the directory ``source``."""
    number = st.integers(-1000, 1000).map(str)
    modes = st.sampled_from(["", ":ro", ":rw", ":rprivate", ":ro,private", ":z"])
    # Not so low that the runtime itself, which has them already when it sets the filter, fails.
    limits = st.builds("{}={}:{}".format, st.sampled_from(["nofile", "core", "nproc", "stack"]),
                       st.integers(64, 500), st.integers(500, 900))  # fmt: skip
    return {
        "--cap-add": CAPABILITY,
        "--cap-drop": CAPABILITY,
        "--security-opt": st.sampled_from(SECURITY),
        "-e": st.builds("{}={}".format, NAME, TEXT),
        "--user": st.sampled_from(["0", "7", "7:8", "root", "nobody", "0:wheel", "4294967294"]),
        "--group-add": st.sampled_from(["wheel", "5", "0"]),
        "--workdir": st.sampled_from(["/", "/tmp", "/new/dir", "/proc", "/etc/../srv"]),
        "--hostname": NAME,
        "--pid": st.sampled_from(["host", "private"]),
        "--ipc": st.sampled_from(["host", "private", "none"]),
        "--uts": st.sampled_from(["host", "private"]),
        "--cgroupns": st.sampled_from(["host", "private"]),
        "--network": st.sampled_from(["none", "host"]),
        "--memory": SIZE,
        "--memory-reservation": SIZE,
        "--memory-swap": st.sampled_from(["-1", "128m", "2g"]),
        "--cpu-shares": st.sampled_from(["0", "2", "1024"]),
        "--cpus": st.sampled_from(["0.5", "1"]),
        "--cpuset-cpus": st.just("0"),
        "--pids-limit": st.sampled_from(["-1", "0", "50"]),
        "--oom-score-adj": number,
        "--shm-size": SIZE,
        "--ulimit": limits,
        "--sysctl": st.sampled_from(["net.ipv4.ip_forward=1", "kernel.shmmax=1000000"]),
        "--device": st.sampled_from(["/dev/null:/dev/mine", "/dev/zero:/dev/z:r"]),
        "--device-cgroup-rule": st.sampled_from(["c 1:3 rwm", "b *:* r", "a *:* rwm"]),
        "--tmpfs": st.builds("{}:{}".format, PATH, tmpfs_options()),
        "-v": st.builds("{}:{}{}".format, st.just(source), PATH, modes),
        "--mount": st.builds(
            "type=bind,src={},dst={}{}".format,
            st.just(source),
            PATH,
            st.sampled_from(["", ",readonly", ",readonly,bind-recursive=readonly",
                             ",bind-recursive=disabled", ",bind-propagation=private"]),
        ),
        "--annotation": st.builds("{}={}".format, NAME, TEXT),
    }  # fmt: skip


SWITCHES = ("--privileged", "--read-only", "--rm")
COMMAND = ("busybox", "sleep", "100")


def flags(source: str) -> SearchStrategy[list[str]]:
    """Words between ``run`` and the image."""
    one = [st.tuples(st.just(flag), value) for flag, value in valued(source).items()]
    several = st.lists(st.one_of(one), max_size=8)
    switches = st.lists(st.sampled_from(SWITCHES), unique=True, max_size=1)
    return st.builds(
        lambda pairs, alone: [word for pair in pairs for word in pair] + alone, several, switches
    )


def request(words: list[str]) -> run_flags.Request:
    """What the command line makes of them. Raises EngineError and click's errors."""
    context: Any = run.run.make_context("run", [*words, *COMMAND], obj=App())
    return run_flags.build(context.params)

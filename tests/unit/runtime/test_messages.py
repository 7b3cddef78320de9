"""The table of runtime messages, on texts that runc 1.1.5 really wrote."""

from __future__ import annotations

import pytest

from runengine import errors
from runengine.runtime import messages
from runengine.runtime.runc import error_of

RUN = "runc run failed: unable to start container process: "
INIT = RUN + "error during container init: "


@pytest.mark.parametrize(
    ("message", "kind", "code", "brief"),
    [
        (
            RUN + 'exec: "nosuch": executable file not found in $PATH',
            errors.CommandNotFound,
            127,
            'exec: "nosuch": executable file not found in $PATH',
        ),
        (
            RUN + 'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory',
            errors.CommandNotFound,
            127,
            'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory',
        ),
        (
            RUN + 'exec: "/bin/noexec": permission denied',
            errors.CommandNotExecutable,
            126,
            'exec: "/bin/noexec": permission denied',
        ),
        (
            'exec failed: unable to start container process: exec: "": '
            "executable file not found in $PATH",
            errors.CommandNotFound,
            127,
            'exec: "": executable file not found in $PATH',
        ),
        (
            INIT + 'error mounting "/nonexistent" to rootfs at "/x": stat /nonexistent: '
            "no such file or directory",
            errors.InvalidParameter,
            125,
            'error mounting "/nonexistent" to rootfs at "/x": stat /nonexistent: '
            "no such file or directory",
        ),
        (
            "runc create failed: unable to start container process: "
            "failed to fulfil mount request: open /nonexistent: no such file or directory",
            errors.InvalidParameter,
            125,
            "failed to fulfil mount request: open /nonexistent: no such file or directory",
        ),
        (
            INIT + 'error mounting "x" to rootfs at "/x": mount x:/x (via /proc/self/fd/6): '
            "no such device",
            errors.Unsupported,
            125,
            'error mounting "x" to rootfs at "/x": mount x:/x (via /proc/self/fd/6): '
            "no such device",
        ),
        (
            INIT + "mkdir /bin/busybox: not a directory",
            errors.InvalidParameter,
            125,
            "mkdir /bin/busybox: not a directory",
        ),
        (
            'exec failed: unable to start container process: chdir to cwd ("/gone") set in '
            "config.json failed: no such file or directory",
            errors.CommandNotFound,
            127,
            'chdir to cwd ("/gone") set in config.json failed: no such file or directory',
        ),
        (
            INIT + "error running hook #0: fork/exec /no/hook: no such file or directory",
            errors.RuntimeFailed,
            125,
            "error running hook #0: fork/exec /no/hook: no such file or directory",
        ),
        (
            RUN + "unable to apply caps: operation not permitted",
            errors.Unsupported,
            125,
            "unable to apply caps: operation not permitted",
        ),
        (
            INIT + "unable to apply apparmor profile: apparmor failed to apply profile: "
            "write /proc/self/attr/exec: invalid argument",
            errors.Unsupported,
            125,
            "unable to apply apparmor profile: apparmor failed to apply profile: "
            "write /proc/self/attr/exec: invalid argument",
        ),
        (
            "runc run failed: unable to create new parent process: namespace path: "
            "lstat /proc/999999/ns/net: no such file or directory",
            errors.Conflict,
            125,
            "namespace path: lstat /proc/999999/ns/net: no such file or directory",
        ),
        (
            INIT + "error setting cgroup config for procHooks process: unable to set memory "
            "limit to 4096 (current usage: 2297856, peak usage: 2535424)",
            errors.InvalidParameter,
            125,
            "error setting cgroup config for procHooks process: unable to set memory "
            "limit to 4096 (current usage: 2297856, peak usage: 2535424)",
        ),
        ("container does not exist", errors.NotFound, 125, "container does not exist"),
        ("something new", errors.RuntimeFailed, 125, "something new"),
    ],
)
def test_real_messages(
    message: str, kind: type[errors.EngineError], code: int, brief: str
) -> None:
    failure = messages.failure(message)
    error = error_of(failure)
    assert type(error) is kind
    assert error.exit_code == failure.exit_code == code
    assert error.brief == brief


def entry(message: str, level: str = "error") -> dict[str, str]:
    return {"level": level, "msg": message, "time": "2026-11-23T19:01:58Z"}


def test_first_stage_says_more_than_the_last() -> None:
    log = [
        entry("nsexec[12538]: failed to update /proc/self/oom_score_adj: Permission denied",
              "fatal"),
        entry(RUN + "can't get final child's PID from pipe: EOF"),
    ]
    failure = messages.from_log(log, "runc", "ended with status 1")
    assert failure.kind == messages.UNSUPPORTED
    assert failure.brief.startswith("nsexec[12538]: failed to update /proc/self/oom_score_adj")


def test_warnings_are_no_errors() -> None:
    log = [entry("unable to get oom kill count", "warning"), entry(RUN + "boom")]
    assert messages.from_log(log, "runc", "").brief == "boom"


def test_runtime_that_says_nothing() -> None:
    failure = messages.from_log([entry("x", "warning")], "runc", "was killed by signal 9")
    assert failure.brief == "runc was killed by signal 9 without saying why"


def test_without_an_error_in_the_log_its_own_words_are_told() -> None:
    failure = messages.from_log([], "runc", "ended with status 2", "runtime: no more threads")
    assert failure.brief == "runc ended with status 2: runtime: no more threads"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("exec /bin/badfmt: exec format error\n", 126),
        ("exec /bin/badinterp: no such file or directory\n", 127),
        ("exec /bin/x: permission denied\r\n", 126),
        ("", 126),
    ],
)
def test_last_words_of_an_init(text: str, code: int) -> None:
    failure = messages.late(text)
    assert failure.exit_code == code
    assert failure.brief == (text.strip() or "the program could not be executed")


def test_last_words_of_a_hook_inside_are_told_whole() -> None:
    text = "error running hook #0: exit status 3, stdout: , stderr: a: no such file or directory\n"
    failure = messages.late(text)
    assert (failure.exit_code, failure.brief) == (125, text.strip())


def test_every_kind_is_an_error() -> None:
    for _, kind, _ in messages._TABLE:
        assert issubclass(getattr(errors, kind), errors.EngineError)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("unable to apply cgroup configuration: mkdir /sys/fs/cgroup/cpuset/runengine: "
         "no such file or directory", "see runengine doctor"),
        ('error setting cgroup config for procHooks process: failed to write "7": write '
         "/sys/fs/cgroup/cpuset/runengine/a/cpuset.cpus: invalid argument", "processors"),
    ],
)  # fmt: skip
def test_what_to_do_about_cgroups(message, words):
    assert words in messages.failure(RUN + message).resolution

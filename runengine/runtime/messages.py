"""What the runtime's errors mean. The monitor loads this when a start failed: no heavy imports.

runc has no error codes, only texts (checked against 1.1.5, 1.1.15 and 1.3.6; crun's are
similar). They are read in this one table and nowhere else.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOT_FOUND = "CommandNotFound"
NOT_EXECUTABLE = "CommandNotExecutable"
FAILED = "RuntimeFailed"
INVALID = "InvalidParameter"
UNSUPPORTED = "Unsupported"
MISSING = "NotFound"
CONFLICT = "Conflict"
EXIT_CODES = {NOT_FOUND: 127, NOT_EXECUTABLE: 126}

_FRAMES = (
    "runc run failed: ",
    "runc create failed: ",
    "unable to start container process: ",
    "exec failed: ",
    "error during container init: ",
    "error executing setns process: ",
    "unable to create new parent process: ",
    "OCI runtime error: ",
)

_HOOK_FAILED = "error running hook"

# Words in the message, kind of error, what to do; the first that fits. Every alternative of the
# first column must be in the message.
_TABLE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    ((_HOOK_FAILED,), FAILED, "look at the hook's program and what it wrote"),
    (("exec:", "executable file not found"), NOT_FOUND, ""),
    (("exec:", "no such file or directory"), NOT_FOUND, ""),
    (("exec:", "permission denied"), NOT_EXECUTABLE, ""),
    (("exec:", "is a directory"), NOT_EXECUTABLE, ""),
    (("exec format error",), NOT_EXECUTABLE, "built for another architecture, or without #! line"),
    (("executable file", "not found"), NOT_FOUND, ""),
    (("error mounting", "not a directory"), INVALID, "source and destination must both be"
     " directories, or both be files"),
    (("error mounting", "no such file or directory"), INVALID, "the source must exist"),
    (("mount request", "no such file or directory"), INVALID, "the source must exist"),
    (("error mounting", "no such device"), UNSUPPORTED, "this kernel lacks the file system"),
    (("error mounting",), FAILED, ""),
    (("mkdir ", "not a directory"), INVALID, "a component of the path is a file"),
    (("mkdir ", "file exists"), INVALID, "the path is a file"),
    (("chdir to cwd", "permission denied"), NOT_EXECUTABLE, "the user must be able to enter it"),
    (("chdir to cwd", "not a directory"), NOT_EXECUTABLE, "the working directory is a file"),
    (("chdir to cwd",), NOT_FOUND, "the working directory must exist"),
    (("Cwd must be",), INVALID, "give the working directory as an absolute path"),
    (("apparmor",), UNSUPPORTED, "load the profile, or use --security-opt apparmor=unconfined"),
    (("unable to apply caps",), UNSUPPORTED, "this host's bounding set lacks a capability"),
    (("oom_score_adj",), UNSUPPORTED, "lowering the OOM score needs CAP_SYS_RESOURCE"),
    (("setting rlimit",), INVALID, "raising a limit above the host's needs CAP_SYS_RESOURCE"),
    (("wrong rlimit value",), INVALID, ""),
    (("/proc/sys/", "no such file"), INVALID, "no such sysctl on this kernel"),
    (("sysctl", "not in a separate"), INVALID, "only sysctls of a namespace can be set"),
    (("unable to set memory limit",), INVALID, "raise --memory"),
    (("weight", "operation not supported"), UNSUPPORTED, "the device's I/O scheduler must be bfq,"
     " see /sys/block/DEVICE/queue/scheduler"),
    (("cgroup", "mkdir /sys/fs/cgroup", "no such file"), FAILED, "the cgroups are not where they"
     " are mounted: see runengine doctor"),
    (("cgroup", "cpuset."), INVALID, "name processors and memory nodes that this host has"),
    (("cgroup", "invalid argument"), INVALID, ""),
    (("namespace path",), CONFLICT, "the process whose namespace is to be joined has gone"),
    (("seccomp", "not a valid"), INVALID, ""),
    (("invalid rootfs",), FAILED, ""),
    (("container process is already dead",), FAILED, "its init was killed before the program"
     " began: by a seccomp profile, or for want of memory (--memory)"),
    (("container does not exist",), MISSING, ""),
    (("container", "already exists"), CONFLICT, ""),
    (("cannot exec in a stopped container",), CONFLICT, ""),
    (("cannot exec a container that has stopped",), CONFLICT, ""),
    (("cannot exec in a paused container",), CONFLICT, "unpause it first"),
)


class Failure:
    """A runtime's error: ``kind`` is the name of a class in runengine.errors."""

    __slots__ = ("brief", "kind", "resolution")

    def __init__(self, kind: str, brief: str, resolution: str = "") -> None:
        self.kind = kind
        self.brief = brief
        self.resolution = resolution

    @property
    def exit_code(self) -> int:
        """What a shell would say: 127, 126, or the engine's own 125."""
        return EXIT_CODES.get(self.kind, 125)


def failure(message: str) -> Failure:
    """What an error's text means."""
    brief = shorten(message)
    for words, kind, resolution in _TABLE:
        if all(word in message for word in words):
            return Failure(kind, brief, resolution)
    return Failure(FAILED, brief)


def shorten(message: str) -> str:
    """The text without the runtime's story of which of its steps it was in."""
    message = message.strip()
    while True:
        for frame in _FRAMES:
            if message.startswith(frame):
                message = message[len(frame) :]
                break
        else:
            return message


def from_log(
    entries: list[dict[str, Any]], name: str, status: str, said: str = ""
) -> Failure:
    """The failure that the entries of a runtime's JSON log tell of.

    ``name`` and ``status`` say which command it was and how it ended, for a log without errors
    (the runtime was killed); ``said`` is what it then wrote elsewhere.
    """
    levels = ("error", "fatal", "panic")
    texts = [str(entry.get("msg", "")) for entry in entries if entry.get("level") in levels]
    if not texts:
        return Failure(FAILED, f"{name} {status}{f': {said}' if said else ' without saying why'}")
    found = failure(texts[-1])
    # An error of its first stage (in C) comes before "EOF", which tells nothing.
    earlier = "; ".join(shorten(text) for text in texts[:-1])
    if earlier and found.kind == FAILED:
        told = failure(earlier)
        return Failure(told.kind, f"{told.brief}; {found.brief}", told.resolution)
    return found


def late(text: str) -> Failure:
    """The failure of an init that ended before it became the program.

    runc then writes ``exec /path: <reason>`` to the container's standard error: the interpreter is
    missing, or the kernel knows no such format. So it does with a hook that failed inside, and
    all that the hook wrote.
    """
    hook = text.find(_HOOK_FAILED)
    if hook >= 0:
        return failure(text[hook:].strip())
    line = text.strip().splitlines()[-1] if text.strip() else "the program could not be executed"
    if line.endswith("no such file or directory"):
        return Failure(NOT_FOUND, line, "its interpreter or loader is missing in the image")
    resolution = "built for another architecture, or without #! line"
    return Failure(NOT_EXECUTABLE, line, resolution if "format error" in line else "")

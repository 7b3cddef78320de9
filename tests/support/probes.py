"""Small static programs that try one thing inside a container and say how it went."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Who a process is once the kernel has looked at its program's mode.
EUID = r"""
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d\n", geteuid()); return 0; }
"""

# Opens a file, which need not be below the root, by what its filesystem calls it.
HANDLE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    struct file_handle *handle = malloc(sizeof *handle + MAX_HANDLE_SZ);
    int mount, at;
    handle->handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(AT_FDCWD, argv[1], handle, &mount, 0)) { perror("name"); return 1; }
    at = open(argv[1], O_RDONLY);
    if (open_by_handle_at(at, handle, O_RDONLY) < 0) { perror("open"); return 1; }
    puts("through");
    return 0;
}
"""

# Makes the system call NUMBER[:ARGUMENT...], the other arguments 0 or, with a trailing '!',
# an address that is not there; prints errno, 0 for success. In a child, as some would end it.
SYSCALLS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static int attempt(char *text) {
    long a[7] = {0};
    char *rest;
    int i = 0, to[2], told = -1, status;
    a[i++] = strtol(text, &rest, 0);
    while (*rest == ':' && i < 7) a[i++] = strtoul(rest + 1, &rest, 0);
    if (*rest == '!') while (i < 7) a[i++] = -4096;
    if (pipe(to)) exit(1);
    pid_t child = fork();
    if (child == 0) {
        errno = 0;
        pid_t me = getpid();
        long result = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
        told = result < 0 ? errno : 0;
        if (getpid() == me && write(to[1], &told, sizeof told) < 0) _exit(2);
        _exit(0);
    }
    close(to[1]);
    if (read(to[0], &told, sizeof told) <= 0) told = -1;
    close(to[0]);
    waitpid(child, &status, 0);
    return told;
}
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) printf("%d\n", attempt(argv[i]));
    return 0;
}
"""

SOURCES = {"euid": EUID, "handle": HANDLE, "syscalls": SYSCALLS}


def build(directory: Path) -> Path:
    """Compile every program into ``directory``; skip the test where that cannot be."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc on PATH (apt-get install gcc libc6-dev)")
    for name, source in SOURCES.items():
        done = subprocess.run(
            ["gcc", "-O1", "-static", "-x", "c", "-o", directory / name, "-"],
            input=source,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"gcc cannot build static programs here: {done.stderr[-200:]}")
    return directory

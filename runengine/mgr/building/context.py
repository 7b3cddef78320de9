"""The context and the Dockerfile of a build, as files that a builder can be pointed at."""

from __future__ import annotations

import os
import subprocess
from itertools import chain
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.mgr.building.dockerfile import LIMIT_BYTES
from runengine.mgr.building.request import STDIN
from runengine.mgr.image.archive import COMPRESSED, chunks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.building.request import BuildRequest
    from runengine.mgr.image.archive import Readable

NAMES = ("Dockerfile", "Containerfile")
_ADDRESSES = ("http://", "https://", "git://", "git@", "github.com/")
_USTAR = slice(257, 262)
_BLOCK = 512


def prepare(request: BuildRequest, directory: str, stdin: Readable) -> tuple[str, str]:
    """Context and Dockerfile; what comes by ``stdin`` is written below ``directory``.

    The second is empty where the context is an address. Raises InvalidParameter.
    """
    if request.context == STDIN and request.dockerfile == STDIN:
        raise InvalidParameter("invalid argument: can't use stdin for both context and Dockerfile")
    if request.context.startswith(_ADDRESSES):
        if request.dockerfile == STDIN:
            raise InvalidParameter("a Dockerfile from stdin needs a directory as context")
        return request.context, request.dockerfile
    if request.context == STDIN:
        return _from_stdin(request, directory, stdin)
    if not os.path.isdir(request.context):
        raise InvalidParameter(
            f"unable to prepare context: there is no directory {request.context}",
            resolution="name a directory, an address, or - for a tar on stdin",
        )
    context = os.path.abspath(request.context)
    if request.dockerfile == STDIN:
        return context, _written(directory, b"".join(_limited(chunks_of(stdin))))
    return context, _dockerfile(request, context)


def _dockerfile(request: BuildRequest, context: str) -> str:
    """The named file, by the caller's directory or else the context's; or the usual ones."""
    if request.dockerfile:
        places = [os.path.abspath(request.dockerfile), f"{context}/{request.dockerfile}"]
    else:
        places = [f"{context}/{name}" for name in NAMES]
    for path in places:
        if os.path.isfile(path):
            return path
    raise InvalidParameter(
        f"unable to prepare context: there is no {request.dockerfile or NAMES[0]} in {context}",
        resolution="name it with -f",
    )


def _from_stdin(request: BuildRequest, directory: str, stdin: Readable) -> tuple[str, str]:
    """A tar is unpacked; anything else is a Dockerfile, and the context is empty."""
    context = f"{directory}/context"
    os.mkdir(context, 0o700)
    chunks = chunks_of(stdin)
    head = b""
    while len(head) < _BLOCK and (chunk := next(chunks, b"")):
        head += chunk
    if not head:
        raise InvalidParameter("there is nothing on stdin to build from")
    if not head.startswith(COMPRESSED) and head[_USTAR] != b"ustar":
        return context, _written(directory, b"".join(_limited(chain((head,), chunks))))
    archive = f"{directory}/context.tar"
    with open(archive, "wb") as file:
        file.write(head)
        for chunk in chunks:
            file.write(chunk)
    done = subprocess.run(
        ["tar", "-xf", archive, "-C", context], capture_output=True, text=True, check=False
    )
    os.unlink(archive)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it is damaged"])[-1]
        raise InvalidParameter(f"cannot unpack the context on stdin: {reason}")
    return context, _dockerfile(request, context)


def _limited(chunks: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > LIMIT_BYTES:
            raise InvalidParameter(f"the Dockerfile on stdin has more than {LIMIT_BYTES} bytes")
        yield chunk


def _written(directory: str, data: bytes) -> str:
    path = f"{directory}/Dockerfile"
    with open(path, "wb") as file:
        file.write(data)
    return path

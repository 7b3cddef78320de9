"""Taking in a stream in a process of its own.

Reading a pipe cannot be broken off from within; a process can. So ^C ends a load at once, however
long the other side of the pipe keeps silent, and the parent cleans up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.mgr.image import workers
from runengine.mgr.image.context import disk_errors
from runengine.mgr.image.register import Arrived

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.progress import Progress
    from runengine.mgr.image.workers import Message, Send


def bring(
    context: ImageContext, take_in: Callable[[Progress], Iterable[Arrived]], progress: Progress
) -> list[Arrived]:
    """The images that ``take_in`` yields, made in a worker. Raises what it raises."""
    arrived: list[Arrived] = []

    def receive(message: Message) -> None:
        if "layer" in message:
            progress.layer(*message["layer"])
        elif "line" in message:
            progress.line(message["line"])
        else:
            arrived.append(Arrived(*message["image"]))

    def work(_numbers: Iterator[int], send: Send) -> None:
        with disk_errors(context.paths.root):
            for image in take_in(_Sender(send)):
                send({"image": list(image)})

    workers.share(work, 1, 1, receive)
    return arrived


class _Sender:
    """Progress on its way to the parent."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def layer(self, key: str, status: str, current: int, total: int | None) -> None:
        """One layer's status."""
        self._send({"layer": [key, status, current, total]})

    def line(self, text: str) -> None:
        """A line about the whole."""
        self._send({"line": text})

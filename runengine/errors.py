"""The exception tree. The CLI and the HTTP API only render it.

EngineError                 anything the operator should read as one line
├── InvalidParameter        the request itself is wrong (400)
│   └── AmbiguousName       a prefix matches several objects (400)
├── NotFound                no such object (404)
├── NotModified             already in the asked-for state (304)
├── Conflict                the object's state forbids it (409)
│   └── AlreadyExists       the name or id is taken (409)
├── Unauthorized            the registry refused the credentials (403)
├── Unavailable             a peer or a program that we need does not answer or is missing (503)
├── Unsupported             this kernel, host or runtime cannot do it (501)
├── TimedOut                a deadline passed (504)
├── Corrupt                 content does not match its digest or format (500)
├── RuntimeFailed           runc reported an error (500)
│   ├── CommandNotFound     the container's command does not exist (exit code 127)
│   └── CommandNotExecutable  it exists but cannot be executed (exit code 126)
└── StateError              an engine's own record is damaged (500)
"""

from __future__ import annotations

from typing import ClassVar


class EngineError(Exception):
    """An error for the operator: what failed on which object, and what to do about it.

    ``brief`` is one line that names the object. ``details`` is what the lower layer said.
    ``resolution`` is what the operator can do.
    """

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 125

    def __init__(
        self, brief: str, *, details: str | None = None, resolution: str | None = None
    ) -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.resolution = resolution

    def __str__(self) -> str:
        text = self.brief
        if self.details:
            text += f": {self.details}"
        if self.resolution:
            text += f" ({self.resolution})"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword fields across process borders (workers pickle their errors)."""
        return _rebuild, (type(self), self.brief, self.details, self.resolution)


def _rebuild(
    kind: type[EngineError], brief: str, details: str | None, resolution: str | None
) -> EngineError:
    return kind(brief, details=details, resolution=resolution)


class InvalidParameter(EngineError):
    """The request itself is wrong."""

    http_status = 400


class AmbiguousName(InvalidParameter):
    """A prefix matches several objects."""


class NotFound(EngineError):
    """No such object."""

    http_status = 404


class NotModified(EngineError):
    """The object already is in the asked-for state; a CLI treats it as success."""

    http_status = 304


class Conflict(EngineError):
    """The object's state, or another object, forbids the operation."""

    http_status = 409


class AlreadyExists(Conflict):
    """The name or id is taken."""


class Unauthorized(EngineError):
    """The registry refused the credentials, or wants some."""

    http_status = 403


class Unavailable(EngineError):
    """A peer does not answer, or a program that we need is missing."""

    http_status = 503


class Unsupported(EngineError):
    """This kernel, host or runtime cannot do it."""

    http_status = 501


class TimedOut(EngineError):
    """A deadline passed."""

    http_status = 504


class Corrupt(EngineError):
    """Content does not match its digest, its size or its format."""


class RuntimeFailed(EngineError):
    """The OCI runtime reported an error."""


class CommandNotFound(RuntimeFailed):
    """The container's command does not exist."""

    http_status = 400
    exit_code = 127


class CommandNotExecutable(RuntimeFailed):
    """The container's command exists but cannot be executed."""

    http_status = 400
    exit_code = 126


class StateError(EngineError):
    """A record of the engine's own is damaged."""

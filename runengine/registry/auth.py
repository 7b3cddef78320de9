"""Registry authentication: challenges, and one grant per host and repository.

The first request goes out bare. A Bearer challenge (distribution spec, token authentication) is
answered with an anonymous token, and with credentials only if that is not enough; a Basic
challenge needs credentials at once. Credentials that the user gave for the operation skip the
anonymous step. Making the header is oras's work (``tokens``), and so is asking again with it
(``transport``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from runengine.errors import Unauthorized
from runengine.registry.reference import DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.registry.credentials import Credentials, CredentialSource
    from runengine.registry.mirrors import Endpoint

CHALLENGE_LIMIT = 8192
PULL, PUSH, LOGIN = "pull", "pull,push", ""
"""What a client does with its repositories, in the words of token services."""
REFUSED = frozenset({401, 403})
NOT_ENOUGH = REFUSED | {404, 429}
"""Answers to an anonymous token that credentials may better: hidden repository, rate limit."""

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)(?:\s+|$|(?=,))")
_PARAMETER = re.compile(
    r'\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))'
)


class Challenge(NamedTuple):
    """One challenge of WWW-Authenticate (RFC 9110, 11.6.1)."""

    scheme: str
    realm: str
    service: str
    scope: str


class Grant(NamedTuple):
    """What opened a repository: the header to send, and how to get a fresh one."""

    header: str
    challenge: Challenge
    credentials: Credentials | None


class Authorizer(Protocol):
    """Answers a challenge; raises Unauthorized if a token service refuses."""

    def header(
        self, challenge: Challenge, endpoint: Endpoint, credentials: Credentials | None
    ) -> str:
        """The Authorization for the challenge; None as credentials asks for anonymous access."""


def parse_challenges(header: str) -> list[Challenge]:
    """Read WWW-Authenticate: several challenges, unquoted values; what is odd is skipped."""
    header = header[:CHALLENGE_LIMIT]
    challenges = []
    position = 0
    while match := _SCHEME.match(header, position):
        position = match.end()
        parameters: dict[str, str] = {}
        while found := _PARAMETER.match(header, position):
            name, quoted, token = found.groups()
            value = token if token is not None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(name.lower(), value)
            position = found.end()
        challenges.append(
            Challenge(
                match[1].lower(),
                parameters.get("realm", ""),
                parameters.get("service", ""),
                parameters.get("scope", ""),
            )
        )
    return challenges


def choose(header: str, repository: str) -> Challenge | None:
    """The challenge to answer: Bearer with a realm, else Basic; the scope is filled in."""
    challenges = parse_challenges(header)
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.realm:
            own = pull_scope(repository) if repository else ""
            return challenge._replace(scope=challenge.scope or own)
    return next((found for found in challenges if found.scheme == "basic"), None)


def pull_scope(repository: str) -> str:
    """The scope that reading a repository needs."""
    return f"repository:{repository}:pull"


class Grants:
    """Grants by (host, scope), kept for the life of a client; plain data, so it pickles."""

    def __init__(
        self, source: CredentialSource, *, actions: str = PULL, also: Sequence[str] = ()
    ) -> None:
        """``actions`` are for the endpoint's repository; those of ``also`` are read as well."""
        self._source = source
        self._actions = actions
        self._also = tuple(pull_scope(repository) for repository in also)
        self._grants: dict[tuple[str, str], Grant] = {}

    def header(self, endpoint: Endpoint) -> str | None:
        """The Authorization that worked for this repository, if any."""
        grant = self._grants.get(_key(endpoint))
        return grant.header if grant else None

    def may_better(self, endpoint: Endpoint, status: int) -> bool:
        """Whether another authorization could turn this answer into a better one."""
        grant = self._grants.get(_key(endpoint))
        is_anonymous = grant is not None and grant.credentials is None
        return status in (NOT_ENOUGH if is_anonymous else REFUSED)

    def step_up(
        self, endpoint: Endpoint, challenge_header: str | None, authorizer: Authorizer
    ) -> Iterator[str]:
        """Authorizations to try after a refusal, each better than the last; none if none is left.

        Raises Unauthorized when the token service or a credential helper refuses.
        """
        old = self._grants.get(_key(endpoint))
        challenge = choose(challenge_header or "", endpoint.repository)
        challenge = challenge or (old.challenge if old else None)
        if challenge is None:
            return
        challenge = self._widened(challenge)
        for credentials in self._candidates(endpoint, challenge, old, challenge_header):
            header = self._authorize(endpoint, challenge, credentials, authorizer)
            if header:
                self._grants[_key(endpoint)] = Grant(header, challenge, credentials)
                yield header

    def refusal(self, endpoint: Endpoint, details: str | None) -> Unauthorized:
        """The error for a registry that still refuses after everything was tried."""
        grant = self._grants.pop(_key(endpoint), None)
        if grant is None or not grant.credentials:
            return login_needed(endpoint, details)
        if self._writes and grant.challenge.scheme == "bearer":
            return _push_denied(endpoint, grant.credentials, details)
        return refused_credentials(endpoint.registry, grant.credentials, details)

    @property
    def is_login(self) -> bool:
        """Whether nothing is wanted but to know whether the credentials are right."""
        return self._actions == LOGIN

    @property
    def _writes(self) -> bool:
        return self._actions == PUSH

    def _widened(self, challenge: Challenge) -> Challenge:
        """The challenge for all that the client will do, not only for its first request."""
        resource, _, _ = challenge.scope.rpartition(":")
        if not self._writes or not resource.startswith("repository:"):
            return challenge
        return challenge._replace(scope=" ".join((f"{resource}:{self._actions}", *self._also)))

    def _candidates(
        self, endpoint: Endpoint, challenge: Challenge, old: Grant | None, header: str | None
    ) -> Iterator[Credentials | None]:
        """None stands for an anonymous token."""
        if old and old.credentials:
            if challenge.scheme == "bearer":
                yield old.credentials
            return
        anonymous_failed = old is not None and header is None
        # Hardly anybody may write without a name, so that is not tried first.
        named_first = self._source.is_explicit or self._writes
        if challenge.scheme == "bearer" and not named_first and not anonymous_failed:
            yield None
        found = self._source.find(endpoint.registry, endpoint.repository)
        if found:
            yield found
        elif named_first and challenge.scheme == "bearer":
            yield None

    def _authorize(
        self,
        endpoint: Endpoint,
        challenge: Challenge,
        credentials: Credentials | None,
        authorizer: Authorizer,
    ) -> str | None:
        if challenge.scheme == "basic" and credentials is None:
            return None
        try:
            return authorizer.header(challenge, endpoint, credentials)
        except Unauthorized:
            if credentials:
                raise
            return None


def refused_credentials(
    registry: str, credentials: Credentials, details: str | None
) -> Unauthorized:
    """The user name or the password is wrong, or may not read the repository."""
    who = f"user {credentials.username!r}" if credentials.username else "the stored token"
    source = credentials.source
    remedy = f"correct the entry in {source}" if source else "check user name and password"
    return Unauthorized(
        f"registry {registry} refused the credentials of {who}",
        details=details,
        resolution=remedy,
    )


def login_needed(endpoint: Endpoint, details: str | None) -> Unauthorized:
    """The registry wants credentials and we have none."""
    server = "" if endpoint.registry == DOCKER_HUB else f" {endpoint.registry}"
    return Unauthorized(
        f"access to {endpoint.registry}/{endpoint.repository} denied: it does not exist or "
        "needs a login",
        details=details,
        resolution=f"log in first: runengine login{server}",
    )


def _push_denied(
    endpoint: Endpoint, credentials: Credentials, details: str | None
) -> Unauthorized:
    """The credentials are right, or there would be no token; they are not enough."""
    who = f"user {credentials.username!r}" if credentials.username else "the stored token"
    return Unauthorized(
        f"registry {endpoint.registry} does not let {who} push to {endpoint.repository}",
        details=details,
        resolution="ask its owner for access, or log in as somebody else",
    )


def _key(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.host, pull_scope(endpoint.repository)

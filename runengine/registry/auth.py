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
from runengine.registry.credentials import ENGINE_AUTH_FILE, Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.registry.credentials import CredentialSource
    from runengine.registry.mirrors import Endpoint

CHALLENGE_LIMIT = 8192
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
            return challenge._replace(scope=challenge.scope or pull_scope(repository))
    return next((found for found in challenges if found.scheme == "basic"), None)


def pull_scope(repository: str) -> str:
    """The scope that reading a repository needs."""
    return f"repository:{repository}:pull"


class Grants:
    """Grants by (host, scope), kept for the life of a client; plain data, so it pickles."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source
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
        for credentials in self._candidates(endpoint, challenge, old, challenge_header):
            header = self._authorize(endpoint, challenge, credentials, authorizer)
            if header:
                self._grants[_key(endpoint)] = Grant(header, challenge, credentials)
                yield header

    def refusal(self, endpoint: Endpoint, details: str | None) -> Unauthorized:
        """The error for a registry that still refuses after everything was tried."""
        grant = self._grants.pop(_key(endpoint), None)
        if grant and grant.credentials:
            return refused_credentials(endpoint.registry, grant.credentials, details)
        return login_needed(endpoint, details)

    def _candidates(
        self, endpoint: Endpoint, challenge: Challenge, old: Grant | None, header: str | None
    ) -> Iterator[Credentials | None]:
        """None stands for an anonymous token."""
        if old and old.credentials:
            if challenge.scheme == "bearer":
                yield old.credentials
            return
        anonymous_failed = old is not None and header is None
        may_be_anonymous = challenge.scheme == "bearer" and not self._source.is_explicit
        if may_be_anonymous and not anonymous_failed:
            yield None
        found = self._source.find(endpoint.registry, endpoint.repository)
        if found:
            yield found
        elif self._source.is_explicit and challenge.scheme == "bearer":
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
    key = "https://index.docker.io/v1/" if endpoint.registry == "docker.io" else endpoint.registry
    return Unauthorized(
        f"access to {endpoint.registry}/{endpoint.repository} denied: it does not exist or "
        "needs a login",
        details=details,
        resolution=f"there is no 'runengine login' yet: put the credentials under {key!r} into "
        f"{ENGINE_AUTH_FILE} or ~/.docker/config.json",
    )


def _key(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.host, pull_scope(endpoint.repository)

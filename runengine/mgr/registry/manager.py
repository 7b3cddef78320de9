"""RegistryMgr: what has to do with registries themselves. Each operation is imported when used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.config import Config
    from runengine.mgr.image.progress import Progress
    from runengine.mgr.registry.artifact import Artifact, File
    from runengine.mgr.registry.login import LoginResult
    from runengine.mgr.registry.search import SearchResult
    from runengine.registry.credentials import CredentialSource


class RegistryMgr:
    """Registries, by the settings of one engine."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def login(self, server: str | None, username: str, password: str) -> LoginResult:
        """Try credentials at a registry (None: Docker Hub), and keep them in the auth file.

        Raises InvalidParameter, Unauthorized, Unavailable, NotFound.
        """
        from runengine.mgr.registry import login

        return login.login(self._config, server, username, password)

    def login_as_before(self, server: str | None) -> str | None:
        """Try the credentials that are kept: the user's name, None if there are none.

        Raises InvalidParameter, Unauthorized, Unavailable, NotFound.
        """
        from runengine.mgr.registry import login

        return login.login_as_before(self._config, server)

    def logout(self, server: str | None) -> tuple[str, bool]:
        """Forget the credentials for a registry: its name, and whether there were any.

        Raises InvalidParameter, Unauthorized (a credential helper).
        """
        from runengine.mgr.registry import login

        return login.logout(server)

    def auth(self, document: dict[str, Any]) -> dict[str, str]:
        """Docker's ``/auth``: try credentials and keep nothing. Raises Unauthorized..."""
        from runengine.mgr.registry import login

        return login.auth(self._config, document)

    def search(
        self,
        term: str,
        *,
        limit: int = 25,
        filters: Mapping[str, Sequence[str]] | None = None,
        credentials: CredentialSource | None = None,
    ) -> SearchResult:
        """Repositories with ``[registry/]term`` in their names, in the shape of Docker's.

        Raises InvalidParameter, Unauthorized, Unavailable.
        """
        from runengine.mgr.registry import search

        return search.search(
            self._config, term, limit=limit, filters=filters, credentials=credentials
        )

    def tags(
        self, text: str, *, credentials: CredentialSource | None = None
    ) -> tuple[str, Sequence[str]]:
        """A repository's name as users know it, and its tags in the registry's order.

        Raises InvalidParameter (a tag in the name), NotFound, Unauthorized, Unavailable.
        """
        from runengine.mgr.registry import tags

        return tags.tags(self._config, text, credentials)

    def explain(self, reference: str) -> dict[str, Any]:
        """Whom a pull or push would ask, how, and why. Raises InvalidParameter."""
        from runengine.mgr.registry import explain

        return explain.explain(self._config, reference)

    def push_artifact(
        self,
        reference: str,
        files: Sequence[File],
        *,
        artifact_type: str | None = None,
        annotations: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        credentials: CredentialSource | None = None,
    ) -> Artifact:
        """Put plain files into a registry. Raises InvalidParameter, NotFound, Unauthorized..."""
        from runengine.mgr.image.progress import NoProgress
        from runengine.mgr.registry import artifact

        return artifact.push(
            self._config,
            reference,
            files,
            artifact_type=artifact_type or artifact.DEFAULT_TYPE,
            annotations=annotations,
            progress=progress or NoProgress(),
            credentials=credentials,
        )

    def show_artifact(
        self, reference: str, *, credentials: CredentialSource | None = None
    ) -> Artifact:
        """The files of an artifact. Raises InvalidParameter, NotFound, Unsupported..."""
        from runengine.mgr.registry import artifact

        return artifact.show(self._config, reference, credentials)

    def pull_artifact(
        self,
        reference: str,
        directory: str,
        *,
        keep_old: bool = False,
        progress: Progress | None = None,
        credentials: CredentialSource | None = None,
    ) -> Artifact:
        """Bring an artifact's files into a directory. Raises InvalidParameter, Corrupt..."""
        from runengine.mgr.image.progress import NoProgress
        from runengine.mgr.registry import artifact

        return artifact.pull(
            self._config,
            reference,
            directory,
            keep_old=keep_old,
            progress=progress or NoProgress(),
            credentials=credentials,
        )

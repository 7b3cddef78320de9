"""``registry explain``: whom a pull or a push of a name would ask, how, and why; asks nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runengine.errors import EngineError
from runengine.registry import mirrors, reference
from runengine.registry.certificates import Certificates, system_authorities
from runengine.registry.credentials import AuthFiles

if TYPE_CHECKING:
    from runengine.config import Config
    from runengine.registry.credentials import CredentialSource
    from runengine.registry.mirrors import Endpoint
    from runengine.registry.reference import Reference

    Document = dict[str, Any]

_PROXY_NAMES = {
    "https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    "http": ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
}


def explain(
    config: Config, text: str, credentials: CredentialSource | None = None
) -> Document:
    """The decision for a name, without secrets. Raises InvalidParameter (name, settings)."""
    ref = reference.parse(text)
    certs = Certificates(config.certs_dirs)
    listed = config.insecure_registries
    endpoints = mirrors.resolve(
        ref, mirrors=config.mirrors, insecure=listed, certified=certs.has_authority
    )
    source = credentials or AuthFiles()
    prefix = mirrors.longest_prefix(ref.name, config.mirrors)
    return {
        "Reference": str(ref),
        "Why": _filled_in(text, ref),
        "Endpoints": [
            _Explained(endpoint, ref, config, certs, source).document(prefix)
            for endpoint in endpoints
        ],
        "Push": "to the last of these: mirrors have no part in a push",
    }


def _filled_in(text: str, ref: Reference) -> list[str]:
    """What was not in the name as it was typed."""
    first, slash, _ = text.partition("/")
    reasons = []
    if not (slash and reference.is_registry(first)):
        reasons.append(f"registry {ref.registry}, because the name begins with none")
        if not slash:
            reasons.append(f"namespace {reference.DEFAULT_NAMESPACE}, Docker Hub's for such names")
    elif first.lower() != ref.registry:
        reasons.append(f"registry {ref.registry}, of which {first} is another name")
    if ref.tag and not text.endswith(f":{ref.tag}"):
        reasons.append(f"tag {ref.tag}, because there is none")
    return reasons


class _Explained:
    """One endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        ref: Reference,
        config: Config,
        certs: Certificates,
        source: CredentialSource,
    ) -> None:
        self._endpoint = endpoint
        self._ref = ref
        self._config = config
        self._certs = certs
        self._source = source

    def document(self, prefix: str | None) -> Document:
        """All about it."""
        endpoint = self._endpoint
        path = f"/v2/{endpoint.repository}/manifests/{self._ref.digest or self._ref.tag}"
        return {
            "Kind": "mirror" if endpoint.is_mirror else "registry",
            "Why": self._why(prefix),
            "URLs": [f"{scheme}://{endpoint.host}{path}" for scheme in endpoint.schemes],
            "Schemes": {"Order": list(endpoint.schemes), "Why": self._why_schemes()},
            "TLS": self._tls(),
            "Credentials": self._credentials(),
            "Proxy": self._proxy(),
        }

    def _why(self, prefix: str | None) -> str:
        if self._endpoint.is_mirror:
            return f"the setting mirrors has it under {prefix!r}, the longest prefix that fits"
        if self._endpoint.host == mirrors.HUB_API_HOST:
            return f"it answers for {reference.DOCKER_HUB}"
        return "it is in the name"

    def _why_schemes(self) -> str:
        host = self._endpoint.host
        if mirrors.is_insecure(host, self._config.insecure_registries):
            return "the setting insecure_registries covers it: plain HTTP where HTTPS fails"
        if len(self._endpoint.schemes) > 1:
            return "it is this machine: plain HTTP may do"
        if self._endpoint.is_mirror and self._endpoint.schemes == ("http",):
            return "the setting mirrors says so"
        return "registries are asked by HTTPS alone unless a setting says otherwise"

    def _tls(self) -> Document:
        host, is_checked = self._endpoint.host, self._endpoint.verify_tls
        found = self._certs.find(host)
        looked = [f"{directory}/{host}" for directory in self._certs.directories]
        return {
            "Verified": is_checked,
            "Authorities": [
                *([system_authorities() or "OpenSSL's own"] if is_checked else []),
                *(found.authorities if found and is_checked else ()),
            ],
            "Client": [list(pair) for pair in found.pairs] if found else [],
            "Why": f"files in {found.directory}"
            if found
            else f"there are no files in {' or '.join(looked)}",
        }

    def _credentials(self) -> Document:
        endpoint = self._endpoint
        try:
            found = self._source.find(endpoint.registry, endpoint.repository)
        except EngineError as error:
            return {"Source": "", "User": "", "Why": str(error)}
        if found is None:
            return {"Source": "", "User": "", "Why": f"none in {_looked_in(self._source)}"}
        user = found.username or "(identity token)"
        when = "at once" if self._source.is_explicit else "where an anonymous request is refused"
        return {"Source": found.source, "User": user, "Why": f"they are sent {when}"}

    def _proxy(self) -> Document:
        from requests.utils import select_proxy

        from runengine.registry import transport

        url = f"{self._endpoint.schemes[0]}://{self._endpoint.host}/"
        if mirrors.is_loopback(self._endpoint.host):
            return {"URL": "", "Why": "none is used for this machine"}
        chosen = select_proxy(url, transport.proxies_for(url))
        names = _PROXY_NAMES[self._endpoint.schemes[0]]
        given = [name for name in names if os.environ.get(name)]
        if chosen:
            return {"URL": _without_password(chosen), "Why": f"{given[0]} in the environment"}
        if given:
            return {"URL": "", "Why": f"NO_PROXY covers it, so {given[0]} does not count"}
        return {"URL": "", "Why": f"{names[1]} is not in the environment"}


def _looked_in(source: CredentialSource) -> str:
    paths = source.paths if isinstance(source, AuthFiles) else []
    shown = [path if Path(path).is_file() else f"{path} (not there)" for path in paths]
    return ", ".join(shown) or "what was given"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    hidden = f"{user.partition(':')[0]}:***" if ":" in user else user
    return parts._replace(netloc=f"{hidden}{at}{host}").geturl()

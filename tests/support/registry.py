"""A real ``docker-registry`` on loopback: open, with basic auth, or with token auth.

>>> with Registry(tmp_path) as registry:
...     registry.push_oci(layout_dir, "team/app:1")
...     client.manifest(parse(f"{registry.host}/team/app:1"))
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

START_ATTEMPTS = 5
START_TIMEOUT_S = 20.0
ISSUER = "runengine-tests"


class Registry:
    """One docker-registry process with its own storage; a context manager.

    ``users`` (name → password) turns basic auth on, ``tokens`` token auth, ``tls`` HTTPS with a
    certificate of its own, ``certificate``; ``asks_clients`` wants this of clients too, with its
    ``key``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        users: Mapping[str, str] | None = None,
        tokens: TokenServer | None = None,
        tls: bool = False,
        asks_clients: bool = False,
    ) -> None:
        self.directory = directory
        self.tls = tls
        self._asks_clients = asks_clients
        self.users = dict(users or {})
        self.tokens = tokens
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Registry:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """``127.0.0.1:port``, for references."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it on a free port and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for _ in range(START_ATTEMPTS):
            self.port = free_port()
            config = self._write_config()
            with (self.directory / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    ["docker-registry", "serve", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
                )
            if self._wait_ready():
                return
            self.stop()
        raise RuntimeError(f"docker-registry does not start: see {self.directory}/log")

    def stop(self) -> None:
        """Stop it; its storage stays for another ``start``."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def push_oci(self, layout: Path, name: str, *, tag: str = "", docker: bool = False) -> str:
        """Push an OCI layout's image as ``name``; returns the full reference."""
        source = f"oci:{layout}" + (f":{tag}" if tag else "")
        return self.push(source, name, docker=docker)

    def push(self, source: str, name: str, *, docker: bool = False, everything=False) -> str:
        """``skopeo copy SOURCE`` (``oci:DIR``, ``docker-archive:FILE``...) to ``name`` here."""
        options = ["--format", "v2s2" if docker else "oci"]
        if everything:
            options += ["--all"]
        if credentials := self._push_credentials():
            options += ["--dest-creds", credentials]
        target = f"{self.host}/{name}"
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        subprocess.run(
            [*command, *options, source, f"docker://{target}"],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        return target

    def blob_path(self, digest: str) -> Path:
        """Where the registry keeps a blob (tests damage it there)."""
        digits = digest.partition(":")[2]
        return self._storage / f"docker/registry/v2/blobs/sha256/{digits[:2]}/{digits}/data"

    @property
    def _storage(self) -> Path:
        return self.directory / "storage"

    def _push_credentials(self) -> str:
        users = self.users or (self.tokens.users if self.tokens else {})
        return next((f"{name}:{password}" for name, password in users.items()), "")

    def _write_config(self) -> Path:
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self._storage)},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"127.0.0.1:{self.port}"},
        }
        if self.tls:
            key, certificate = make_certificate(self.directory / "tls")
            self.certificate, self.key = certificate, key
            config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
            if self._asks_clients:
                config["http"]["tls"]["clientcas"] = [str(certificate)]
        if self.users:
            file = self.directory / "htpasswd"
            file.write_text("".join(_htpasswd(*pair) for pair in self.users.items()))
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(file)}}
        elif self.tokens:
            config["auth"] = {
                "token": {
                    "realm": f"{self.tokens.url}/token",
                    "service": "registry.test",
                    "issuer": ISSUER,
                    "rootcertbundle": str(self.tokens.certificate),
                }
            }
        # JSON is YAML.
        path = self.directory / "config.yml"
        path.write_text(json.dumps(config))
        return path

    def _wait_ready(self) -> bool:
        assert self._process
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            scheme = "https" if self.tls else "http"
            if self._asks_clients:
                return _listens(self.port)
            if _answers(f"{scheme}://{self.host}/v2/"):
                return True
            time.sleep(0.02)
        return False


class TokenRequest(NamedTuple):
    """What a token server was asked."""

    user: str | None
    scope: str
    is_granted: bool


class TokenServer:
    """A token service on loopback (distribution's token authentication); a context manager.

    ``public`` repositories may be pulled anonymously; ``users`` may do everything.
    """

    def __init__(
        self,
        directory: Path,
        *,
        users: Mapping[str, str] | None = None,
        public: tuple[str, ...] = (),
    ) -> None:
        self.users = dict(users or {})
        self.public = public
        self.requests: list[TokenRequest] = []
        self._key, self.certificate = make_certificate(directory / "token")
        pem = self.certificate.read_text()
        self._chain = ["".join(pem.split("-----")[2].split())]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _token_handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Base address; tokens are at ``/token``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> TokenServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, query: dict[str, list[str]], authorization: str) -> dict[str, str] | None:
        """The token for a request, or None if the user may not have one."""
        user = None
        if authorization:
            user, _, password = base64.b64decode(authorization[6:]).decode().partition(":")
            if self.users.get(user) != password:
                self.requests.append(TokenRequest(user, query.get("scope", [""])[0], False))
                return None
        access = []
        for scope in query.get("scope", []):
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            granted = actions.split(",") if user else ["pull"] if name in self.public else []
            self.requests.append(TokenRequest(user, scope, bool(granted)))
            access.append({"type": kind, "name": name, "actions": granted})
        return {"token": self._sign(query.get("service", [""])[0], access)}

    def _sign(self, service: str, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": self._chain}
        claims = {
            "iss": ISSUER,
            "sub": "",
            "aud": service,
            "jti": os.urandom(8).hex(),
            "nbf": now - 60,
            "iat": now - 60,
            "exp": now + 300,
            "access": access,
        }
        text = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self._key)],
            input=text,
            capture_output=True,
            check=True,
        ).stdout
        return (text + b"." + _base64url(signature)).decode()


def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A key and a self-signed certificate for 127.0.0.1 and registry.example."""
    directory.mkdir(parents=True, exist_ok=True)
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
            *("-subj", "/CN=runengine tests"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:registry.example"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return key, certificate


def _token_handler(tokens: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            answer = tokens.answer(query, self.headers.get("Authorization", ""))
            body = json.dumps(answer or {"details": "incorrect username or password"}).encode()
            self.send_response(200 if answer else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _htpasswd(user: str, password: str) -> str:
    result = subprocess.run(
        ["htpasswd", "-niBC", "4", user], input=password.encode(), capture_output=True, check=True
    )
    return result.stdout.decode().strip() + "\n"


def _listens(port: int) -> bool:
    """Wait until something accepts connections: who has no certificate gets no answer."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.02)
    return False


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),
    )
    try:
        with opener.open(url, timeout=5):
            return True
    except HTTPError as error:
        error.close()
        return error.code == 401
    except (URLError, OSError):
        return False

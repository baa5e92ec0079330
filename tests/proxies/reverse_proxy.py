"""nginx and Caddy before a service, with the shipped configuration, on free ports of loopback."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.service.running import ROOT, free_port, wait_for

NAME = "convlast.example.org"
"""The name in the shipped configuration. The proxy gets it by SNI and as the host."""

PREFIX = "/tools/convlast"
Kind = Literal["nginx", "caddy"]
KINDS: tuple[Kind, ...] = ("nginx", "caddy")
Below = Literal["", "passed on", "taken off"]
"""Whether the service is below `PREFIX`, and what the proxy does with it."""

_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_UPSTREAM = "127.0.0.1:8000"
_NGINX = """\
{user}
daemon off;
worker_processes 1;
error_log {folder}/error.log info;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/stored_uploads;
    proxy_temp_path {folder}/stored_answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/convlast.conf;
}}
"""
_CADDY = """\
{
    admin off
    auto_https disable_redirects
    default_bind 127.0.0.1
    skip_install_trust
    servers {
        protocols h1 h2
    }
}
"""


def program(kind: Kind) -> str | None:
    """Return the path of a proxy's program; daemons are not on every user's PATH."""
    return shutil.which(kind, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")


def are_present() -> bool:
    """Return whether this machine has both proxies, and a program that makes certificates."""
    return None not in (*map(program, KINDS), shutil.which("openssl"))


@dataclass(frozen=True)
class Certificate:
    """A certificate for loopback, signed by itself."""

    file: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        """Make one."""
        made = cls(folder / "convlast.crt", folder / "convlast.key")
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "2", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout", made.key, "-out", made.file,
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        return made

    @property
    def context(self) -> ssl.SSLContext:
        """What a client needs to trust it."""
        return ssl.create_default_context(cafile=str(self.file))


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        kind: Which one.
        port: Its port of TLS.
        below: The path of the service behind it.
        certificate: What it shows to clients.
        folder: Its files.
    """

    kind: Kind
    port: int
    below: str
    certificate: Certificate
    folder: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def origin(self) -> str:
        """Its address."""
        return f"https://localhost:{self.port}"

    @property
    def url(self) -> str:
        """The address of the service behind it."""
        return self.origin + self.below

    def connect(self) -> ssl.SSLSocket:
        """Open a raw connection."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return self.certificate.context.wrap_socket(plain, server_hostname="localhost")

    def stored_bytes(self) -> int:
        """Return how much it has written into its folders for bodies."""
        stored = self.folder.glob("stored_*/**/*")
        return sum(each.stat().st_size for each in stored if each.is_file())

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def proxied(
    kind: Kind, folder: Path, upstream: int, certificate: Certificate, below: Below = ""
) -> Iterator[Proxy]:
    """Start a proxy before a service, and end it.

    Args:
        kind: Which one.
        folder: For its files; it is made.
        upstream: The port of the service.
        certificate: What it shows to clients.
        below: Whether the service is below `PREFIX`.
    """
    folder.mkdir()
    port = free_port()
    prepare = _nginx if kind == "nginx" else _caddy
    arguments = prepare(folder, port, upstream, certificate, below)
    command = [program(kind) or kind, *arguments]
    environment = {
        **os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    proxy = Proxy(kind, port, PREFIX if below else "", certificate, folder, process)
    try:
        wait_for(proxy._listens)
        yield proxy
    finally:
        process.terminate()
        process.wait(20)


def _nginx(
    folder: Path, port: int, upstream: int, certificate: Certificate, below: Below
) -> list[str]:
    """Write nginx's configuration, and return its arguments."""
    replaced = {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "/etc/ssl/convlast.crt": str(certificate.file),
        "/etc/ssl/convlast.key": str(certificate.key),
        f"server {_UPSTREAM};": f"server 127.0.0.1:{upstream};",
        f"server_name {NAME};": "server_name localhost;",
    }
    if below:
        replaced["    location / {"] = f"    location {PREFIX}/ {{"
    if below == "taken off":
        replaced["proxy_pass http://convlast;"] = "proxy_pass http://convlast/;"
    shipped = (ROOT / "deploy" / "nginx.conf").read_text()
    (folder / "convlast.conf").write_text(_replace(shipped, replaced))
    # nginx would become another user, who cannot reach the folder, and could store nothing there.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, user=user))
    return ["-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


def _caddy(
    folder: Path, port: int, upstream: int, certificate: Certificate, below: Below
) -> list[str]:
    """Write Caddy's configuration, and return its arguments."""
    there = f"127.0.0.1:{upstream}"
    replaced = {
        f"{NAME} {{": f"localhost:{port} {{",
        "# tls /etc/ssl/convlast.crt /etc/ssl/convlast.key": (
            f"tls {certificate.file} {certificate.key}"
        ),
        f"\treverse_proxy {_UPSTREAM}\n": {
            "": f"\treverse_proxy {there}\n",
            "passed on": f"\treverse_proxy {PREFIX}* {there}\n",
            "taken off": f"\thandle_path {PREFIX}* {{\n\t\treverse_proxy {there}\n\t}}\n",
        }[below],
    }
    shipped = (ROOT / "deploy" / "Caddyfile").read_text()
    (folder / "Caddyfile").write_text(_CADDY + _replace(shipped, replaced))
    return ["run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _replace(shipped: str, replaced: dict[str, str]) -> str:
    """Replace names, ports and paths of the shipped configuration, each of which it has once."""
    for old, new in replaced.items():
        assert len(re.findall(re.escape(old), shipped)) == 1, old
        shipped = shipped.replace(old, new)
    return shipped

"""A real nginx with the shipped site, started and stopped by a test."""

import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import requests

import ezstems
from tests.support.ports import hold_port

SITE = Path(ezstems.__file__).parent / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
SCRATCH = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
START_SECONDS = 60.0
UPLOADS_OF_AN_ADDRESS = 3
# What stands in a distribution's nginx.conf, with every path in the test's folder.
MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 768; }}
http {{
    access_log {folder}/access.log;
    {scratch}
    include {folder}/site.conf;
}}
"""


class Nginx:
    """Run nginx with the shipped site: its addresses are replaced, TLS is added, and few uploads are allowed."""

    def __init__(self, folder: Path, upstream: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.certificate = folder / "certificate.pem"
        self.port, tls_port = hold_port(self), hold_port(self)
        self.url, self.tls = f"http://127.0.0.1:{self.port}", f"https://127.0.0.1:{tls_port}"
        site = SITE.read_text()
        listen = f"listen 127.0.0.1:{self.port};"
        if openssl := shutil.which("openssl"):
            key = folder / "key.pem"
            made = (openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2")
            subprocess.run(
                [*made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.certificate)],
                capture_output=True,
                check=True,
            )
            listen += f" listen 127.0.0.1:{tls_port} ssl;"
            listen += f" ssl_certificate {self.certificate}; ssl_certificate_key {key};"
        for shipped, own in (
            (r"listen 80;\s+listen \[::\]:80;", listen),
            (r"server_name stems\.example\.com;", "server_name 127.0.0.1;"),
            (r"server 127\.0\.0\.1:8000;", f"server {upstream};"),
            (r"limit_conn ezstems_uploads 64;", f"limit_conn ezstems_uploads {UPLOADS_OF_AN_ADDRESS};"),
        ):
            site, count = re.subn(shipped, own, site)
            assert count == 1, shipped
        (folder / "site.conf").write_text(site)
        scratch = " ".join(f"{name}_temp_path {folder}/{name};" for name in SCRATCH)
        user = "user root;" if os.geteuid() == 0 else ""  # who may not write to the test's folder otherwise
        (folder / "nginx.conf").write_text(MAIN.format(user=user, folder=folder, scratch=scratch))
        assert NGINX is not None
        self.arguments = [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
        self.process: subprocess.Popen[bytes] | None = None

    def check(self) -> str:
        """Let nginx check the configuration, as `nginx -t` does; return what it said."""
        done = subprocess.run([*self.arguments, "-t"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def scratch(self) -> list[Path]:
        """Return the files in which it holds bodies back."""
        return [path for name in SCRATCH for path in (self.folder / name).rglob("*") if path.is_file()]

    def __enter__(self) -> "Nginx":
        self.process = subprocess.Popen(self.arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(requests.RequestException):
                requests.get(f"{self.url}/metrics", timeout=5)
                return self
            time.sleep(0.02)
        raise AssertionError((self.folder / "error.log").read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)

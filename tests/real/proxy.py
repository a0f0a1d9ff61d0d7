"""The real nginx with the configuration that is deployed, in front of services on this machine."""

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import trustme

from tests.real.missing import missing

DEPLOYED = Path(__file__).parents[2] / "deploy" / "proxy"
PATIENCE_SECONDS = 15


def find_nginx() -> str:
    """Return where nginx is; without it, skip the test, or fail it where nothing may be skipped (CI)."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return found or missing("nginx is not installed (Debian: nginx-light)")


@dataclass(frozen=True)
class Proxy:
    """Where it answers, whom to trust to talk to it (also as a file), and where it writes what it answered."""

    url: str
    trust: ssl.SSLContext
    authority: Path
    log: Path


@contextmanager
def real_proxy(folder: Path, port: int, services: Mapping[str, str], *, rate: str = "100r/s") -> Iterator[Proxy]:
    """Run nginx on a port of the loopback interface, in front of services (`host:port` by name), and lend it.

    `rate` is how many requests an address may make for long.
    """
    program = find_nginx()
    configuration = folder / "proxy"
    shutil.copytree(DEPLOYED, configuration)
    main = configuration / "nginx.conf"
    log = folder / "access.log"
    text = main.read_text("utf-8").replace("/tmp/", f"{folder}/")  # noqa: S108  # what the deployed file says
    text = text.replace("/dev/stdout", str(log))
    main.write_text(
        text.replace("listen 8443", f"listen 127.0.0.1:{port}").replace("rate=100r/s", f"rate={rate}"), "utf-8"
    )
    upstreams = [f"upstream {name} {{ server {address}; keepalive 16; }}" for name, address in services.items()]
    (configuration / "upstreams.conf").write_text("\n".join(upstreams))
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "tls.pem"))
    (configuration / "certificate.conf").write_text(
        f"ssl_certificate {folder}/tls.pem;\nssl_certificate_key {folder}/tls.pem;\n"
    )
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    user = "user root;" if os.getuid() == 0 else ""  # its workers read and write in the test's folder
    with (
        (folder / "error.log").open("wb") as errors,
        subprocess.Popen(
            [program, "-c", str(main), "-g", f"daemon off; {user}"], stdout=errors, stderr=errors
        ) as daemon,
    ):
        try:
            proxy = Proxy(f"https://127.0.0.1:{port}", trust, folder / "authority.pem", log)
            _wait_for(proxy, daemon, folder / "error.log")
            yield proxy
        finally:
            daemon.terminate()


def _wait_for(proxy: Proxy, daemon: subprocess.Popen[bytes], errors: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            httpx.get(f"{proxy.url}/proxy", verify=proxy.trust, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            assert daemon.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, errors.read_text()
            time.sleep(0.02)
        else:
            return

"""`heliotrope trust`: what a trust list holds, and fetching CRLs over HTTP."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

from cli.main import app
from signing.trust_files import load_trust
from tests.pki import YEAR, Holder, crl, issue, rsa_key, signer, write_trust

NOW = datetime.now(UTC).replace(microsecond=0)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder on the loopback interface."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
    thread.join()


def authority() -> Holder:
    return issue("Autorité", rsa_key(1), begin=NOW - YEAR, end=NOW + YEAR, is_authority=True)


def put(folder: Path, name: str, revoked: x509.CertificateRevocationList, encoding: Encoding = Encoding.DER) -> None:
    (folder / name).write_bytes(revoked.public_bytes(encoding))


def fresh(issuer: Holder, *revoked: Holder, made: datetime = NOW) -> x509.CertificateRevocationList:
    return crl(issuer, [(one, made, None) for one in revoked], made=made, until=made + timedelta(days=7))


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["trust", *words])


def refreshed(folder: Path, *urls: str) -> tuple[int, list[dict[str, str]]]:
    result = run("refresh", str(folder), *(word for url in urls for word in ("--crl", url)), "--json")
    return result.exit_code, json.loads(result.stdout)["items"]


@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM])
def test_a_crl_is_fetched_and_found_in_the_list(web: tuple[str, Path], tmp_path: Path, encoding: Encoding) -> None:
    url, served = web
    ca = authority()
    put(served, "liste.crl", fresh(ca, signer()), encoding)
    folder = write_trust(tmp_path / "trust", ca)
    (folder / "crl.urls").write_text(f"# autorité\n{url}/liste.crl\n")
    result = run("refresh", str(folder))
    assert result.exit_code == 0, result.output
    (held,) = load_trust(folder).trust.crls
    assert held.get_revoked_certificate_by_serial_number(signer().certificate.serial_number) is not None
    assert run("refresh", str(folder)).exit_code == 0
    assert len(load_trust(folder).trust.crls) == 1


def test_what_nobody_we_trust_signed_is_refused_and_the_others_are_fetched(
    web: tuple[str, Path], tmp_path: Path
) -> None:
    url, served = web
    ca = authority()
    put(served, "bonne.crl", fresh(ca))
    put(served, "autre.crl", fresh(issue("Autre", rsa_key(2), is_authority=True)))
    (served / "page.html").write_text("<html>")
    (served / "ca.der").write_bytes(ca.certificate.public_bytes(Encoding.DER))
    folder = write_trust(tmp_path / "trust", ca)
    names = ("autre.crl", "page.html", "absente.crl", "ca.der", "bonne.crl")
    code, items = refreshed(folder, *(f"{url}/{name}" for name in names))
    assert code == 1
    assert [item["status"] for item in items] == ["refused"] * 4 + ["fetched"]
    assert len(load_trust(folder).trust.crls) == 1


def test_an_older_crl_does_not_take_the_place_of_a_newer_one(web: tuple[str, Path], tmp_path: Path) -> None:
    url, served = web
    ca = authority()
    folder = write_trust(tmp_path / "trust", ca)
    put(served, "liste.crl", fresh(ca, signer()))
    assert refreshed(folder, f"{url}/liste.crl")[0] == 0
    put(served, "liste.crl", fresh(ca, made=NOW - timedelta(days=1)))
    code, (item,) = refreshed(folder, f"{url}/liste.crl")
    assert (code, "plus ancienne" in item["detail"]) == (1, True)
    (held,) = load_trust(folder).trust.crls
    assert held.get_revoked_certificate_by_serial_number(signer().certificate.serial_number) is not None


def test_nobody_there_is_told(tmp_path: Path) -> None:
    code, (item,) = refreshed(write_trust(tmp_path, authority()), "http://127.0.0.1:9/liste.crl")
    assert (code, item["status"]) == (1, "refused")


@pytest.mark.parametrize("words", [[], ["--crl", "file:///etc/hostname"], ["--crl", "ftp://127.0.0.1/x"]])
def test_an_address_is_needed_and_must_be_of_the_web(tmp_path: Path, words: list[str]) -> None:
    assert run("refresh", str(write_trust(tmp_path, authority())), *words).exit_code == 2


def test_what_a_list_holds_is_shown_and_what_is_stale_is_said(tmp_path: Path) -> None:
    ca = authority()
    folder = write_trust(tmp_path / "trust", ca, crls=(fresh(ca),))
    assert run("list", str(folder)).exit_code == 0
    put(folder, "vieille.crl", fresh(ca, made=NOW - timedelta(days=30)))
    (folder / "feuille.pem").write_bytes(signer().certificate.public_bytes(Encoding.PEM))
    result = run("list", str(folder), "--json")
    entries = json.loads(result.stdout)["entries"]
    assert result.exit_code == 1
    assert sorted((one["kind"], one["is_stale"]) for one in entries) == [
        ("CRL", False),
        ("CRL", True),
        ("autorité", False),
    ]
    assert run("list", str(tmp_path / "absent")).exit_code == 2

"""The agent with a real browser: a portal's page on another origin asks, the signatory agrees in the agent's page."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from playwright.sync_api import Browser, Page, sync_playwright

from local.keys.pki import ensure_demo_pki
from pes.sample import SampleSpec, build_sample
from signing.outline import targets
from signing.xades import Stated, complete, prepare
from tests.real.missing import missing
from tests.real.softhsm import PIN, TOKEN, Held, make_card
from tests.signing import verify_both, verify_with_xmlsec

pytestmark = pytest.mark.browser

PROJECT = Path(__file__).parents[3]
PASSWORD = b"Brumeval-2026!"
STATED = Stated("Maire", "Brumeval-les-Étangs", "34998")
# What a portal's page does: one call, with JSON both ways.
CALL = """
async ([url, method, token, body]) => {
  const headers = {"Content-Type": "application/json"};
  if (token) headers["Authorization"] = "Bearer " + token;
  const answer = await fetch(url, {method, headers, body: body ? JSON.stringify(body) : undefined});
  return {status: answer.status, body: await answer.json()};
}
"""


@dataclass(frozen=True)
class Running:
    """An agent that runs, as its `--json` line tells it."""

    url: str
    code: str
    process: subprocess.Popen[str]


@pytest.fixture
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium") or missing("Chromium is not installed (Debian: chromium)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@contextmanager
def portal() -> Iterator[str]:
    """Serve an empty page, on an origin of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<!DOCTYPE html><html lang=fr><title>Portail</title><h1>Portail</h1></html>")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as its parent calls it
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def agent(folder: Path, origin: str, *, on_card: bool = False) -> Iterator[Running]:
    """Run `heliotrope agent` for one origin, with the demonstration's key in a PKCS#12 file or on a card."""
    pki = ensure_demo_pki(folder / "pki", datetime.now(UTC))
    key = load_pem_private_key(pki.signer_key.read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(pki.signer_certificate.read_bytes())
    assert isinstance(key, rsa.RSAPrivateKey)
    content = serialize_key_and_certificates(b"x", key, certificate, None, BestAvailableEncryption(PASSWORD))
    (folder / "k.p12").write_bytes(content)
    (folder / "secret").touch(mode=0o600)
    (folder / "secret").write_text(PIN if on_card else PASSWORD.decode())
    options, environ = ["--p12", str(folder / "k.p12"), "--password-file", str(folder / "secret")], {**os.environ}
    if on_card:
        card = make_card(folder / "card", Held("Signature", certificate, key))
        options = ["--pkcs11", str(card.module), "--token", TOKEN, "--pin-file", str(folder / "secret")]
        environ = {**card.environ}
    command = ["agent", "--port", "0", "--origin", origin, "--no-browser", "--json", *options]
    argv = [sys.executable, "-m", "cli.main", *command]
    with (
        (folder / "agent.log").open("w") as log,
        subprocess.Popen(argv, cwd=PROJECT, env=environ, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline() or "null")
            assert told is not None, (folder / "agent.log").read_text()
            assert told["origins"] == [origin]
            yield Running(told["url"], told["pairing_code"], process)
        finally:
            process.kill()


def call(page: Page, url: str, *, token: str = "", body: object = None) -> dict[str, Any]:
    answer: dict[str, Any] = page.evaluate(CALL, [url, "POST" if body else "GET", token, body])
    assert answer["status"] in {200, 202}, answer
    inner: dict[str, Any] = answer["body"]
    return inner


def asked(flux_id: str, document: bytes, at: datetime) -> dict[str, object]:
    return {
        "flux_id": flux_id,
        "filename": f"{flux_id}.xml",
        "document": b64encode(document).decode(),
        "signing_time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "role": STATED.role,
        "city": STATED.city,
        "postal_code": STATED.postal_code,
        "elements": [one.element_id for one in targets(document)],
    }


@pytest.mark.parametrize("on_card", [False, pytest.param(True, marks=pytest.mark.softhsm)])
def test_a_page_of_the_portal_has_a_flux_signed_by_the_signatory(
    chromium: Browser, tmp_path: Path, *, on_card: bool
) -> None:
    mandats = build_sample(SampleSpec(depense_bordereaux=2, recette_bordereaux=1))
    titres = build_sample(SampleSpec(number=2, depense_bordereaux=0, recette_bordereaux=2))
    at = datetime.now(UTC).replace(microsecond=0)
    with (
        portal() as origin,
        agent(tmp_path, origin, on_card=on_card) as running,
        chromium.new_context() as context,
    ):
        page = context.new_page()
        page.goto(origin)
        token = call(page, f"{running.url}/v1/pairing", body={"code": running.code})["token"]
        told = call(page, f"{running.url}/v1/certificate", token=token)
        certificate = x509.load_der_x509_certificate(b64decode(told["certificate"]))
        items = [asked("mandats", mandats, at), asked("titres", titres, at)]
        request = call(page, f"{running.url}/v1/signatures", token=token, body={"items": items})

        with context.expect_page() as opened:
            page.evaluate("url => { window.open(url); }", request["confirmation_url"])
        confirmation = opened.value
        confirmation.wait_for_load_state()
        assert confirmation.get_by_role("heading", level=1).inner_text() == "Signer 2 flux ?"
        confirmation.screenshot(path=tmp_path / "confirmation.png", full_page=True)
        confirmation.get_by_label("Signer titres.xml").uncheck()
        confirmation.get_by_role("button", name="Signer").click()
        confirmation.get_by_role("heading", name="1 flux signé").wait_for()
        confirmation.screenshot(path=tmp_path / "ended.png", full_page=True)

        done = call(page, f"{running.url}/v1/signatures/{request['request_id']}", token=token)
    assert [one["status"] for one in done["items"]] == ["signed", "refused"]
    values = [b64decode(one["value"]) for one in done["items"][0]["values"]]
    prepared = prepare(mandats, targets(mandats), certificate=certificate, signing_time=at, stated=STATED)
    whole = complete(mandats, prepared, values)
    assert verify_with_xmlsec(whole) == 3
    assert len(verify_both(whole)) == 3


def test_the_browser_keeps_a_page_of_another_site_from_the_agent(chromium: Browser, tmp_path: Path) -> None:
    refused = """url => fetch(url).then(() => "answered", error => error.name)"""
    blind = (
        """url => fetch(url, {method: "POST", mode: "no-cors", body: "{}"}).then(() => "sent", error => error.name)"""
    )
    with (
        portal() as origin,
        portal() as foreign,
        agent(tmp_path, origin) as running,
        chromium.new_context() as context,
    ):
        page = context.new_page()
        page.goto(foreign)
        assert page.evaluate(refused, f"{running.url}/v1/agent") == "TypeError"
        assert page.evaluate(blind, f"{running.url}/v1/pairing") == "TypeError"
        page.goto(origin)
        assert page.evaluate(refused, f"{running.url}/v1/agent") == "answered"


def test_another_site_can_neither_frame_nor_answer_the_confirmation(chromium: Browser, tmp_path: Path) -> None:
    document = build_sample(SampleSpec())
    with portal() as origin, agent(tmp_path, origin) as running, chromium.new_context() as context:
        page = context.new_page()
        page.goto(origin)
        token = call(page, f"{running.url}/v1/pairing", body={"code": running.code})["token"]
        items = [asked("mandats", document, datetime.now(UTC))]
        request = call(page, f"{running.url}/v1/signatures", token=token, body={"items": items})
        framed = """url => new Promise(done => { const frame = document.createElement("iframe");
          frame.onload = () => done(); frame.src = url; document.body.append(frame); })"""
        page.evaluate(framed, request["confirmation_url"])
        (frame,) = page.frames[1:]
        assert frame.get_by_role("button", name="Signer").count() == 0
        submitted = """url => { const form = document.createElement("form"); form.method = "post"; form.action = url;
          document.body.append(form); form.submit(); }"""
        with page.expect_response(request["confirmation_url"]) as seen:
            page.evaluate(submitted, request["confirmation_url"])
        assert seen.value.status == 403
        page.wait_for_url(request["confirmation_url"])
        page.goto(origin)
        found = call(page, f"{running.url}/v1/signatures/{request['request_id']}", token=token)
    assert found["status"] == "waiting"


def test_ctrl_c_stops_the_agent_cleanly(tmp_path: Path) -> None:
    with agent(tmp_path, "https://portail.exemple.fr") as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(timeout=30) == 0
    said = re.sub(r"\s+", " ", (tmp_path / "agent.log").read_text())
    assert "Agent de signature arrêté." in said
    assert "Traceback" not in said


def test_two_agents_do_not_share_a_port(tmp_path: Path) -> None:
    with agent(tmp_path, "https://portail.exemple.fr") as running:
        taken = running.url.rsplit(":", 1)[1]
        keys = ["--p12", str(tmp_path / "k.p12"), "--password-file", str(tmp_path / "secret")]
        argv = [sys.executable, "-m", "cli.main", "agent", "--port", taken, "--origin", "https://a.exemple.fr", *keys]
        done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Port occupé" in done.stderr) == (1, True)

"""Who may speak to the agent, and how a page is paired with it."""

import re
from base64 import b64decode
from datetime import datetime

import pytest
from cryptography import x509

from agent import pairing as agent_pairing
from signing.certificates import whole_name
from tests.unit.agent.stage import HERE, OTHER, PORT, PORTAL, Stage, item

# --- Who may speak to it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["http://evil.exemple.fr:8490", "http://127.0.0.1:8491", "http://127.0.0.1", "http://localhost.evil.fr:8490"],
)
@pytest.mark.parametrize("path", ["/v1/agent", "/confirmation/x", "/"])
async def test_another_host_is_refused_whatever_the_path(stage: Stage, host: str, path: str) -> None:
    async with stage.browser(host=host) as page:
        answer = await page.get(path)
    assert answer.status_code == 421


async def test_its_own_names_are_answered(stage: Stage) -> None:
    for host in (HERE, f"http://localhost:{PORT}"):
        async with stage.browser(host=host) as page:
            assert (await page.get("/v1/agent")).status_code == 200


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.exemple.fr", "http://portail.exemple.fr", f"{PORTAL}:444", HERE]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/agent"),
        ("POST", "/v1/pairing"),
        ("GET", "/v1/certificate"),
        ("POST", "/v1/signatures"),
        ("GET", "/v1/signatures/x"),
        ("OPTIONS", "/v1/pairing"),
    ],
)
async def test_the_api_answers_allowed_origins_only(stage: Stage, origin: str | None, method: str, path: str) -> None:
    async with stage.browser(origin) as page:
        answer = await page.request(method, path)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert answer.json()["type"] == "urn:heliotrope:problem:wrong-origin"


async def test_a_preflight_allows_a_public_page_to_reach_this_computer(stage: Stage) -> None:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    async with stage.browser() as page:
        answer = await page.options("/v1/signatures", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PORTAL
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert {"authorization", "content-type"} <= set(
        answer.headers["access-control-allow-headers"].lower().split(", ")
    )
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_before_pairing_nothing_is_said_of_the_signatory(stage: Stage) -> None:
    async with stage.browser() as page:
        answer = await page.get("/v1/agent")
    assert answer.json() == {"name": "heliotrope-agent", "version": "9.9", "api": 1, "paired": False}
    assert answer.headers["access-control-allow-origin"] == PORTAL
    assert "démonstration" not in answer.text


# --- Pairing -----------------------------------------------------------------------------------------------------


async def test_the_code_of_the_terminal_pairs_a_page_once(stage: Stage) -> None:
    code = stage.agent.pairing.code
    assert re.fullmatch(r"\d{8}", code)
    async with await stage.paired() as page:
        assert (await page.get("/v1/agent")).json()["paired"] is True
        assert len(page.headers["Authorization"].removeprefix("Bearer ")) >= 43  # 256 bits
    assert stage.codes == [stage.agent.pairing.code]
    assert stage.agent.pairing.code != code
    async with stage.browser() as page:
        assert (await page.post("/v1/pairing", json={"code": code})).status_code == 403


async def test_a_code_may_be_copied_with_its_space(stage: Stage) -> None:
    code = stage.agent.pairing.code
    async with stage.browser() as page:
        assert (await page.post("/v1/pairing", json={"code": f" {code[:4]} {code[4:]} "})).status_code == 200


async def test_after_five_wrong_codes_another_is_drawn_and_the_agent_waits(stage: Stage) -> None:
    first = stage.agent.pairing.code
    wrong = f"{(int(first) + 1) % 10**8:08d}"
    async with stage.browser() as page:
        answers = [await page.post("/v1/pairing", json={"code": wrong}) for _ in range(agent_pairing.TRIES_MAX)]
        assert [one.status_code for one in answers] == [403, 403, 403, 403, 429]
        assert [one.json()["tries_left"] for one in answers[:4]] == [4, 3, 2, 1]
        assert stage.codes == [stage.agent.pairing.code] != [first]
        assert (await page.post("/v1/pairing", json={"code": stage.codes[0]})).status_code == 429
        stage.seconds += float(answers[-1].headers["retry-after"])
        assert (await page.post("/v1/pairing", json={"code": stage.codes[0]})).status_code == 200


@pytest.mark.parametrize("path", ["/v1/certificate", "/v1/signatures/x"])
async def test_everything_else_needs_a_token(stage: Stage, path: str) -> None:
    async with stage.browser() as page:
        for header in ("", "Bearer ", "Bearer wrong", "Basic x", "Bearer é"):
            answer = await page.get(path, headers=[(b"Authorization", header.encode())])
            assert answer.status_code == 401
            assert answer.json()["title"] == "Page non appairée"
            assert answer.headers["access-control-allow-origin"] == PORTAL
        assert (await page.post("/v1/signatures", json={"items": [item()]})).status_code == 401


async def test_a_token_is_good_for_its_own_origin_only(stage: Stage) -> None:
    async with await stage.paired() as page, stage.browser(OTHER) as other:
        other.headers["Authorization"] = page.headers["Authorization"]
        assert (await page.get("/v1/certificate")).status_code == 200
        assert (await other.get("/v1/certificate")).status_code == 401
        assert (await other.get("/v1/agent")).json()["paired"] is False


async def test_a_token_does_not_last_for_ever_and_the_oldest_gives_way(stage: Stage) -> None:
    async with await stage.paired() as first:
        stage.seconds += agent_pairing.SESSION_SECONDS + 1
        assert (await first.get("/v1/certificate")).status_code == 401
    async with await stage.paired() as old:
        for _ in range(agent_pairing.SESSIONS_MAX):
            await (await stage.paired()).aclose()
        assert (await old.get("/v1/certificate")).status_code == 401


async def test_the_certificate_is_told_to_a_paired_page(stage: Stage) -> None:
    async with await stage.paired() as page:
        told = (await page.get("/v1/certificate")).json()
    certificate = x509.load_der_x509_certificate(b64decode(told["certificate"]))
    assert certificate == stage.card.certificate
    assert told["subject"] == whole_name(certificate.subject)
    assert datetime.fromisoformat(told["not_after"]) == certificate.not_valid_after_utc

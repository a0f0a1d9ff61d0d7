"""The signatory's agent: who may speak to it, what it shows, and that it signs nothing else."""

import asyncio
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from cryptography import x509
from lxml import etree
from typer.testing import CliRunner

from agent import pairing as agent_pairing
from agent import requests as agent_requests
from agent import service
from agent.reading import CLOCK_SLACK
from agent.service import Agent
from cli.commands.sending.agent import origin_of
from cli.errors import UsageProblemError
from cli.main import app as command_line
from pes.sample import SampleSpec, build_sample
from signing.certificates import whole_name
from signing.keys import KeyUnusableError
from signing.outline import targets
from signing.xades import Stated, complete, prepare
from tests.pki import issue, rsa_key
from tests.signing import GLOBAL, NOW, ONE, bordereau, flux, signatory, signed, value_of, verify_both

PORT = 8490
HERE = f"http://127.0.0.1:{PORT}"
PORTAL, OTHER = "https://portail.exemple.fr", "https://autre.exemple.fr"
SAMPLE = build_sample(SampleSpec(depense_bordereaux=2, recette_bordereaux=1))
SIGNED = signed(ONE)


class Card:
    """A key that counts, and that can be taken out or made to wait."""

    def __init__(self) -> None:
        self.certificate = signatory().certificate
        self.signed: list[bytes] = []
        self.signs_before_it_is_taken_out: int | None = None
        self.is_broken = False
        self.may_sign = Event()
        self.may_sign.set()

    def sign(self, to_sign: bytes) -> bytes:
        assert self.may_sign.wait(20)
        if self.is_broken:
            raise OSError("what a driver may raise")
        if self.signs_before_it_is_taken_out == len(self.signed):
            raise KeyUnusableError("La carte « Essai » ne répond plus.")
        self.signed.append(to_sign)
        return value_of(to_sign, "", signatory().key)

    def close(self) -> None:
        """Let go."""


@dataclass
class Stage:
    """An agent, its terminal and its browser."""

    card: Card = field(default_factory=Card)
    seconds: float = 1000.0
    codes: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.agent = Agent(
            key=self.card,
            port=PORT,
            version="9.9",
            announce=self.codes.append,
            open_page=self.opened.append,
            clock=lambda: self.seconds,
            now=lambda: NOW + timedelta(seconds=self.seconds - 1000),
        )
        self.app = self.agent.app(PORTAL, OTHER)

    def browser(self, origin: str | None = PORTAL, host: str = HERE) -> httpx.AsyncClient:
        headers = {} if origin is None else {"Origin": origin}
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url=host, headers=headers)

    async def paired(self, origin: str = PORTAL) -> httpx.AsyncClient:
        async with self.browser(origin) as stranger:
            answer = await stranger.post("/v1/pairing", json={"code": self.agent.pairing.code})
        assert answer.status_code == 200
        page = self.browser(origin)
        page.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return page


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.card.may_sign.set()
    made.agent.requests.stop()


def item(document: bytes = SAMPLE, flux_id: str = "f1", *, encoded: str = "", **changes: object) -> dict[str, object]:
    return {
        "flux_id": flux_id,
        "filename": f"{flux_id}.xml",
        "document": encoded or b64encode(document).decode(),
        "signing_time": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
        "role": "Ordonnateur",
        "city": "Brumeval",
        "postal_code": "34998",
        "elements": [],
    } | changes


async def ask(page: httpx.AsyncClient, *items: dict[str, object]) -> dict[str, str]:
    answer = await page.post("/v1/signatures", json={"items": items or [item()]})
    assert answer.status_code == 202, answer.text
    found: dict[str, str] = answer.json()
    return found


async def outcome(page: httpx.AsyncClient, asked: dict[str, str]) -> dict[str, Any]:
    """Return what became of a request, once it is known."""
    while True:
        answer = (await page.get(f"/v1/signatures/{asked['request_id']}")).json()
        if answer["status"] != "waiting":
            return dict(answer)
        await asyncio.sleep(0)


def form_of(html: str) -> dict[str, Any]:
    """Read the form as a browser does, every box ticked as it comes."""
    root = etree.HTML(html)
    (token,) = root.xpath("//input[@name='form_token']/@value")
    return {
        "form_token": str(token),
        "item": [str(one) for one in root.xpath("//input[@name='item'][@checked]/@value")],
    }


async def shown(stage: Stage, asked: dict[str, str]) -> str:
    """Return the confirmation as the signatory's browser shows it."""
    async with stage.browser(origin=None) as browser:
        answer = await browser.get(asked["confirmation_url"])
    assert answer.status_code == 200
    return answer.text


async def decide(stage: Stage, asked: dict[str, str], decision: str, **changes: object) -> httpx.Response:
    form = form_of(await shown(stage, asked)) | {"decision": decision} | changes
    async with stage.browser(origin=HERE) as browser:
        return await browser.post(asked["confirmation_url"], data=form)


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", html)).split())


def completed(document: bytes, values: list[dict[str, str]], certificate: x509.Certificate, at: datetime) -> bytes:
    """Insert what the agent answered, as the platform does."""
    by_id = {one["element_id"]: b64decode(one["value"]) for one in values}
    chosen = [one for one in targets(document) if one.element_id in by_id]
    stated = Stated("Ordonnateur", "Brumeval", "34998")
    prepared = prepare(document, chosen, certificate=certificate, signing_time=at, stated=stated)
    return complete(document, prepared, [by_id[one.element_id] for one in prepared])


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


# --- Signing -----------------------------------------------------------------------------------------------------


async def test_what_the_signatory_agrees_to_is_signed_and_verifies(stage: Stage) -> None:
    async with await stage.paired() as page:
        asked = await ask(page)
        before = (await page.get(f"/v1/signatures/{asked['request_id']}")).json()
        assert (before["status"], before["items"][0]["status"], stage.card.signed) == ("waiting", "prepared", [])
        assert stage.opened == [asked["confirmation_url"]]
        answer = await decide(stage, asked, "sign")
        assert (answer.status_code, answer.headers["location"]) == (303, asked["confirmation_url"].removeprefix(HERE))
        done = await outcome(page, asked)
    assert done["status"] == "signed"
    (one,) = done["items"]
    assert (one["flux_id"], one["status"], one["reason"], len(one["values"])) == ("f1", "signed", None, 3)
    whole = completed(SAMPLE, one["values"], stage.card.certificate, NOW)
    assert len(verify_both(whole)) == 3
    assert "1 flux signé" in words(await shown(stage, asked))


async def test_what_the_signatory_refuses_is_not_signed(stage: Stage) -> None:
    async with await stage.paired() as page:
        asked = await ask(page)
        assert (await decide(stage, asked, "refuse")).status_code == 303
        done = await outcome(page, asked)
    assert (done["status"], done["items"][0]["status"], done["items"][0]["values"]) == ("refused", "refused", [])
    assert "a refusé" in done["items"][0]["reason"]
    assert stage.card.signed == []
    assert "Rien n’a été signé" in words(await shown(stage, asked))


async def test_a_flux_that_is_unticked_is_left_out(stage: Stage) -> None:
    async with await stage.paired() as page:
        asked = await ask(page, item(flux_id="a"), item(ONE, "b"), item(GLOBAL, "c"))
        await decide(stage, asked, "sign", item=["0", "2"])
        done = await outcome(page, asked)
    assert [one["status"] for one in done["items"]] == ["signed", "refused", "signed"]
    assert "n’a pas retenu" in done["items"][1]["reason"]
    assert done["items"][1]["values"] == []
    assert len(verify_both(completed(GLOBAL, done["items"][2]["values"], stage.card.certificate, NOW))) == 1


@pytest.mark.parametrize(
    ("decision", "ticked"), [("sign", []), ("sign", ["7"]), ("sign", ["9" * 5000]), ("sign", ["²"]), ("other", ["0"])]
)
async def test_an_answer_that_chooses_nothing_is_asked_again(stage: Stage, decision: str, ticked: list[str]) -> None:
    async with await stage.paired() as page:
        asked = await ask(page)
        answer = await decide(stage, asked, decision, item=ticked)
        assert answer.status_code == 422
        assert "Cochez au moins un flux" in words(answer.text)
        assert (await page.get(f"/v1/signatures/{asked['request_id']}")).json()["status"] == "waiting"


async def test_only_the_elements_that_were_asked_for_are_signed(stage: Stage) -> None:
    first, second, third = (one.element_id for one in targets(SAMPLE))
    async with await stage.paired() as page:
        asked = await ask(page, item(elements=[third, first]))
        assert "2 bordereaux" in words(await shown(stage, asked))
        await decide(stage, asked, "sign")
        done = await outcome(page, asked)
    assert [one["element_id"] for one in done["items"][0]["values"]] == [first, third]
    assert second not in str(done)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoded": "not base64!"}, "base64 illisible"),
        ({"document": b"<a/>"}, "pas un PES Aller"),
        ({"document": b"no xml"}, "pas un document XML"),
        ({"document": SIGNED}, "Tout est déjà signé"),
        ({"document": SIGNED, "elements": ["BORD1"]}, "est déjà signé"),
        ({"elements": ["ABSENT"]}, "ne contient pas « ABSENT »"),
        ({"signing_time": "yesterday"}, "n’est pas lisible"),
        ({"signing_time": "2026-03-02T09:30:00+01:00"}, "temps universel"),
        ({"signing_time": "2026-03-02T09:30:00"}, "temps universel"),
        ({"signing_time": f"{NOW - CLOCK_SLACK - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}, "ni après coup"),
        ({"role": "a\0b"}, "interdit en XML"),
    ],
)
async def test_a_flux_that_cannot_be_prepared_is_told_and_stops_no_other(
    stage: Stage, changes: dict[str, Any], reason: str
) -> None:
    async with await stage.paired() as page:
        asked = await ask(page, item(flux_id="bad", **changes), item(ONE, "good"))
        page_shown = words(await shown(stage, asked))
        assert "Flux non signés" in page_shown
        await decide(stage, asked, "sign")
        bad, good = (await outcome(page, asked))["items"]
    assert (bad["status"], good["status"]) == ("refused", "signed")
    assert reason in bad["reason"]
    assert reason in page_shown


async def test_a_request_in_which_nothing_can_be_signed_is_refused_at_once(stage: Stage) -> None:
    async with await stage.paired() as page:
        asked = await ask(page, item(b"<a/>"))
        assert (await outcome(page, asked))["status"] == "refused"
        assert stage.opened == []
        await ask(page)  # and it does not stand in the way of the next


async def test_an_expired_certificate_signs_nothing(stage: Stage) -> None:
    stage.card.certificate = issue(
        "Périmée", rsa_key(3), begin=NOW - timedelta(9), end=NOW - timedelta(1)
    ).certificate
    async with await stage.paired() as page:
        done = await outcome(page, await ask(page))
    assert "Choisissez un certificat en cours de validité" in done["items"][0]["reason"]


async def test_a_card_that_is_taken_out_leaves_what_it_signed_and_tells_the_rest(stage: Stage) -> None:
    stage.card.signs_before_it_is_taken_out = 4  # in the middle of the second flux
    async with await stage.paired() as page:
        asked = await ask(page, *(item(flux_id=name) for name in "abc"))
        await decide(stage, asked, "sign")
        done = await outcome(page, asked)
    assert done["status"] == "signed"
    assert [(one["status"], len(one["values"])) for one in done["items"]] == [
        ("signed", 3),
        ("refused", 0),
        ("refused", 0),
    ]
    assert all("ne répond plus" in one["reason"] for one in done["items"][1:])
    assert len(stage.card.signed) == 4  # a card that refuses is not asked again


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_driver_that_fails_in_its_own_way_leaves_nobody_waiting(stage: Stage) -> None:
    stage.card.is_broken = True
    async with await stage.paired() as page:
        asked = await ask(page, item())
        await decide(stage, asked, "sign")
        done = await outcome(page, asked)
        assert (done["status"], [one["status"] for one in done["items"]]) == ("refused", ["refused"])
        stage.card.is_broken = False
        again = await ask(page, item())
        await decide(stage, again, "sign")
        assert (await outcome(page, again))["status"] == "signed"


async def test_the_agent_answers_while_the_card_signs(stage: Stage) -> None:
    stage.card.may_sign.clear()
    async with await stage.paired() as page:
        asked = await ask(page)
        await decide(stage, asked, "sign")
        assert (await page.get("/v1/agent")).status_code == 200
        assert "Signature en cours" in words(await shown(stage, asked))
        assert (await page.get(f"/v1/signatures/{asked['request_id']}")).json()["status"] == "waiting"
        stage.seconds += agent_requests.WAITING_SECONDS + 1  # a slow card does not make what was agreed expire
        stage.card.may_sign.set()
        assert (await outcome(page, asked))["status"] == "signed"


async def test_an_agent_that_stops_signs_nothing_more(stage: Stage) -> None:
    stage.agent.requests.stop()
    async with await stage.paired() as page:
        asked = await ask(page)
        await decide(stage, asked, "sign")
        done = await outcome(page, asked)
    assert (done["status"], stage.card.signed) == ("refused", [])


async def test_an_answer_counts_once(stage: Stage) -> None:
    async with await stage.paired() as page:
        asked = await ask(page)
        form = form_of(await shown(stage, asked)) | {"decision": "refuse"}
        async with stage.browser(origin=HERE) as browser:
            await browser.post(asked["confirmation_url"], data=form)
            answer = await browser.post(asked["confirmation_url"], data=form | {"decision": "sign"})
        assert "Rien n’a été signé" in words(answer.text)
    assert stage.card.signed == []


# --- Bounds ------------------------------------------------------------------------------------------------------


async def test_one_request_waits_at_a_time_for_each_page(stage: Stage) -> None:
    async with await stage.paired() as page, await stage.paired(OTHER) as other:
        asked = await ask(page)
        answer = await page.post("/v1/signatures", json={"items": [item()]})
        assert (answer.status_code, answer.json()["title"]) == (409, "Une demande attend déjà")
        await ask(other)
        await decide(stage, asked, "refuse")
        await ask(page)


async def test_a_request_that_nobody_answers_expires(stage: Stage) -> None:
    async with await stage.paired() as page:
        asked = await ask(page)
        form = form_of(await shown(stage, asked)) | {"decision": "sign"}
        stage.seconds += agent_requests.WAITING_SECONDS
        async with stage.browser(origin=HERE) as browser:
            answer = await browser.post(asked["confirmation_url"], data=form)
        assert "10 minutes : la demande a expiré" in words(answer.text)
        done = await outcome(page, asked)
        assert (done["status"], stage.card.signed) == ("refused", [])
        stage.seconds += agent_requests.KEPT_SECONDS
        assert (await page.get(f"/v1/signatures/{asked['request_id']}")).status_code == 404


async def test_too_many_flux_are_refused(stage: Stage) -> None:
    small = [item(b"<a/>", str(number)) for number in range(service.ITEMS_MAX + 1)]
    async with await stage.paired() as page:
        answer = await page.post("/v1/signatures", json={"items": small})
        assert (answer.status_code, answer.json()["items_max"]) == (413, 500)
        assert len((await outcome(page, await ask(page, *small[:-1])))["items"]) == 500


async def test_a_body_that_is_too_large_is_refused_said_or_not(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service.BODY_BYTES_MAX == 256 * 1024 * 1024
    monkeypatch.setattr(service, "BODY_BYTES_MAX", 10_000)
    body = json.dumps({"items": [item()]}).encode()

    async def chunks() -> Any:
        yield body

    async with await stage.paired() as page:
        for content in (body, chunks()):
            answer = await page.post("/v1/signatures", content=content)
            assert (answer.status_code, answer.json()["title"]) == (413, "Demande trop grande")
        await ask(page, item(ONE))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"items": []}', b'{"items": [{"flux_id": "a"}]}', b'{"items": [{"document": "SECRET"}]}'],
)
async def test_a_request_of_another_form_is_refused_without_repeating_it(stage: Stage, body: bytes) -> None:
    async with await stage.paired() as page:
        answer = await page.post("/v1/signatures", content=body)
    assert answer.status_code == 422
    assert "SECRET" not in answer.text


async def test_a_flux_is_not_asked_for_twice(stage: Stage) -> None:
    async with await stage.paired() as page:
        assert (await page.post("/v1/signatures", json={"items": [item(), item()]})).status_code == 422


async def test_a_request_is_told_to_the_page_that_made_it_only(stage: Stage) -> None:
    async with await stage.paired() as page, await stage.paired(OTHER) as other:
        asked = await ask(page)
        assert (await other.get(f"/v1/signatures/{asked['request_id']}")).status_code == 404


# --- The confirmation --------------------------------------------------------------------------------------------


async def test_the_confirmation_tells_what_is_signed_and_under_which_certificate(stage: Stage) -> None:
    async with await stage.paired() as page:
        html = await shown(stage, await ask(page, item(), item(GLOBAL, "whole")))
    said = words(html)
    for expected in (
        PORTAL,
        "Ordonnateur de démonstration",
        "f1.xml",
        "Commune de Brumeval-les-Étangs",
        "Bordereaux signés : 3 bordereaux, 6 pièces",
        "Ordonnateur, à Brumeval 34998",
        "02/03/2026 à 10:30:15",
        "Le flux entier est signé ; il contient 2 bordereaux",
        "2 flux, 5 bordereaux, 6 pièces",
    ):
        assert expected in said, expected


async def test_the_amounts_are_those_of_the_document(stage: Stage) -> None:
    spec = SampleSpec(depense_bordereaux=1, recette_bordereaux=0, pieces_per_bordereau=3, lignes_per_piece=2)
    document = build_sample(spec)
    declared = etree.fromstring(document).xpath("string(//MtBordHT/@V)")
    changed = document.replace(f'<MtBordHT V="{declared}"/>'.encode(), b'<MtBordHT V="1234567.8"/>')
    async with await stage.paired() as page:
        root = etree.HTML(await shown(stage, await ask(page, item(changed))))
    cells = ["".join(one.itertext()) for one in root.xpath("//section[@aria-labelledby='flux-0']//tbody/tr/*")]
    euros = f"{float(declared):,.2f} €".replace(",", "\N{NARROW NO-BREAK SPACE}").replace(".", ",")
    assert cells == ["100", "2026", "Dépense", "3", "1\u202f234\u202f567,80 €", euros]


@pytest.mark.parametrize("amount", ["1E+999999", "1E-999999", "NaN", "12,5", "9" * 29])
async def test_an_amount_that_cannot_be_shown_is_unknown(stage: Stage, amount: str) -> None:
    document = re.sub(rb'<MtBordHT V="[^"]*"/>', f'<MtBordHT V="{amount}"/>'.encode(), SAMPLE)
    async with await stage.paired() as page:
        said = words(await shown(stage, await ask(page, item(document))))
    assert "inconnu" in said
    assert amount not in said


async def test_what_a_flux_says_is_shown_as_text(stage: Stage) -> None:
    label = "&lt;script>alert(1)&lt;/script>\N{RIGHT-TO-LEFT OVERRIDE}"
    document = flux(depense=(bordereau(1),), encoding="UTF-8").replace(
        b"<Enveloppe/>", f'<EnTetePES><LibelleColBud V="{label}"/></EnTetePES>'.encode()
    )
    async with await stage.paired() as page:
        asked = await ask(page, item(document, filename='"><img src=x onerror=alert(1)>\N{RIGHT-TO-LEFT OVERRIDE}'))
        html = await shown(stage, asked)
    assert "<script" not in html
    assert "<img" not in html
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in html
    assert "<script>alert(1)</script>" in words(html)


async def test_the_confirmation_cannot_be_framed_kept_or_made_to_run_anything(stage: Stage) -> None:
    async with await stage.paired() as page, stage.browser(origin=None) as browser:
        asked = await ask(page)
        for address in (asked["confirmation_url"], "/confirmation/unknown"):
            headers = (await browser.get(address)).headers
            policy = headers["content-security-policy"].split("; ")
            assert {"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"} <= set(policy)
            assert not any(one.startswith("script-src") for one in policy)
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in headers


async def test_an_address_that_was_guessed_shows_nothing(stage: Stage) -> None:
    async with await stage.paired() as page, stage.browser(origin=None) as browser:
        asked = await ask(page)
        assert len(asked["confirmation_url"].rsplit("/", 1)[1]) >= 43
        answer = await browser.get("/confirmation/guess")
    assert (answer.status_code, "Aucune demande ici" in words(answer.text)) == (404, True)


@pytest.mark.parametrize("origin", [None, "null", PORTAL, "https://evil.exemple.fr"])
async def test_the_form_is_taken_from_the_agents_own_page_only(stage: Stage, origin: str | None) -> None:
    async with await stage.paired() as page:
        asked = await ask(page)
        form = form_of(await shown(stage, asked)) | {"decision": "sign"}
        async with stage.browser(origin) as other:
            assert (await other.post(asked["confirmation_url"], data=form)).status_code == 403
        async with stage.browser(HERE) as other:
            answer = await other.post(asked["confirmation_url"], data=form, headers={"Sec-Fetch-Site": "cross-site"})
            assert answer.status_code == 403
            assert (await other.post(asked["confirmation_url"], data=form | {"form_token": "x"})).status_code == 403
        assert (await page.get(f"/v1/signatures/{asked['request_id']}")).json()["status"] == "waiting"
    assert stage.card.signed == []


async def test_another_site_cannot_read_the_confirmation(stage: Stage) -> None:
    async with await stage.paired() as page:
        asked = await ask(page)
        assert (await page.get(asked["confirmation_url"])).status_code == 403


async def test_the_confirmation_is_html_that_everybody_can_use(stage: Stage) -> None:
    async with await stage.paired() as page:
        root = etree.HTML(await shown(stage, await ask(page, item(), item(b"<a/>", "bad"))))
    assert root.get("lang") == "fr"
    assert len(root.xpath("//h1")) == 1
    assert root.xpath("//title/text()")
    assert {table.find("caption") is not None for table in root.iter("table")} == {True}
    assert {bool(cell.get("scope")) for cell in root.iter("th")} == {True}
    assert {bool(box.xpath("ancestor::label")) for box in root.xpath("//input[@type='checkbox']")} == {True}
    assert root.xpath("//button/text()") == ["Refuser", "Signer"]  # the Enter key presses the first
    assert root.xpath("//script") == []
    ids = root.xpath("//@id")
    assert len(ids) == len(set(ids))


async def test_what_does_not_exist_is_said(stage: Stage) -> None:
    async with await stage.paired() as page:
        for method, path, status in (("GET", "/v1/other", 404), ("DELETE", "/v1/certificate", 405)):
            answer = await page.request(method, path)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


# --- The command -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Portail.Exemple.fr/", "https://portail.exemple.fr"),
        ("https://portail.exemple.fr:443", "https://portail.exemple.fr"),
        ("https://portail.exemple.fr:8443", "https://portail.exemple.fr:8443"),
        ("http://localhost:8400", "http://localhost:8400"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8400", "http://[::1]:8400"),
    ],
)
def test_an_origin_is_written_as_browsers_do(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "*",
        "null",
        "portail.exemple.fr",
        "https://",
        "https://*.exemple.fr",
        "https://portail.exemple.fr/page",
        "https://portail.exemple.fr?x",
        "https://a@portail.exemple.fr",
        "https://portail.exemple.fr:port",
        "ftp://portail.exemple.fr",
        "http://portail.exemple.fr",
    ],
)
def test_what_is_no_safe_origin_is_refused(url: str) -> None:
    with pytest.raises(UsageProblemError):
        origin_of(url)


def test_the_agent_needs_a_portal_and_a_key(tmp_path: Path) -> None:
    for options in ([], ["--origin", PORTAL], ["--origin", "*", "--p12", "k.p12", "--password-file", "p"]):
        assert CliRunner().invoke(command_line, ["agent", *options]).exit_code == 2
    absent = ["--p12", str(tmp_path / "absent.p12"), "--password-file", str(tmp_path / "absent")]
    done = CliRunner().invoke(command_line, ["agent", "--port", "0", "--origin", PORTAL, *absent, "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["title"] == "Clé inutilisable"

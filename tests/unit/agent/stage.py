"""The agent on a stage: a card, a page, a browser; what its tests share."""

import asyncio
import re
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape
from threading import Event
from typing import Any

import httpx
from lxml import etree

from agent.service import Agent
from pes.sample import SampleSpec, build_sample
from signing.keys import KeyUnusableError
from tests.signing import NOW, signatory, value_of

PORT = 8490
HERE = f"http://127.0.0.1:{PORT}"
PORTAL, OTHER = "https://portail.exemple.fr", "https://autre.exemple.fr"
SAMPLE = build_sample(SampleSpec(depense_bordereaux=2, recette_bordereaux=1))


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

"""What the agent is asked has bounds."""

import json
from typing import Any

import pytest

from agent import requests as agent_requests
from agent import service
from tests.signing import ONE
from tests.unit.agent.stage import HERE, OTHER, Stage, ask, decide, form_of, item, outcome, shown, words


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

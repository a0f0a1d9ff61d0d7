"""The agent signs what was agreed to, and nothing else."""

from base64 import b64decode
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from agent import requests as agent_requests
from agent.reading import CLOCK_SLACK
from signing.outline import targets
from signing.xades import Stated, complete, prepare
from tests.pki import issue, rsa_key
from tests.signing import GLOBAL, NOW, ONE, signed, verify_both
from tests.unit.agent.stage import HERE, SAMPLE, Stage, ask, decide, form_of, item, outcome, shown, words

SIGNED = signed(ONE)


def completed(document: bytes, values: list[dict[str, str]], certificate: x509.Certificate, at: datetime) -> bytes:
    """Insert what the agent answered, as the platform does."""
    by_id = {one["element_id"]: b64decode(one["value"]) for one in values}
    chosen = [one for one in targets(document) if one.element_id in by_id]
    stated = Stated("Ordonnateur", "Brumeval", "34998")
    prepared = prepare(document, chosen, certificate=certificate, signing_time=at, stated=stated)
    return complete(document, prepared, [by_id[one.element_id] for one in prepared])


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

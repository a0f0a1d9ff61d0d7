"""What the agent shows before it signs."""

import re

import pytest
from lxml import etree

from pes.sample import SampleSpec, build_sample
from tests.signing import GLOBAL, bordereau, flux
from tests.unit.agent.stage import HERE, PORTAL, SAMPLE, Stage, ask, form_of, item, shown, words


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

"""Who may do what in the parapheur, and in which collectivité."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.facts import flux as facts
from shared.facts.envelope import new_id
from shared.web.auth import Role
from tests import examples as an
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer
from tests.integration.services.parapheur.bench import (
    OPERATOR,
    SIGNED_BY,
    STRANGER,
    VISA_THEN_SIGNATURE,
    Bench,
    Headers,
    completion_of,
    problem_of,
)
from tests.parapheur import DIRECTOR, MAYOR, refusal
from tests.signing import NOW

# What a request for each route of people looks like; `{}` stands for a flux.
EVERY_REQUEST: list[tuple[str, str, dict[str, object] | None]] = [
    ("GET", "/v1/signatures/pending", None),
    ("POST", "/v1/signatures/prepare", {**SIGNED_BY, "flux": ["{}"]}),
    (
        "POST",
        "/v1/signatures/complete",
        {
            **SIGNED_BY,
            "signing_time": NOW.isoformat(),
            "items": [{"flux_id": "{}", "values": [{"element_id": "x", "value": "eA=="}]}],
        },
    ),
    ("POST", "/v1/signatures/visa", {"flux": ["{}"]}),
    ("POST", "/v1/signatures/refuse", {"flux": ["{}"], "reason": "Motif"}),
    ("GET", "/v1/flux/{}/circuit", None),
    ("GET", "/v1/flux/{}/document", None),
    ("POST", "/v1/flux/{}/circuit/restart", {"reason": "Motif"}),
    ("GET", "/v1/certificates", None),
]


def about(flux_id: UUID, body: dict[str, object] | None) -> Any:
    """Return the body of a request with a flux in it."""

    def filled(value: Any) -> Any:
        match value:
            case "{}":
                return str(flux_id)
            case list():
                return [filled(one) for one in value]
            case dict():
                return {name: filled(one) for name, one in value.items()}
            case _:
                return value

    return filled(body)


async def asked(bench: Bench, request: int, flux_id: UUID, who: Headers) -> httpx.Response:
    """Make one of `EVERY_REQUEST`, about a flux."""
    method, path, body = EVERY_REQUEST[request]
    return await bench.http.request(method, path.format(flux_id), json=about(flux_id, body), headers=who)


@pytest.mark.parametrize("request_number", range(len(EVERY_REQUEST)), ids=[path for _, path, _ in EVERY_REQUEST])
@pytest.mark.parametrize(
    "who", [{"Authorization": ""}, {"Authorization": "Bearer x"}, bearer(hours=-1)], ids=["none", "no token", "old"]
)
async def test_nobody_does_anything_without_a_token(bench: Bench, request_number: int, who: Headers) -> None:
    answer = await asked(bench, request_number, await bench.waiting(), who)
    assert problem_of(answer) == (401, "unauthenticated")
    assert "Bearer" in answer.headers["www-authenticate"]


_SIGNING = {"/v1/signatures/prepare", "/v1/signatures/complete"}
_APPROVING = {"/v1/signatures/pending", "/v1/signatures/visa", "/v1/signatures/refuse"}
_RESTARTING = {"/v1/flux/{}/circuit/restart"}


@pytest.mark.parametrize(
    ("role", "forbidden"),
    [
        (Role.SIGNATAIRE, _RESTARTING),
        (Role.GESTIONNAIRE, _SIGNING),
        (Role.ADMINISTRATEUR, _SIGNING),
        (Role.AUDITEUR, _SIGNING | _APPROVING | _RESTARTING),
        (Role.OPERATOR, _SIGNING | _APPROVING),
    ],
)
async def test_each_role_does_what_it_is_for(bench: Bench, role: Role, forbidden: set[str]) -> None:
    refused = set()
    for number, (_, path, _) in enumerate(EVERY_REQUEST):
        answer = await asked(bench, number, await bench.waiting(number + 1), bearer(role=role))
        if answer.status_code == 403:
            assert problem_of(answer) == (403, "forbidden")
            refused.add(path)
        else:
            assert answer.status_code in (200, 202, 409), answer.text
    assert refused == forbidden


async def test_a_flux_of_another_collectivite_is_not_found_whatever_is_asked(bench: Bench) -> None:
    flux_id, absent = await bench.waiting(), new_id()
    before = await bench.kinds()
    for number, (_, path, _) in enumerate(EVERY_REQUEST):
        who = bearer(OTHER_COMMUNE, role=Role.ADMINISTRATEUR) if path in _RESTARTING else STRANGER
        hidden, none = [await asked(bench, number, one, who) for one in (flux_id, absent)]
        if path.startswith("/v1/flux/"):
            assert problem_of(hidden) == (404, "flux-not-found")
        elif "items" in hidden.json():
            assert [refusal(item) for item in hidden.json()["items"]] == ["flux-not-found"]
        # Nothing tells a flux that is hidden from one that does not exist.
        assert hidden.text.replace(str(flux_id), str(absent)) == none.text
    assert (await bench.http.get("/v1/signatures/pending", headers=STRANGER)).json() == {"flux": [], "more": False}
    assert await bench.kinds() == before


async def test_a_batch_across_collectivites_does_what_is_the_callers(bench: Bench) -> None:
    mine, theirs = await bench.waiting(1), await bench.waiting(2, OTHER_COMMUNE)
    prepared = await bench.prepare(mine, theirs)
    own, other = prepared["items"]
    assert (own["status"], refusal(other)) == ("prepared", "flux-not-found")
    body = completion_of(prepared)
    body["items"].append({**body["items"][0], "flux_id": str(theirs)})
    own, other = (await bench.ask("/v1/signatures/complete", body))["items"]
    assert (own["status"], refusal(other)) == ("signed", "flux-not-found")
    assert isinstance(await bench.last(theirs), facts.SignatureRequested)


# Signs for the commune, and looks on in the other one.
HERE_ONLY = bearer(role=Role.SIGNATAIRE, also={OTHER_COMMUNE: Role.AUDITEUR}, subject=MAYOR)


async def test_who_signs_for_one_and_reads_another_signs_nothing_there(bench: Bench) -> None:
    await bench.mandate(MAYOR, OTHER_COMMUNE)  # even with a mandate: the token is what says who may
    mine, theirs = await bench.waiting(1), await bench.waiting(2, OTHER_COMMUNE)
    assert (await bench.http.get(f"/v1/flux/{theirs}/document", headers=HERE_ONLY)).status_code == 200
    told = (await bench.http.get(f"/v1/flux/{theirs}/circuit", headers=HERE_ONLY)).json()
    assert told["is_mine"] is False
    pending = (await bench.http.get("/v1/signatures/pending", headers=HERE_ONLY)).json()["flux"]
    assert [one["flux_id"] for one in pending] == [str(mine)]

    # What somebody else of the other commune prepared does not get in either.
    prepared = await bench.prepare(mine, theirs, who=HERE_ONLY)
    own, other = prepared["items"]
    assert (own["status"], refusal(other)) == ("prepared", "forbidden")
    theirs_prepared = await bench.prepare(theirs, who=STRANGER)
    body = completion_of(prepared)
    body["items"] += completion_of(theirs_prepared)["items"]
    own, other = (await bench.ask("/v1/signatures/complete", body, HERE_ONLY))["items"]
    assert (own["status"], refusal(other)) == ("signed", "forbidden")
    assert isinstance(await bench.last(theirs), facts.SignatureRequested)
    assert [one["status"] for one in await bench.complete(theirs_prepared, who=STRANGER)] == ["signed"]


@pytest.mark.parametrize(("path", "more"), [("visa", {}), ("refuse", {"reason": "Mandat 12 faux"})])
async def test_who_approves_for_one_and_reads_another_decides_nothing_there(
    bench: Bench, path: str, more: dict[str, object]
) -> None:
    await bench.circuit(*VISA_THEN_SIGNATURE)
    visa = {"flux_kind": "*", "steps": VISA_THEN_SIGNATURE, "reason": "choix du conseil"}
    where = f"/v1/circuits?collectivite={OTHER_COMMUNE}"
    assert (await bench.http.put(where, json=visa, headers=OPERATOR)).status_code == 200
    mine, theirs = await bench.waiting(1), await bench.waiting(2, OTHER_COMMUNE)
    who = bearer(role=Role.GESTIONNAIRE, also={OTHER_COMMUNE: Role.AUDITEUR}, subject=DIRECTOR)
    body = {"flux": [str(mine), str(theirs)], **more}
    own, other = (await bench.ask(f"/v1/signatures/{path}", body, who))["items"]
    assert own["status"] in ("visa", "declined")
    assert refusal(other) == "forbidden"
    assert isinstance(await bench.last(theirs), facts.SignatureRequested)
    answer = await bench.http.post(f"/v1/flux/{theirs}/circuit/restart", json={"reason": "Motif"}, headers=who)
    assert problem_of(answer) == (403, "forbidden")


async def test_a_signatory_of_both_signs_in_both(bench: Bench) -> None:
    await bench.mandate(MAYOR, OTHER_COMMUNE)
    waiting = [await bench.waiting(1), await bench.waiting(2, OTHER_COMMUNE)]
    both = bearer(COMMUNE, OTHER_COMMUNE, role=Role.SIGNATAIRE, subject=MAYOR)
    done = await bench.complete(await bench.prepare(*waiting, who=both), who=both)
    assert [item["status"] for item in done] == ["signed", "signed"]


async def test_a_reply_that_belongs_to_no_flux_has_nothing_to_sign(bench: Bench) -> None:
    first, *_ = await bench.history.append(an.reply_of_no_flux(NOW), expected_version=0)
    everywhere = bearer("*", role=Role.SIGNATAIRE, subject=MAYOR)
    for number, (_, path, _) in enumerate(EVERY_REQUEST):
        who = OPERATOR if path in _RESTARTING else everywhere
        answer = await asked(bench, number, first.flux_id, who)
        if path.startswith("/v1/flux/"):
            assert problem_of(answer) == (404, "flux-not-found")
        elif "items" in answer.json():
            assert [refusal(item) for item in answer.json()["items"]] == ["flux-not-found"]

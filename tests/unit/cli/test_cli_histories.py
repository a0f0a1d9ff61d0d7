"""What commands show of histories, of flux that are set aside and of replies, from what the platform answers."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from shared.facts.envelope import new_id
from shared.facts.lifecycles.reply import State
from shared.facts.streams import collectivite_stream
from tests import examples as an
from tests.recording import begun
from tests.unit.cli.test_cli_words import START, members_of

Answer = Callable[[httpx.Request], httpx.Response]
UNKNOWN = {"kind": "flux.teleported.v1", "actor": "karim", "occurred_at": "2026-07-14T08:00:01.000000Z", "data": {}}
REPLY = {
    "reply_id": str(new_id()),
    "received_at": "2026-02-02T12:00:00.000000Z",
    "remote_name": "ACK-1.xml",
    "nomfic": "PESALR1_1",
    "verdict": "rejected",
    "sha256": "c" * 64,
    "reason": "Aucun flux n’a ce NomFic.",
    "state": "waiting",
    "on_screen": "Réponse non rattachée",
    "flux_id": None,
    "decided_by": "",
    "decided_at": None,
    "decision": "",
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[httpx.Request]:
    """Return the requests that commands make."""
    monkeypatch.setenv("HELIOTROPE_TOKEN", "t")
    monkeypatch.setenv("HELIOTROPE_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    return []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, asked: list[httpx.Request]) -> Callable[..., Result]:
    """Return what runs a command against a platform that answers so."""

    def invoke(answer: Answer | dict[str, object], *arguments: str) -> Result:
        def respond(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return answer(request) if callable(answer) else httpx.Response(200, json=answer)

        client = partial(httpx.Client, transport=httpx.MockTransport(respond))
        monkeypatch.setattr("cli.api.httpx.Client", client)
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 0, done.output
        return done

    return invoke


def opened() -> dict[str, object]:
    event = begun(
        an.opened, stream=collectivite_stream(an.collectivite), collectivite=an.collectivite, actor="olivia", at=START
    )
    document: dict[str, object] = json.loads(event.to_bytes())
    return document


def test_a_history_is_told_page_after_page(run: Callable[..., Result], asked: list[httpx.Request]) -> None:
    pages: dict[str, dict[str, Any]] = {
        "0": {"stream_id": "s", "items": [opened()], "next": 1},
        "1": {"stream_id": "s", "items": [UNKNOWN], "next": None},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=pages[request.url.params["after"]])

    shown = run(answer, "events", "--stream", "collectivite:213499908").stdout
    assert [request.url.path for request in asked] == ["/v1/streams/collectivite:213499908/events"] * 2
    assert "Collectivité ouverte : Commune de Brumeval-les-Étangs" in shown
    assert "olivia" in shown
    assert "flux.teleported.v1" in shown
    raw = json.loads(run(answer, "events", "--stream", "collectivite:213499908", "--json").stdout)
    assert raw == {"stream_id": "s", "items": [pages["0"]["items"][0], UNKNOWN]}


def test_the_events_of_a_flux_say_what_a_newer_version_wrote(run: Callable[..., Result]) -> None:
    shown = run({"events": [*members_of([an.imported]), UNKNOWN]}, "flux", "events", str(new_id()))
    assert "Fichier importé" in shown.stdout
    assert "Mis de côté : une version plus récente de la plateforme a écrit" in shown.stdout
    assert "ne connaît pas (flux.teleported.v1)" in shown.stdout


def test_so_do_those_in_which_it_wrote_a_value_that_is_not_known(run: Callable[..., Result]) -> None:
    (imported,) = members_of([an.imported])
    shown = run({"events": [imported | {"data": {"document": "teleported"}}]}, "flux", "events", str(new_id()))
    assert "ne peut pas lire à cette place (flux.imported.v1)" in shown.stdout


@pytest.mark.parametrize("known", [{"state": "ready", "sha256": "a" * 64}, {}], ids=["in part", "not at all"])
def test_a_flux_that_is_set_aside_says_why(run: Callable[..., Result], known: dict[str, object]) -> None:
    reason = "Une version plus récente de la plateforme a écrit un fait."
    set_aside = {"kind": "flux.teleported.v1", "version": 2, "reason": reason}
    flux = {"flux_id": "f", "version": 2, "on_screen": "Mis de côté", "set_aside": set_aside, **known}
    shown = run(flux, "flux", "show", str(new_id())).stdout
    assert "Flux f : Mis de côté" in shown
    assert "Mis de côté : une version plus récente de la plateforme a écrit un fait." in shown


def test_replies_are_listed_and_one_is_shown(run: Callable[..., Result], asked: list[httpx.Request]) -> None:
    listed = run({"replies": [REPLY], "next": REPLY["reply_id"]}, "replies", "list")
    assert str(REPLY["reply_id"]) in listed.stdout
    assert "Rejeté" in listed.stdout
    assert f"--before {REPLY['reply_id']}" in listed.stderr
    assert dict(asked[-1].url.params) == {"state": "waiting", "limit": "50"}
    decided = {
        "state": "dismissed",
        "decided_by": "olivia",
        "decided_at": REPLY["received_at"],
        "decision": "Ailleurs.",
    }
    shown = run(REPLY | decided, "replies", "show", str(REPLY["reply_id"])).stdout
    assert "Aucun flux n’a ce NomFic." in shown
    assert "Décidé par olivia, le 02/02/2026 13:00:00 : Ailleurs." in shown


def test_no_reply_that_waits_is_said(run: Callable[..., Result]) -> None:
    assert State.WAITING.on_screen in run({"replies": [], "next": None}, "replies", "list").stderr


def test_a_reply_is_linked_or_dismissed_with_a_reason(run: Callable[..., Result], asked: list[httpx.Request]) -> None:
    reply_id, flux_id = str(REPLY["reply_id"]), str(new_id())
    run(REPLY, "replies", "link", reply_id, "--flux", flux_id, "--reason", "NomFic ressaisi")
    run(REPLY, "replies", "dismiss", reply_id, "--reason", "Pas à nous")
    assert [(one.url.path, json.loads(one.content)) for one in asked] == [
        (f"/v1/replies/{reply_id}/link", {"flux_id": flux_id, "reason": "NomFic ressaisi"}),
        (f"/v1/replies/{reply_id}/dismissal", {"reason": "Pas à nous"}),
    ]

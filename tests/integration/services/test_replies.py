"""Replies that belong to no flux, over HTTP and a real journal: seen, linked, dismissed; by whom it may be."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from pes.reading.xml import parse
from services.ack.acquit import read_reply
from services.ack.adapters.rows import PostgresReplyRows
from services.ack.api import routes
from services.ack.decide import Reply
from services.ack.handler import on_linked, on_reply
from services.ack.replies import Replies
from services.simulator.acquit import DEPENSE, Element, Error, write_acquit
from shared.bus.consumer import Subscription
from shared.bus.postgres import PostgresBus
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact, kind_of
from shared.facts.flux import FluxAcknowledged, FluxRejected, FluxTransmitted, ReplyReceived
from shared.facts.lifecycles.flux import State, fold
from shared.facts.reply import ReplyLinked, ReplyUnlinked
from shared.facts.streams import BY_KIND
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from shared.runtime.documents import DocumentStore, open_store
from shared.web.app import caller_dependency, service_app
from shared.web.auth import Role
from tests import examples as an
from tests.callers import COMMUNE, bearer, checker
from tests.conftest import TestDatabase
from tests.ordering import order_all
from tests.real.platform import sample
from tests.recording import begun
from tests.stage import PATIENCE_SECONDS, document, running

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
PES = parse(sample(2, is_dematerialised=False))  # of another NomFic than the flux of these tests
ACK = Element(DEPENSE, number="100", exercice="2026")
NACK = Element(DEPENSE, number="100", exercice="2026", errors=(Error("TS42", "Tiers inconnu"),))
OPERATOR = bearer("*", role=Role.OPERATOR, subject="olivia")
AUDITOR = bearer("*", role=Role.AUDITEUR, subject="ines")
REASON = "La trésorerie a ressaisi le NomFic."
SENT: list[Fact] = [an.validated_unsigned, an.requested, an.attempted, an.transmitted]


@dataclass
class Bench:
    """The API of `ack`, and its end of the bus."""

    http: httpx.AsyncClient
    history: PostgresHistory
    documents: DocumentStore
    owner: Database
    dsn: str
    heard: list[UUID] = field(default_factory=list)

    async def flux(self, *facts: Fact, header: dict[str, str] | None = None, number: int = 1) -> UUID:
        """Record a flux that came so far, of another budget if its header says so."""
        first = begun(document(number), collectivite=COMMUNE)
        past = [first]
        for fact in facts:
            told = fact
            if fact is an.validated_unsigned:
                changed = {"header": an.header.model_copy(update=header or {}), "bordereaux": ()}
                told = an.validated_unsigned.model_copy(update={**changed, "nomfic_is_reused": True})
            past.append(first.follow(told, actor="x", at=NOON))
        return (await PostgresHistory(self.owner).append(past, expected_version=0))[-1].flux_id

    async def reply(self, *elements: Element, content: bytes = b"") -> UUID:
        """Have a reply come that belongs to no flux."""
        content = content or write_acquit(PES, "flux.xml", elements or (ACK,))
        kept = await self.documents.put_bytes(content)
        await on_reply(
            Reply(kept, "ACK-1.xml", read_reply(content, "ACK-1.xml")), history=self.history, now=lambda: NOON
        )
        (row, *_) = (await self.get("")).json()["replies"]
        return UUID(row["reply_id"])

    async def get(self, path: str, who: dict[str, str] = OPERATOR) -> httpx.Response:
        return await self.http.get(f"/v1/replies{path}", headers=who)

    async def link(self, reply_id: UUID, flux_id: UUID, who: dict[str, str] = OPERATOR) -> httpx.Response:
        body = {"flux_id": str(flux_id), "reason": REASON}
        return await self.http.post(f"/v1/replies/{reply_id}/link", json=body, headers=who)

    async def dismiss(self, reply_id: UUID, who: dict[str, str] = OPERATOR) -> httpx.Response:
        body = {"reason": "Parti par un autre moyen."}
        return await self.http.post(f"/v1/replies/{reply_id}/dismissal", json=body, headers=who)

    async def hear(self) -> None:
        """Let the service hear of every link so far, over the bus, in the order in which people made them."""
        act = partial(on_linked, history=self.history, documents=self.documents, now=lambda: NOON)
        of_links = "select event_id from journal where kind = $1 order by position"
        wanted = await self.owner.fetch(of_links, kind_of(ReplyLinked))
        order = [row["event_id"] for row in wanted]

        async def on_fact(event: Event, linked: ReplyLinked) -> None:
            before = set(order[: order.index(event.event_id)])
            while not before <= set(self.heard):  # replies are of several shards, which run side by side
                await asyncio.sleep(0.001)
            await act(event, linked)
            self.heard.append(event.event_id)

        await order_all(self.owner)
        async with running(PostgresBus(self.owner, self.dsn), Subscription("ack", {ReplyLinked: on_fact})):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not {row["event_id"] for row in wanted} <= set(self.heard):
                    await asyncio.sleep(0.01)

    async def facts(self, flux_id: UUID) -> list[Event]:
        return await self.history.load(flux_id)

    async def state(self, flux_id: UUID) -> State | None:
        return fold(event.data for event in await self.facts(flux_id)).state


@pytest.fixture
async def bench(test_database: TestDatabase, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Database(test_database.dsn_of("ack")) as database, Database(test_database.dsn()) as owner:
        history = PostgresHistory(database)
        documents = DocumentStore(open_store(f"file://{tmp_path / 'documents'}"))
        app = service_app("ack", "", checks={})
        replies = Replies(history, documents, PostgresReplyRows(database), lambda: NOON)
        app.include_router(routes(replies, caller=caller_dependency(checker())))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://ack") as http:
            yield Bench(http, history, documents, owner, test_database.dsn())


def problem(answer: httpx.Response) -> tuple[int, str]:
    document: dict[str, Any] = answer.json()
    return answer.status_code, str(document["type"]).rpartition(":")[2]


async def test_a_linked_reply_gives_its_flux_the_verdict_of_whoever_answers_for_it(bench: Bench) -> None:
    flux_id, reply_id = await bench.flux(*SENT), await bench.reply()
    answer = await bench.link(reply_id, flux_id)
    assert (answer.status_code, answer.json()["state"], answer.json()["flux_id"]) == (202, "linked", str(flux_id))
    assert await bench.state(flux_id) is State.AWAITING_ACK
    await bench.hear()
    last = (await bench.facts(flux_id))[-1]
    received, _, linked = await bench.facts(reply_id)
    assert isinstance(received.data, ReplyReceived)
    assert last.data == FluxAcknowledged(reply=received.data.document)
    assert (last.actor, last.causation_id) == ("olivia", linked.event_id)
    assert await bench.state(flux_id) is State.ACKNOWLEDGED


async def test_a_rejection_is_linked_with_what_it_says(bench: Bench) -> None:
    flux_id, reply_id = await bench.flux(*SENT), await bench.reply(NACK)
    await bench.link(reply_id, flux_id)
    await bench.hear()
    rejected = (await bench.facts(flux_id))[-1].data
    assert isinstance(rejected, FluxRejected)
    assert [error.code for error in rejected.errors] == ["TS42"]


async def test_the_same_link_again_and_heard_again_changes_nothing(bench: Bench) -> None:
    flux_id, reply_id = await bench.flux(*SENT), await bench.reply()
    for _ in range(2):
        assert (await bench.link(reply_id, flux_id)).status_code == 202
    await bench.hear()
    await bench.owner.execute("delete from consumer_cursor")
    bench.heard.clear()
    await bench.hear()
    assert (await bench.link(reply_id, flux_id)).status_code == 202
    assert len(await bench.facts(reply_id)) == 3
    assert [event.kind for event in await bench.facts(flux_id)].count("flux.acknowledged.v1") == 1


@pytest.mark.parametrize(("name", "value"), [("cod_col", "999"), ("cod_bud", "07"), ("id_post", "075001")])
async def test_no_link_carries_a_verdict_to_another_budget(bench: Bench, name: str, value: str) -> None:
    flux_id, reply_id = await bench.flux(*SENT, header={name: value}), await bench.reply()
    answer = await bench.link(reply_id, flux_id)
    assert problem(answer) == (409, "another-budget")
    assert f"« {value} » dans le flux" in answer.json()["detail"]
    assert "NomFic" not in answer.json()["detail"]
    assert len(await bench.facts(reply_id)) == 2


async def test_a_flux_that_is_answered_or_was_not_sent_takes_no_link(bench: Bench) -> None:
    reply_id = await bench.reply()
    answered = await bench.flux(*SENT, an.reply_received, an.acknowledged)
    draft = await bench.flux(an.validated_unsigned, number=2)
    assert problem(await bench.link(reply_id, answered)) == (409, "already-answered")
    assert problem(await bench.link(reply_id, draft)) == (409, "not-transmitted")
    assert problem(await bench.link(reply_id, new_id())) == (404, "flux-not-found")
    assert problem(await bench.link(new_id(), answered)) == (404, "reply-not-found")
    assert problem(await bench.link(answered, answered)) == (404, "reply-not-found")


async def test_the_first_answer_of_a_flux_stands_even_between_a_link_and_its_effect(bench: Bench) -> None:
    flux_id, reply_id = await bench.flux(*SENT), await bench.reply(NACK)
    await bench.link(reply_id, flux_id)
    past = await bench.facts(flux_id)
    answer = [past[-1].follow(fact, actor="dgfip", at=NOON) for fact in (an.reply_received, an.acknowledged)]
    await bench.history.append(answer, expected_version=len(past))
    await bench.hear()
    assert await bench.state(flux_id) is State.ACKNOWLEDGED
    assert len(await bench.facts(flux_id)) == len(past) + 2
    (row,) = (await bench.get("")).json()["replies"]
    assert (row["reply_id"], row["on_screen"], row["flux_id"]) == (str(reply_id), "Réponse non rattachée", None)


async def test_a_link_that_another_reply_overtook_is_undone_with_the_reason_and_may_be_decided_anew(
    bench: Bench,
) -> None:
    flux_id, other = await bench.flux(*SENT), await bench.flux(*SENT, number=2)
    first, second, third = await bench.reply(ACK), await bench.reply(NACK), await bench.reply(ACK, NACK)
    before = (await bench.get(f"/{second}")).json()["reason"]
    for reply_id in (first, second, third):
        assert (await bench.link(reply_id, flux_id)).status_code == 202
    await bench.hear()
    assert await bench.state(flux_id) is State.ACKNOWLEDGED
    linked, undone = (await bench.facts(second))[-2:]
    assert isinstance(undone.data, ReplyUnlinked)
    assert (undone.data.flux_id, undone.actor, undone.causation_id) == (flux_id, "ack", linked.event_id)
    row = (await bench.get(f"/{second}")).json()
    assert (row["state"], row["flux_id"], row["decided_by"], row["decision"]) == ("waiting", None, "", "")
    assert row["reason"] == f"{before} {undone.data.reason}"
    assert f"flux {flux_id}" in row["reason"]
    assert "« Acquitté »" in row["reason"]
    assert problem(await bench.link(second, flux_id)) == (409, "already-answered")
    assert (await bench.link(second, other)).json()["state"] == "linked"
    assert (await bench.dismiss(third)).json()["state"] == "dismissed"
    await bench.hear()
    assert await bench.state(other) is State.REJECTED


async def test_every_link_heard_again_changes_nothing(bench: Bench) -> None:
    flux_id, other = await bench.flux(*SENT), await bench.flux(*SENT, number=2)
    first, second = await bench.reply(ACK), await bench.reply(NACK)
    await bench.link(first, flux_id)
    await bench.link(second, flux_id)
    await bench.hear()
    await bench.link(second, other)
    streams = (flux_id, other, first, second)
    for _ in range(2):
        await bench.owner.execute("delete from consumer_cursor")
        bench.heard.clear()
        await bench.hear()
        assert [len(await bench.facts(one)) for one in streams] == [6, 6, 3, 5]
    assert await bench.state(other) is State.REJECTED


async def test_a_reply_without_a_verdict_is_linked_to_nothing_and_may_be_dismissed(bench: Bench) -> None:
    flux_id, reply_id = await bench.flux(*SENT), await bench.reply(content=b"<PES_Retour/>")
    answer = await bench.link(reply_id, flux_id)
    assert problem(answer) == (422, "no-verdict")
    assert "PES Retour" in answer.json()["detail"]
    for _ in range(2):
        assert (await bench.dismiss(reply_id)).json()["state"] == "dismissed"
    assert problem(await bench.link(reply_id, flux_id)) == (409, "reply-settled")
    assert len(await bench.facts(reply_id)) == 3


async def test_what_is_decided_of_a_reply_is_not_taken_back(bench: Bench) -> None:
    flux_id, other = await bench.flux(*SENT), await bench.flux(*SENT, number=2)
    reply_id = await bench.reply()
    await bench.link(reply_id, flux_id)
    assert problem(await bench.link(reply_id, other)) == (409, "reply-settled")
    assert problem(await bench.dismiss(reply_id)) == (409, "reply-settled")


async def test_replies_are_listed_by_state_with_what_was_decided_and_page_by_page(bench: Bench) -> None:
    first, second = await bench.reply(ACK), await bench.reply(NACK)
    page = (await bench.get("?limit=1")).json()
    assert ([row["reply_id"] for row in page["replies"]], page["next"]) == ([str(second)], str(second))
    (row,) = (await bench.get(f"?before={page['next']}")).json()["replies"]
    assert (row["reply_id"], row["verdict"], row["state"]) == (str(first), "acknowledged", "waiting")
    assert (row["remote_name"], row["received_at"]) == ("ACK-1.xml", "2026-02-02T12:00:00.000000Z")
    assert row["nomfic"] in row["reason"]
    await bench.dismiss(second)
    (row,) = (await bench.get("?state=dismissed")).json()["replies"]
    assert (row["reply_id"], row["decided_by"], row["decision"]) == (
        str(second),
        "olivia",
        "Parti par un autre moyen.",
    )
    assert row == (await bench.get(f"/{second}")).json()
    assert row["on_screen"] == "Réponse écartée"
    assert problem(await bench.get(f"/{new_id()}")) == (404, "reply-not-found")


async def test_a_reply_that_a_flux_received_is_none_of_them_and_the_list_can_be_made_again(bench: Bench) -> None:
    await bench.flux(*SENT, an.reply_received, an.acknowledged)
    flux_id, reply_id = await bench.flux(*SENT, number=2), await bench.reply()
    await bench.link(reply_id, flux_id)
    overtaken = await bench.reply(NACK)
    await bench.link(overtaken, flux_id)
    await bench.hear()
    before = [(await bench.get(f"?state={state}")).json() for state in ("waiting", "linked", "dismissed")]
    assert [len(one["replies"]) for one in before] == [1, 1, 0]
    await bench.owner.execute("select rebuild_projection('replies')")
    assert [(await bench.get(f"?state={state}")).json() for state in ("waiting", "linked", "dismissed")] == before


async def test_who_reads_everywhere_sees_replies_and_only_operators_decide(bench: Bench) -> None:
    flux_id, reply_id = await bench.flux(*SENT), await bench.reply()
    of_one = bearer(role=Role.OPERATOR)
    for path in ("", f"/{reply_id}"):
        assert (await bench.get(path, AUDITOR)).status_code == 200
        assert (await bench.get(path, of_one)).status_code == 403
        assert (await bench.get(path, {})).status_code == 401
    for who, status in ((AUDITOR, 403), (of_one, 403), ({}, 401)):
        assert (await bench.link(reply_id, flux_id, who)).status_code == status
        assert (await bench.dismiss(reply_id, who)).status_code == status
    assert len(await bench.facts(reply_id)) == 2


async def test_a_link_to_a_flux_that_a_newer_version_wrote_to_has_its_effect_once_it_can_be_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    flux_id, reply_id = await bench.flux(*SENT), await bench.reply()
    with monkeypatch.context() as older:
        older.delitem(BY_KIND, kind_of(FluxTransmitted))
        assert problem(await bench.link(reply_id, flux_id)) == (409, "flux-set-aside")
    assert (await bench.link(reply_id, flux_id)).status_code == 202
    await bench.hear()
    assert await bench.state(flux_id) is State.ACKNOWLEDGED

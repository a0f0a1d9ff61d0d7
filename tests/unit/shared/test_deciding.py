"""What a person asks of one flux: decided on the flux as it is, for those who may see it. The same for every API."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.gateway.send_requests import SendRequests
from services.ingest.importer import Importer
from shared.errors import MalformedMessageError, RequestRefusedError, UnexpectedFactError, VersionConflictError, Why
from shared.facts.envelope import Event, new_id
from shared.facts.fact import Fact
from shared.facts.flux import FluxCancelled, TransmissionReleased, TransmissionRequested
from shared.facts.lifecycles.flux import Flux, State
from shared.facts.streams import EVERY_COLLECTIVITE, UNATTRIBUTED, flux_stream, reply_stream
from shared.retrying import ATTEMPTS_MAX
from shared.web.auth import Caller, Right, Role
from shared.web.deciding import Decide, Decided, decide_on, load_flux
from tests import examples as an
from tests.fakes.memory_documents import MemoryDocuments
from tests.fakes.memory_history import MemoryHistory
from tests.recording import begun

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
AMINA = Caller("amina", {an.collectivite: frozenset({Role.GESTIONNAIRE})})
OPERATOR = Caller("olga", {EVERY_COLLECTIVITE: frozenset({Role.OPERATOR})})
STRANGER = Caller("sam", {"999999999": frozenset({Role.GESTIONNAIRE})})
WAITING = [an.imported_on_request, an.validated_unsigned]
TO_RELEASE = [an.imported, an.validated_unsigned, an.requested, an.attempted, an.held]
CANCELLED = FluxCancelled(reason="erreur de saisie")


@dataclass
class Journal(MemoryHistory):
    """A journal in which something happens to the flux just before an append, each time there is something left."""

    first: list[Fact] = field(default_factory=list)
    conflicts: int = 0

    async def begin(self, facts: Sequence[Fact], collectivite: str = an.collectivite) -> UUID:
        first = begun(
            facts[0],
            stream=reply_stream(new_id()) if collectivite == UNATTRIBUTED else flux_stream(new_id()),
            collectivite=collectivite,
        )
        events = [first, *(first.follow(fact, actor="x", at=NOON) for fact in facts[1:])]
        await super().append(events, expected_version=0)
        return first.flux_id

    async def append(self, events: Sequence[Event], *, expected_version: int) -> list[Event]:
        if self.conflicts:
            self.conflicts -= 1
            raise VersionConflictError(events[0].flux_id, expected_version)
        if self.first:
            other = events[0].follow(self.first.pop(0), actor="x", at=NOON)
            await super().append([other], expected_version=expected_version)
        return await super().append(events, expected_version=expected_version)


@pytest.fixture
def journal() -> Journal:
    return Journal()


def now() -> datetime:
    return NOON


async def cancel(journal: Journal, flux_id: UUID, who: Caller) -> None:
    importer = Importer(history=journal, documents=MemoryDocuments(), now=now, bytes_max=1)
    await importer.cancel(flux_id, CANCELLED.reason, who)


async def send(journal: Journal, flux_id: UUID, who: Caller) -> None:
    await SendRequests(history=journal, now=now).take(flux_id, "", who)


async def to_send(journal: Journal, flux_id: UUID, decide: Decide, who: Caller = AMINA) -> Decided:
    return await decide_on(
        flux_id, decide, who=who, right=Right.SEND, action="envoyer un flux", history=journal, now=now
    )


Ask = Callable[[Journal, UUID, Caller], Awaitable[None]]
asked = pytest.mark.parametrize("ask", [cancel, send])


async def test_what_is_decided_follows_from_the_last_event_and_names_its_author(journal: Journal) -> None:
    flux_id = await journal.begin(WAITING)
    decided = await to_send(journal, flux_id, lambda *_: [CANCELLED])
    before, last = (await journal.load(flux_id))[-2:]
    assert decided.recorded == (last,)
    assert decided.flux.state is State.CANCELLED
    assert (last.data, last.actor, last.causation_id) == (CANCELLED, "amina", before.event_id)


async def test_nothing_is_recorded_when_nothing_is_left_to_do(journal: Journal) -> None:
    flux_id = await journal.begin([*WAITING, CANCELLED])
    decided = await to_send(journal, flux_id, lambda *_: [])
    assert decided.recorded == ()
    assert decided.flux.state is State.CANCELLED
    assert len(journal.log) == 3


async def test_what_is_decided_against_the_table_is_not_recorded_nor_laid_on_a_newer_version(
    journal: Journal,
) -> None:
    flux_id = await journal.begin(WAITING)
    with pytest.raises(UnexpectedFactError) as raised:
        await to_send(journal, flux_id, lambda *_: [CANCELLED, an.requested])
    assert not isinstance(raised.value, MalformedMessageError)
    assert len(journal.log) == len(WAITING)


async def test_after_a_conflict_it_is_decided_on_the_flux_as_it_has_become(journal: Journal) -> None:
    flux_id = await journal.begin(WAITING)
    journal.first = [an.requested, an.attempted]
    seen: list[tuple[Flux, int]] = []

    def decide(flux: Flux, past: Sequence[Event]) -> list[Fact]:
        seen.append((flux, len(past)))
        return [CANCELLED] if flux.may_be_cancelled else []

    decided = await to_send(journal, flux_id, decide)
    assert [(flux.state, count) for flux, count in seen] == [(State.READY, 2), (State.SENDING, 3), (State.SENDING, 4)]
    assert decided.recorded == ()


@asked
async def test_a_flux_that_moves_a_lot_is_followed(ask: Ask, journal: Journal) -> None:
    flux_id = await journal.begin(WAITING)
    journal.conflicts = ATTEMPTS_MAX - 1
    await ask(journal, flux_id, AMINA)
    assert isinstance(journal.log[-1].data, FluxCancelled | TransmissionRequested)


@asked
async def test_a_flux_that_never_stops_moving_is_given_up(ask: Ask, journal: Journal) -> None:
    flux_id = await journal.begin(WAITING)
    journal.conflicts = ATTEMPTS_MAX
    with pytest.raises(VersionConflictError):
        await ask(journal, flux_id, AMINA)
    assert len(journal.log) == len(WAITING)


async def test_a_cancellation_that_comes_second_is_too_late(journal: Journal) -> None:
    flux_id = await journal.begin(WAITING)
    journal.first = [an.requested, an.attempted]
    with pytest.raises(RequestRefusedError) as refused:
        await cancel(journal, flux_id, AMINA)
    assert (refused.value.why, refused.value.slug) == (Why.AS_THINGS_STAND, "too-late")


@asked
async def test_a_reply_that_belongs_to_no_flux_is_not_found(ask: Ask, journal: Journal) -> None:
    stream = await journal.begin([an.reply_received, an.unmatched], UNATTRIBUTED)
    await assert_not_found(ask, journal, stream, OPERATOR)


@asked
async def test_what_does_not_exist_is_not_found(ask: Ask, journal: Journal) -> None:
    await assert_not_found(ask, journal, new_id(), OPERATOR)


@asked
async def test_the_flux_of_another_collectivite_is_not_found(ask: Ask, journal: Journal) -> None:
    await assert_not_found(ask, journal, await journal.begin(WAITING), STRANGER)


@asked
async def test_who_sees_a_flux_without_the_right_to_send_is_told_so(ask: Ask, journal: Journal) -> None:
    flux_id = await journal.begin(WAITING)
    elsewhere = Caller(
        "sam", {"999999999": frozenset({Role.GESTIONNAIRE}), an.collectivite: frozenset({Role.SIGNATAIRE})}
    )
    with pytest.raises(RequestRefusedError) as refused:
        await ask(journal, flux_id, elsewhere)
    assert (refused.value.why, refused.value.slug) == (Why.NOT_ALLOWED, "forbidden")
    assert len(journal.log) == len(WAITING)


async def test_a_reply_that_belongs_to_no_flux_is_no_flux_to_anybody(journal: Journal) -> None:
    stream = await journal.begin([an.reply_received, an.unmatched], UNATTRIBUTED)
    for who in (OPERATOR, AMINA, STRANGER):
        with pytest.raises(RequestRefusedError, match="Aucun flux"):
            await load_flux(stream, who=who, history=journal)


async def assert_not_found(ask: Ask, journal: Journal, flux_id: UUID, who: Caller) -> None:
    before = list(journal.log)
    with pytest.raises(RequestRefusedError) as refused:
        await ask(journal, flux_id, who)
    assert (refused.value.why, refused.value.slug) == (Why.NOT_FOUND, "flux-not-found")
    assert journal.log == before


async def test_what_was_decided_on_what_the_flux_no_longer_is_is_refused(journal: Journal) -> None:
    flux_id = await journal.begin([*TO_RELEASE])
    requests = SendRequests(history=journal, now=lambda: NOON)
    with pytest.raises(RequestRefusedError) as refused:
        await requests.take(flux_id, "La DGFiP n’a rien reçu", AMINA, seen=len(TO_RELEASE) - 1)
    assert (refused.value.slug, refused.value.extra["version"]) == ("flux-changed", len(TO_RELEASE))
    await requests.take(flux_id, "La DGFiP n’a rien reçu", AMINA, seen=len(TO_RELEASE))
    assert isinstance(journal.log[-1].data, TransmissionReleased)

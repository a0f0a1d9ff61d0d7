"""What the command line says: facts in French, durations, sizes, findings, the timeline."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from cli.collectivite import collectivite_of
from cli.showing.findings import fault_lines, finding_lines, place_of, rejection_lines
from cli.showing.timeline import steps_of, time_of, total_of
from cli.waiting import Outlook, path_of
from shared import wording
from shared.facts.envelope import Event
from shared.facts.fact import Fact
from shared.facts.lifecycles.flux import State, states_ahead
from shared.facts.streams import ALL_FACTS
from tests import examples as an
from tests.recording import begun

START = datetime(2026, 7, 14, 8, 0, tzinfo=UTC)
HAPPY_PATH = [
    an.imported,
    an.validated,
    an.signature_requested,
    an.signed,
    an.requested,
    an.attempted,
    an.transmitted,
    an.reply_received,
    an.acknowledged,
]


def events_of(facts: list[Fact]) -> list[Event]:
    first = begun(facts[0], collectivite=an.collectivite, at=START)
    events = [first]
    for number, fact in enumerate(facts[1:], start=1):
        events.append(events[-1].follow(fact, actor="ack", at=START + timedelta(milliseconds=100 * number)))
    return events


def members_of(facts: list[Fact]) -> list[dict[str, object]]:
    return [json.loads(event.to_bytes()) for event in events_of(facts)]


def test_what_is_badly_formed_in_a_request_is_told_with_its_place() -> None:
    assert list(fault_lines({"where": "body.reason", "what": "Cet élément manque."})) == [
        "body.reason : Cet élément manque."
    ]


@pytest.mark.parametrize("fact", [fact for fact in vars(an).values() if isinstance(fact, Fact)], ids=repr)
def test_every_fact_is_told_in_a_sentence(fact: Fact) -> None:
    assert wording.what(fact) != fact.kind


def test_the_examples_leave_no_fact_untold() -> None:
    told = {type(fact) for fact in vars(an).values() if isinstance(fact, Fact)}
    assert told == set(ALL_FACTS)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0474, "47 ms"),
        (1.25, "1,2 s"),
        (59.94, "59,9 s"),
        (61, "1 min 01 s"),
        (3600 * 3 + 60 * 5, "3 h 05 min"),
        (86400 * 2 + 3600, "2 j 1 h"),
    ],
)
def test_a_duration_is_written_with_the_units_that_matter(seconds: float, text: str) -> None:
    assert wording.duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 o"),
        (999, "999 o"),
        (1_023, "1023 o"),
        (13_312, "13 Kio"),
        (1_572_864, "1,5 Mio"),
        (134_217_728, "128 Mio"),
    ],
)
def test_a_size_is_written_in_the_unit_that_suits_it(octets: int, text: str) -> None:
    assert wording.size(octets) == text


def test_the_signatory_is_named_by_the_common_name() -> None:
    signature = an.signature.model_copy(update={"signer": r"CN=Durand\, Maire,O=Commune,C=FR"})
    assert "par Durand, Maire" in wording.what(an.signed.model_copy(update={"signatures": (signature,)}))


def test_a_subject_that_cannot_be_read_is_shown_whole() -> None:
    signature = an.signature.model_copy(update={"signer": "=?="})
    assert "par =?=" in wording.what(an.signed.model_copy(update={"signatures": (signature,)}))


def test_the_timeline_gives_the_time_since_the_previous_step() -> None:
    steps = steps_of(members_of(HAPPY_PATH))
    assert [step.since for step in steps] == [None, *[timedelta(milliseconds=100)] * 8]
    assert total_of(steps) == timedelta(milliseconds=800)
    assert steps[-1].what == "Acquitté par la DGFiP"


def test_what_was_refused_is_what_the_step_was() -> None:
    visa = steps_of(members_of([an.imported, an.validated, an.visa_requested, an.signature_refused]))
    assert visa[-1].what.startswith("Visa refusé (étape 1)")
    approved = steps_of(
        members_of([an.imported, an.validated, an.visa_requested, an.visa_given, an.signature_refused])
    )
    assert approved[-1].what.startswith("Signature refusée (étape 1)")
    assert wording.what(an.signature_refused).startswith("Signature refusée")


def test_who_signed_is_named_beside_what_was_verified() -> None:
    assert wording.what(an.signed) == "Signé par Ordonnateur de démonstration : 1 signature vérifiée"
    assert (
        wording.what(an.bordereaux_signed) == "Signé par Ordonnateur de démonstration (étape 1) : 1 signature apposée"
    )


def test_a_flux_taken_in_part_is_told_as_its_state_is() -> None:
    told = wording.what(an.partially_rejected)
    assert told.startswith(State.PARTIALLY_REJECTED.on_screen)


def test_a_fact_from_a_newer_platform_stays_in_the_timeline() -> None:
    members = members_of([an.imported, an.validated])
    members[1] = {**members[1], "kind": "flux.teleported.v1"}
    assert [step.what for step in steps_of(members)][1] == "flux.teleported.v1"


def test_clocks_that_disagree_never_give_a_negative_duration() -> None:
    members = members_of([an.imported, an.validated])
    members[1]["occurred_at"] = (START - timedelta(seconds=5)).isoformat()
    assert steps_of(members)[1].since == timedelta()


def test_times_are_those_of_paris_in_summer_and_winter() -> None:
    assert time_of("2026-07-14T08:00:00.000000Z") == "14/07/2026 10:00:00"
    assert time_of("2026-01-14T08:00:00.000000Z") == "14/01/2026 09:00:00"


def test_a_path_keeps_each_state_once_in_order() -> None:
    assert path_of(events_of(HAPPY_PATH)).states == (
        State.IMPORTED,
        State.DRAFT,
        State.TO_SIGN,
        State.READY,
        State.SENDING,
        State.AWAITING_ACK,
        State.ACKNOWLEDGED,
    )


@pytest.mark.parametrize(
    ("facts", "wanted", "outlook"),
    [
        (HAPPY_PATH, State.READY, Outlook.REACHED),
        (HAPPY_PATH, State.REJECTED, Outlook.IMPOSSIBLE),
        (HAPPY_PATH[:3], State.ACKNOWLEDGED, Outlook.POSSIBLE),
        ([an.imported, an.invalidated], State.ACKNOWLEDGED, Outlook.IMPOSSIBLE),
        ([an.imported, an.invalidated], State.CANCELLED, Outlook.POSSIBLE),
        ([*HAPPY_PATH[:6], an.reply_received, an.acknowledged], State.AWAITING_ACK, Outlook.REACHED),
    ],
    ids=["passed", "ended otherwise", "ahead", "never", "by hand", "the answer came before the sending was known"],
)
def test_a_wait_knows_what_is_behind_ahead_and_out_of_reach(
    facts: list[Fact], wanted: State, outlook: Outlook
) -> None:
    assert path_of(events_of(facts)).outlook(wanted) is outlook


def test_nothing_is_ahead_of_the_end() -> None:
    assert states_ahead(State.CANCELLED) == frozenset()


@pytest.mark.parametrize(
    ("head", "siren"),
    [
        (b'<IdColl V="21349990800019"/>', "213499908"),
        (b"<pes:IdColl   V='213499908' />", "213499908"),
        (b'<IdColl V="2134"/>', ""),
        (b'<IdCollX V="21349990800019"/>', ""),
        (b"\xff\xfe\x00", ""),
    ],
)
def test_the_collectivite_is_read_in_the_file(head: bytes, siren: str) -> None:
    assert collectivite_of(head) == siren


def test_a_finding_says_what_where_who_and_what_next() -> None:
    finding = {
        "severity": "blocking",
        "message": "Le NomFic est vide.",
        "where": {"bordereau": "100", "line": 12, "column": 3},
        "who": "l’éditeur",
        "next": "Corrigez l’export.",
        "code": "pes.nomfic",
    }
    assert list(finding_lines(finding)) == [
        "Anomalie bloquante : Le NomFic est vide.",
        "  Où : bordereau 100, ligne 12, colonne 3",
        "  Qui peut agir : l’éditeur",
        "  À faire : Corrigez l’export.",
        "  Code : pes.nomfic",
    ]


def test_a_finding_that_is_nowhere_in_particular_says_no_place() -> None:
    assert place_of(None) == ""


def test_a_rejection_gives_the_words_of_dgfip_and_the_place() -> None:
    assert list(rejection_lines({"code": "TS42", "label": "Tiers inconnu", "bordereau": "7", "piece": "3"})) == [
        "Rejet TS42 : Tiers inconnu",
        "  Où : bordereau 7, pièce 3",
    ]

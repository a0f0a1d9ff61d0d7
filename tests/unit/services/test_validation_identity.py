"""What is decided about who a collectivité is, and what a flux that names something else is told."""

from collections.abc import Sequence

import pytest

from pes.judge import Judgement
from pes.vocabulary import Header
from services.validation.decide import names_of, of_known_collectivite
from services.validation.identity import choose_channel, complete, named_by, register, withdraw
from shared.errors import RequestRefusedError
from shared.facts import collectivite
from shared.facts.fact import Fact
from shared.facts.flux import FluxInvalidated, IdentifiersCompleted
from shared.facts.lifecycles.collectivite import Collectivite, fold
from shared.facts.lifecycles.flux import fold as fold_flux
from tests import examples as an

OPEN = fold([an.opened, an.registered])
OTHER = collectivite.Budget(id_post="034990", cod_col="124", cod_bud="00")
VALID = Judgement("valid", (), None, an.header, (an.bordereau,), 1, signature_required=True)
REFUSED = fold_flux([an.imported, FluxInvalidated(findings=(), header=an.header)])
NOT_REGISTERED = ["identifier.not-registered", "identifier.not-registered"]


def looked_at(known: set[collectivite.Identifier], judgement: Judgement = VALID) -> Judgement:
    return of_known_collectivite(judgement, known, collectivite=an.collectivite, flux_id=None)


def test_the_first_identifier_opens_the_collectivite() -> None:
    assert register(Collectivite(), an.collectivite, [an.siret], "Adhésion") == [
        collectivite.CollectiviteOpened(siren=an.collectivite, reason="Adhésion"),
        collectivite.IdentifierRegistered(identifier=an.siret, reason="Adhésion"),
    ]


@pytest.mark.parametrize(
    ("wanted", "new"),
    [([an.budget], []), ([an.budget, an.siret], [an.siret]), ([OTHER, OTHER], [OTHER]), ([], [])],
    ids=["known", "one known", "twice", "nothing"],
)
def test_only_what_is_not_registered_is(
    wanted: Sequence[collectivite.Identifier], new: Sequence[collectivite.Identifier]
) -> None:
    expected = [collectivite.IdentifierRegistered(identifier=one, reason="Adhésion") for one in new]
    assert register(OPEN, an.collectivite, wanted, "Adhésion") == expected


def test_a_siret_of_another_siren_registers_nothing_at_all() -> None:
    with pytest.raises(RequestRefusedError) as refused:
        register(OPEN, an.collectivite, [OTHER, collectivite.Siret(siret="09900001000019")], "Adhésion")
    assert refused.value.slug == "identifier-of-another"


def test_only_what_is_registered_is_withdrawn() -> None:
    asked = withdraw(OPEN, [OTHER, an.budget, an.budget], "Dissous")
    assert asked == [collectivite.IdentifierWithdrawn(identifier=an.budget, reason="Dissous")]
    assert withdraw(Collectivite(), [an.budget], "Dissous") == []


def test_a_channel_is_chosen_once_and_opens_the_collectivite() -> None:
    chosen = collectivite.ChannelChosen(channel="passtrans-ftp", reason="Convention")
    opened = collectivite.CollectiviteOpened(siren=an.collectivite, reason="Convention")
    assert choose_channel(Collectivite(), an.collectivite, "passtrans-ftp", "Convention") == [opened, chosen]
    assert choose_channel(OPEN, an.collectivite, "passtrans-ftp", "Convention") == [chosen]
    assert choose_channel(fold([an.opened, chosen]), an.collectivite, "passtrans-ftp", "Encore") == []


@pytest.mark.parametrize(
    ("past", "codes", "known"),
    [
        ([an.imported], NOT_REGISTERED, {an.siret, an.budget}),
        ([an.imported, an.invalidated], NOT_REGISTERED, {an.siret, an.budget}),
        ([an.imported, an.validated], NOT_REGISTERED, {an.siret, an.budget}),
        ([an.imported, FluxInvalidated(findings=(), header=an.header)], NOT_REGISTERED, {an.budget}),
        ([an.imported, FluxInvalidated(findings=(), header=an.header)], [], {an.siret, an.budget}),
        (
            [an.imported, FluxInvalidated(findings=(), header=an.header)],
            [*NOT_REGISTERED, "pes.empty"],
            {an.siret, an.budget},
        ),
    ],
    ids=["not judged", "unreadable", "valid", "one is missing", "refused for nothing", "other faults"],
)
def test_a_flux_that_would_be_refused_again_is_not_judged_anew(
    past: list[Fact], codes: list[str], known: set[collectivite.Identifier]
) -> None:
    assert complete(fold_flux(past), codes, known, "Adhésion") == []


def test_a_flux_is_judged_anew_once_all_it_names_is_registered() -> None:
    facts = complete(REFUSED, NOT_REGISTERED, {an.siret, an.budget}, "Adhésion")
    assert facts == [IdentifiersCompleted(reason="Adhésion")]


def test_a_flux_whose_names_are_registered_passes_as_it_is() -> None:
    assert named_by(an.header) == (an.siret, an.budget)
    assert looked_at({an.siret, an.budget}) is VALID


@pytest.mark.parametrize(
    ("known", "missing", "place"),
    [({an.budget}, "SIRET 21349990800019", "IdColl"), ({an.siret, OTHER}, "CodCol 123, CodBud 00", "CodCol")],
    ids=["SIRET", "budget"],
)
def test_what_nobody_registered_blocks_and_the_step_that_ends_it_is_told(
    known: set[collectivite.Identifier], missing: str, place: str
) -> None:
    judgement = looked_at(known)
    (finding,) = judgement.findings
    assert (judgement.verdict, finding.severity, finding.where.element) == ("invalid", "blocking", place)
    assert missing in finding.message
    assert missing in finding.next
    assert names_of(judgement, an.collectivite) == []  # a flux that does not pass takes no name


@pytest.mark.parametrize("code", ["pes.siren", "pes.header"])
def test_a_file_that_does_not_say_who_it_is_from_is_told_that_alone(code: str) -> None:
    finding = an.finding.model_copy(update={"code": code})
    header = Header(nomfic="x", typfic="PESALR2", id_post="", id_coll="", cod_col="", cod_bud="")
    refused = Judgement("invalid", (finding,), None, header)
    assert looked_at(set(), refused) is refused

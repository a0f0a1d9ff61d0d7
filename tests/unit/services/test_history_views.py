"""What a flux shows of its signatures."""

from datetime import UTC, datetime
from uuid import UUID

from services.history.views import flux_shown
from shared.facts.fact import Fact
from shared.facts.streams import flux_stream
from shared.journal.history import Recorded
from shared.journal.reading import read_flux
from tests import examples as an
from tests.recording import begun

FLUX = UUID(int=1)
REQUESTED = [an.imported, an.validated, an.visa_requested]


def shown(*facts: Fact) -> dict[str, object]:
    first = begun(
        facts[0],
        stream=flux_stream(FLUX),
        collectivite=an.collectivite,
        correlation_id=FLUX,
        at=datetime(2026, 2, 2, tzinfo=UTC),
    )
    past = [first.model_copy(update={"version": 1})]
    for version, fact in enumerate(facts[1:], start=2):
        past.append(
            past[-1].follow(fact, actor="amina", at=first.occurred_at).model_copy(update={"version": version})
        )
    recorded = [Recorded(one.version, one.kind, one.collectivite, one.to_bytes().decode()) for one in past]
    return flux_shown(FLUX, an.collectivite, read_flux(recorded))


def test_a_refusal_shows_its_reason_until_the_circuit_begins_again() -> None:
    refused = shown(*REQUESTED, an.signature_refused)
    assert (refused["on_screen"], refused["step"]) == ("Visa refusé", "visa")
    assert refused["reason"] == an.signature_refused.reason
    assert "reason" not in shown(*REQUESTED, an.signature_refused, an.signature_restarted)


def test_the_warnings_about_signatures_stand_beside_those_of_the_controls() -> None:
    warning = an.finding.model_copy(update={"severity": "warning", "code": "signature.policy"})
    validated = an.validated.model_copy(update={"warnings": (an.finding,)})
    flux = shown(an.imported, validated, an.signed.model_copy(update={"warnings": (warning,)}))
    findings = flux["findings"]
    assert isinstance(findings, list)
    assert [one["code"] for one in findings] == ["pes.empty", "signature.policy"]
    assert flux["document"] == an.signed_document.model_dump()

"""No document that a fact names is forgotten among those of its flux."""

from datetime import UTC, datetime

import pytest

from services.history.documents import documents_of
from shared.facts.fact import Fact
from shared.facts.flux import FLUX_FACTS, TransmissionAttempted, TransmissionRequested
from shared.facts.values import Document
from tests import examples as an
from tests.recording import begun

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
# They name what is signed or imported, and leaves only with the next fact.
SAID_ALREADY = {TransmissionRequested, TransmissionAttempted}
EXAMPLES = {type(one): one for one in vars(an).values() if isinstance(one, Fact)}


def documents_named_by(fact: type[Fact]) -> list[str]:
    return [name for name, field in fact.model_fields.items() if field.annotation is Document]


NAMING = [fact for fact in FLUX_FACTS if documents_named_by(fact) and fact not in SAID_ALREADY]


@pytest.mark.parametrize("fact", NAMING, ids=lambda fact: fact.__name__)
def test_a_document_that_a_fact_names_is_among_those_of_its_flux(fact: type[Fact]) -> None:
    example = EXAMPLES[fact]
    named = getattr(example, documents_named_by(fact)[0])
    first = begun(an.imported)
    events = [first] if fact is type(an.imported) else [first, first.follow(example, actor="x", at=NOON)]
    assert named in [one.document for one in documents_of(events)]


def test_several_facts_name_documents() -> None:
    assert len(NAMING) > 6

"""Who collectivités are in tests: what their files name is registered, as an administrator would."""

from datetime import UTC, datetime

from pes.sample import SampleSpec
from shared.facts.collectivite import Budget, CollectiviteOpened, Identifier, IdentifierRegistered, Siret
from shared.facts.streams import collectivite_stream
from shared.journal.history import History
from tests.recording import begun

REASON = "Pour les essais"


def named_in(spec: SampleSpec) -> tuple[Identifier, ...]:
    """Return what a sample names its collectivité by."""
    return (
        Siret(siret=spec.siret),
        Budget(id_post=spec.id_post, cod_col=spec.cod_col, cod_bud=spec.cod_bud),
    )


async def open_collectivite(history: History, spec: SampleSpec | None = None) -> None:
    """Open the collectivité of a sample, with what the sample names registered."""
    sample = spec or SampleSpec()
    siren = sample.siret[:9]
    facts = [
        CollectiviteOpened(siren=siren, reason=REASON),
        *(IdentifierRegistered(identifier=one, reason=REASON) for one in named_in(sample)),
    ]
    events = [
        begun(fact, stream=collectivite_stream(siren), collectivite=siren, actor="essais", at=datetime.now(UTC))
        for fact in facts
    ]
    await history.append(events, expected_version=0)

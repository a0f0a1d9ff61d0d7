"""Every fact that can be recorded about a flux, defined once.

A fact is in the past tense, frozen, and its `kind` carries a version. Fields are added, never removed or
re-purposed; a fact that must change gets `…v2`, and v1 stays readable for ever. The same class is validated on
arrival, stored in the journal, published on its topic and used in tests.
"""

from datetime import datetime
from typing import Annotated, Literal, get_args
from uuid import UUID

from pydantic import Field

from pes.vocabulary import Bordereau, Finding, Header, Pack
from shared.facts.fact import Fact
from shared.facts.values import CircuitStep, Document, RefusedBordereau, ReplyError, Signature, Verdict


class FluxImported(Fact):
    """A collectivité handed us a file. Nobody has looked inside yet."""

    kind: Literal["flux.imported.v1"] = "flux.imported.v1"
    document: Document
    filename: str = Field(max_length=255)
    send: Literal["when_ready", "on_request"] = "when_ready"
    idempotency_key: str = ""


class FluxCancelled(Fact):
    """Someone withdrew the flux before any byte of it left. Its file may be imported again."""

    kind: Literal["flux.cancelled.v1"] = "flux.cancelled.v1"
    reason: str


class FluxValidated(Fact):
    """The flux passed every blocking control. `signature_required` says whether it must be signed to leave.

    `report` holds every finding when they are too many for a fact, `synthese` what the flux contains, as JSON.
    `nomfic_is_reused` says that another flux has the same NomFic and CodCol, and that this was let pass.
    """

    kind: Literal["flux.validated.v1"] = "flux.validated.v1"
    header: Header
    bordereaux: tuple[Bordereau, ...]
    attachments: int = Field(ge=0)
    signature_required: bool
    warnings: tuple[Finding, ...] = ()
    pack: Pack | None = None
    report: Document | None = None
    synthese: Document | None = None
    nomfic_is_reused: bool = False


class FluxInvalidated(Fact):
    """At least one blocking finding: the flux stops here. The header is what could be read of it.

    `repeats` are the other flux of its collectivité that hold what it would take.
    """

    kind: Literal["flux.invalidated.v1"] = "flux.invalidated.v1"
    findings: tuple[Finding, ...]
    header: Header | None = None
    pack: Pack | None = None
    report: Document | None = None
    synthese: Document | None = None
    repeats: tuple[UUID, ...] = ()


class DuplicateAccepted(Fact):
    """Someone answers for sending again what another flux holds already, for this reason. It is judged anew.

    `repeats` are the flux that it was refused for, and nothing is accepted of any other. Older versions did not say.
    """

    kind: Literal["flux.duplicate-accepted.v1"] = "flux.duplicate-accepted.v1"
    reason: str
    repeats: tuple[UUID, ...] = ()


class IdentifiersCompleted(Fact):
    """What it was refused for is registered now: by what DGFiP knows the collectivité. It is judged anew."""

    kind: Literal["flux.identifiers-completed.v1"] = "flux.identifiers-completed.v1"
    reason: str


class SignatureRequested(Fact):
    """The flux waits for its signatures. `elements` are the XML Ids to sign, in document order.

    `circuit` is what has to happen, in order; what is set elsewhere afterwards does not change it. The first flux had
    none: whoever may sign signs everything.
    """

    kind: Literal["signature.requested.v1"] = "signature.requested.v1"
    elements: tuple[str, ...]
    circuit: tuple[CircuitStep, ...] = ()


class VisaGiven(Fact):
    """Someone approved the flux at a step of its circuit (the first is 1), maybe in the place of someone absent."""

    kind: Literal["visa.given.v1"] = "visa.given.v1"
    step: int = Field(ge=1)
    on_behalf_of: str = ""
    comment: str = ""


class BordereauxSigned(Fact):
    """Signatures were put in, and hold: `document` has them, beside those it had. Others may still be missing."""

    kind: Literal["bordereaux.signed.v1"] = "bordereaux.signed.v1"
    step: int = Field(ge=1)
    document: Document
    signatures: tuple[Signature, ...]
    on_behalf_of: str = ""


class SignatureRefused(Fact):
    """Someone declined at a step of the circuit, for this reason. The flux goes back to whoever imported it."""

    kind: Literal["signature.refused.v1"] = "signature.refused.v1"
    step: int = Field(ge=1)
    reason: str
    on_behalf_of: str = ""


class SignatureRestarted(Fact):
    """The circuit begins again, as it is set now, on the file as it was imported; for this reason."""

    kind: Literal["signature.restarted.v1"] = "signature.restarted.v1"
    reason: str


class FluxSigned(Fact):
    """Every signature that the flux needs is in `document`, and was verified there."""

    kind: Literal["flux.signed.v1"] = "flux.signed.v1"
    document: Document
    signatures: tuple[Signature, ...]
    warnings: tuple[Finding, ...] = ()


class SignaturesRejected(Fact):
    """The flux cannot be signed as it is, or a signature in it does not hold."""

    kind: Literal["signatures.rejected.v1"] = "signatures.rejected.v1"
    findings: tuple[Finding, ...]


class TransmissionRequested(Fact):
    """The flux may leave: someone asked for it, or it was imported to leave as soon as it is ready."""

    kind: Literal["transmission.requested.v1"] = "transmission.requested.v1"
    document: Document


class TransmissionAttempted(Fact):
    """The first byte is about to leave, under this name. What follows says how it went."""

    kind: Literal["transmission.attempted.v1"] = "transmission.attempted.v1"
    attempt: int = Field(ge=1)
    channel: str
    remote_name: str
    document: Document


class TransmissionFailed(Fact):
    """DGFiP's server refused the file: it does not have it. It will be tried again."""

    kind: Literal["transmission.failed.v1"] = "transmission.failed.v1"
    attempt: int = Field(ge=1)
    cause: str


class TransmissionHeld(Fact):
    """Nothing leaves for now: we cannot tell whether DGFiP has the file (we were cut off), or its server refused it.

    `until` is when the hold ends by itself: after a cut, the lack of any reply is then taken as proof that the file
    did not arrive; after a refusal, it is time to try again. Without it, a person must decide; or, for what
    `waits_for` the channel, the hold ends once the collectivité's is ours.
    """

    kind: Literal["transmission.held.v1"] = "transmission.held.v1"
    attempt: int = Field(ge=1)
    cause: str
    until: datetime | None = None
    waits_for: Literal["", "channel"] = ""


class TransmissionReleased(Fact):
    """The flux may be sent again after a hold, for this reason."""

    kind: Literal["transmission.released.v1"] = "transmission.released.v1"
    reason: str


class FluxTransmitted(Fact):
    """DGFiP's server has the whole file. It has not said yet what it thinks of it."""

    kind: Literal["flux.transmitted.v1"] = "flux.transmitted.v1"
    remote_name: str
    document: Document
    evidence: Literal["upload", "found_on_server"] = "upload"


class ReplyReceived(Fact):
    """A file came from DGFiP; its bytes are kept as they came.

    `is_repeated` says that the same bytes were recorded before, under another name, and that they count once more.
    """

    kind: Literal["reply.received.v1"] = "reply.received.v1"
    document: Document
    remote_name: str
    nomfic: str = ""
    verdict: Verdict | None = None
    is_repeated: bool = False


class FluxAcknowledged(Fact):
    """DGFiP took everything in (every EtatAck is 1). It does not mean paid."""

    kind: Literal["flux.acknowledged.v1"] = "flux.acknowledged.v1"
    reply: Document


class FluxPartiallyRejected(Fact):
    """DGFiP took a part and refused the rest: of the bordereaux, those in `refused`."""

    kind: Literal["flux.partially-rejected.v1"] = "flux.partially-rejected.v1"
    reply: Document
    errors: tuple[ReplyError, ...]
    refused: tuple[RefusedBordereau, ...] = ()


class FluxRejected(Fact):
    """DGFiP refused the whole flux."""

    kind: Literal["flux.rejected.v1"] = "flux.rejected.v1"
    reply: Document
    errors: tuple[ReplyError, ...]


class ReplyUnmatched(Fact):
    """A file from DGFiP that belongs to no flux we know, or to no single one; `reason` explains (French)."""

    kind: Literal["reply.unmatched.v1"] = "reply.unmatched.v1"
    reason: str


FluxFact = Annotated[
    FluxImported
    | FluxCancelled
    | FluxValidated
    | FluxInvalidated
    | DuplicateAccepted
    | IdentifiersCompleted
    | SignatureRequested
    | VisaGiven
    | BordereauxSigned
    | SignatureRefused
    | SignatureRestarted
    | FluxSigned
    | SignaturesRejected
    | TransmissionRequested
    | TransmissionAttempted
    | TransmissionFailed
    | TransmissionHeld
    | TransmissionReleased
    | FluxTransmitted
    | ReplyReceived
    | FluxAcknowledged
    | FluxPartiallyRejected
    | FluxRejected,
    Field(discriminator="kind"),
]

FLUX_FACTS: tuple[type[Fact], ...] = get_args(get_args(FluxFact)[0])

"""Who records facts, and who hears of them: said here alone; the database's grants and the documents follow."""

from collections.abc import Mapping
from typing import Final

from shared.facts.collectivite import (
    ChannelChosen,
    CircuitSet,
    CollectiviteOpened,
    DelegationEnded,
    DelegationGiven,
    IdentifierRegistered,
    IdentifierWithdrawn,
    MandateEnded,
    MandateGranted,
    PolicySet,
    SealChosen,
    SealLeft,
)
from shared.facts.events import (
    BordereauxSigned,
    DuplicateAccepted,
    Fact,
    FluxAcknowledged,
    FluxCancelled,
    FluxImported,
    FluxInvalidated,
    FluxPartiallyRejected,
    FluxRejected,
    FluxSigned,
    FluxTransmitted,
    FluxValidated,
    IdentifiersCompleted,
    ReplyReceived,
    ReplyUnmatched,
    SignatureRefused,
    SignatureRequested,
    SignatureRestarted,
    SignaturesRejected,
    TransmissionAttempted,
    TransmissionFailed,
    TransmissionHeld,
    TransmissionReleased,
    TransmissionRequested,
    VisaGiven,
)
from shared.facts.platform import MessageReleased, PackChanged, PackInstalled
from shared.facts.reply import ReplyDismissed, ReplyLinked

OPERATOR: Final = "operator"  # the command line beside the services, with a login of its own

RECORDED_BY: Final[Mapping[str, tuple[type[Fact], ...]]] = {
    "ingest": (FluxImported, FluxCancelled),
    "validation": (
        FluxValidated,
        FluxInvalidated,
        DuplicateAccepted,
        IdentifiersCompleted,
        CollectiviteOpened,
        IdentifierRegistered,
        IdentifierWithdrawn,
        ChannelChosen,
        PolicySet,
        PackInstalled,
        PackChanged,
    ),
    "signature": (
        SignatureRequested,
        VisaGiven,
        BordereauxSigned,
        SignatureRefused,
        SignatureRestarted,
        FluxSigned,
        SignaturesRejected,
        CollectiviteOpened,
        MandateGranted,
        MandateEnded,
        CircuitSet,
        DelegationGiven,
        DelegationEnded,
        SealChosen,
        SealLeft,
    ),
    "gateway": (
        TransmissionRequested,
        TransmissionAttempted,
        TransmissionFailed,
        TransmissionHeld,
        TransmissionReleased,
        FluxTransmitted,
    ),
    "ack": (
        ReplyReceived,
        FluxAcknowledged,
        FluxPartiallyRejected,
        FluxRejected,
        ReplyUnmatched,
        ReplyLinked,
        ReplyDismissed,
    ),
    OPERATOR: (MessageReleased,),
}

SERVICES_THAT_CONSUME: Final = ("validation", "signature", "gateway", "ack")

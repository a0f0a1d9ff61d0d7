"""Who records facts, and who hears of them: said here alone; the database's grants and the documents follow."""

from collections.abc import Mapping
from typing import Final

from shared.facts import collectivite, flux, platform, reply
from shared.facts.fact import Fact

OPERATOR: Final = "operator"  # the command line beside the services, as the owner of the schema

RECORDED_BY: Final[Mapping[str, tuple[type[Fact], ...]]] = {
    "ingest": (flux.FluxImported, flux.FluxCancelled),
    "validation": (
        flux.FluxValidated,
        flux.FluxInvalidated,
        flux.DuplicateAccepted,
        flux.IdentifiersCompleted,
        collectivite.CollectiviteOpened,
        collectivite.IdentifierRegistered,
        collectivite.IdentifierWithdrawn,
        collectivite.ChannelChosen,
        collectivite.PolicySet,
        platform.PackInstalled,
        platform.PackChanged,
        platform.SettingsApplied,
    ),
    "signature": (
        flux.SignatureRequested,
        flux.VisaGiven,
        flux.BordereauxSigned,
        flux.SignatureRefused,
        flux.SignatureRestarted,
        flux.FluxSigned,
        flux.SignaturesRejected,
        collectivite.CollectiviteOpened,
        collectivite.MandateGranted,
        collectivite.MandateEnded,
        collectivite.CircuitSet,
        collectivite.DelegationGiven,
        collectivite.DelegationEnded,
        collectivite.SealChosen,
        collectivite.SealLeft,
        platform.SettingsApplied,
    ),
    "gateway": (
        flux.TransmissionRequested,
        flux.TransmissionAttempted,
        flux.TransmissionFailed,
        flux.TransmissionHeld,
        flux.TransmissionReleased,
        flux.FluxTransmitted,
        platform.SettingsApplied,
    ),
    "ack": (
        flux.ReplyReceived,
        flux.FluxAcknowledged,
        flux.FluxPartiallyRejected,
        flux.FluxRejected,
        flux.ReplyUnmatched,
        reply.ReplyLinked,
        reply.ReplyUnlinked,
        reply.ReplyDismissed,
        platform.SettingsApplied,
    ),
    OPERATOR: (platform.MessageReleased,),
}

SERVICES_THAT_CONSUME: Final = ("validation", "signature", "gateway", "ack")

"""One good example of each fact, imported as `an`: a test then states only what matters to it."""

from datetime import UTC, date, datetime
from uuid import UUID

from pes.vocabulary import Bordereau, Finding, Header, Pack, Where
from shared.facts import collectivite as collectivites
from shared.facts import flux, platform
from shared.facts import reply as replies
from shared.facts.envelope import Event, new_id
from shared.facts.streams import UNATTRIBUTED, reply_stream
from shared.facts.values import CircuitStep, Document, MandateHeld, ReplyError, Signature
from tests.recording import begun

collectivite = "213499908"
document = Document(sha256="a" * 64, size=1000)
signed_document = Document(sha256="b" * 64, size=1200)
reply = Document(sha256="c" * 64, size=300)
header = Header(
    nomfic="PESALR1_21349990800019123002026_00001",
    typfic="PESALR1",
    id_post="034990",
    id_coll="21349990800019",
    cod_col="123",
    cod_bud="00",
    emitted_on="2026-02-02",
    label="Commune de Brumeval-les-Étangs",
    emitter="Heliotrope",
)
bordereau = Bordereau(domain="depense", exercice="2026", number="100", type="01", pieces=2, element_id="D1")
signature = Signature(
    element_id="D1",
    signer="CN=Ordonnateur de démonstration,O=Commune de Démonstration,C=FR",
    certificate_serial="42",
    signed_at=datetime(2026, 2, 2, 11, 0, tzinfo=UTC),
)
finding = Finding(
    source="control",
    code="pes.empty",
    severity="blocking",
    message="Le flux ne contient rien.",
    where=Where(element="PES_Aller", line=1),
    who="ordonnateur",
    next="Exportez de nouveau.",
)
reply_error = ReplyError(domain="depense", code="TS42", label="Tiers inconnu", bordereau="100", piece="3")
remote_name = "VHPCE11%%THELPES2%%PES#123#034990#00%%" + "d" * 40

imported = flux.FluxImported(document=document, filename="flux.xml")
imported_on_request = flux.FluxImported(document=document, filename="flux.xml", send="on_request")
cancelled = flux.FluxCancelled(reason="Importé par erreur")
validated = flux.FluxValidated(header=header, bordereaux=(bordereau,), attachments=1, signature_required=True)
validated_unsigned = flux.FluxValidated(
    header=header, bordereaux=(bordereau,), attachments=1, signature_required=False
)
validated_again = validated.model_copy(update={"nomfic_is_reused": True, "bordereaux": ()})  # takes no name
invalidated = flux.FluxInvalidated(findings=())
duplicate_accepted = flux.DuplicateAccepted(reason="Le comptable demande un nouvel envoi.")
identifiers_completed = flux.IdentifiersCompleted(reason="Budget ouvert au 1er janvier")
signature_requested = flux.SignatureRequested(elements=("D1",))
mandate = MandateHeld(
    mandate_id=UUID("01938c00-0000-7000-8000-000000000001"),
    person="camille",
    name="Camille Exemple, maire",
    act="Procès-verbal d'élection du 5 avril 2026",
    valid_from=datetime(2026, 4, 5, tzinfo=UTC),
)
visa_step = CircuitStep(kind="visa", any_of=("amina",), name="Visa de la directrice financière")
signing_step = CircuitStep(kind="signature", any_of=("camille",), elements=("D1",))
visa_requested = flux.SignatureRequested(elements=("D1",), circuit=(visa_step, signing_step))
visa_given = flux.VisaGiven(step=1, comment="Vu")
bordereaux_signed = flux.BordereauxSigned(
    step=1, document=signed_document, signatures=(signature.model_copy(update={"mandate": mandate}),)
)
signature_refused = flux.SignatureRefused(step=1, reason="Le mandat 12 n'est pas le bon.")
signature_restarted = flux.SignatureRestarted(reason="Le mandat 12 est corrigé.")
signed = flux.FluxSigned(document=signed_document, signatures=(signature,))
signatures_rejected = flux.SignaturesRejected(findings=())
requested = flux.TransmissionRequested(document=signed_document)
attempted = flux.TransmissionAttempted(
    attempt=1, channel="passtrans-sftp", remote_name=remote_name, document=signed_document
)
failed = flux.TransmissionFailed(attempt=1, cause="no space left")
held = flux.TransmissionHeld(attempt=1, cause="La liaison a été coupée.")
released = flux.TransmissionReleased(reason="La DGFiP n'a pas reçu le fichier.")
transmitted = flux.FluxTransmitted(remote_name=remote_name, document=signed_document)
reply_received = flux.ReplyReceived(
    document=reply, remote_name="034990_260202120000-ACK-1.xml", verdict="acknowledged"
)
acknowledged = flux.FluxAcknowledged(reply=reply)
partially_rejected = flux.FluxPartiallyRejected(reply=reply, errors=(reply_error,))
rejected = flux.FluxRejected(reply=reply, errors=())
unmatched = flux.ReplyUnmatched(reason="Aucun flux transmis n'a ce NomFic.")
linked = replies.ReplyLinked(flux_id=UUID(int=7), reason="Le NomFic a été ressaisi par la trésorerie.")
unlinked = replies.ReplyUnlinked(flux_id=linked.flux_id, reason="Le rattachement est resté sans effet.")
dismissed = replies.ReplyDismissed(reason="Ce flux est parti par un autre moyen.")

opened = collectivites.CollectiviteOpened(
    siren=collectivite, name="Commune de Brumeval-les-Étangs", reason="Adhésion au service"
)
siret = collectivites.Siret(siret="21349990800019")
budget = collectivites.Budget(id_post="034990", cod_col="123", cod_bud="00")
registered = collectivites.IdentifierRegistered(identifier=budget, reason="Formulaire d'adhésion")
withdrawn = collectivites.IdentifierWithdrawn(identifier=budget, reason="Budget dissous")
channel_chosen = collectivites.ChannelChosen(channel="passtrans-sftp", reason="Le seul qui soit homologué")
mandate_granted = collectivites.MandateGranted(
    mandate_id=UUID(int=8),
    person="camille",
    name="Camille Exemple, maire",
    act="Délibération n° 2026-12 du 28 mars 2026",
    valid_from=datetime(2026, 3, 28, 9, 0, tzinfo=UTC),
)
mandate_ended = collectivites.MandateEnded(
    mandate_id=UUID(int=8), ended_at=datetime(2026, 6, 1, 8, 0, tzinfo=UTC), reason="Démission"
)
circuit_set = collectivites.CircuitSet(
    flux_kind="depense",
    steps=(collectivites.StepSet(kind="visa", any_of=("amina",)), collectivites.StepSet(kind="signature")),
    reason="Note",
)
delegation_given = collectivites.DelegationGiven(
    delegation_id=UUID(int=9),
    absent="amina",
    substitute="karim",
    valid_from=datetime(2026, 7, 1, 8, 0, tzinfo=UTC),
    valid_until=datetime(2026, 7, 15, 8, 0, tzinfo=UTC),
    reason="Congés",
)
delegation_ended = collectivites.DelegationEnded(
    delegation_id=UUID(int=9), ended_at=datetime(2026, 7, 10, 8, 0, tzinfo=UTC), reason="Retour anticipé"
)
policy_set = collectivites.PolicySet(code="tiers.siret", severity="warning", reason="Tiers étrangers")
seal_chosen = collectivites.SealChosen(reason="Convention du 2 février 2026")
seal_left = collectivites.SealLeft(reason="Les élus signent")
pack_installed = platform.PackInstalled(
    pack=Pack(pack_id="dgfip-5.12", digest="d" * 64), use="shadow", effective_from=date(2026, 1, 1)
)
pack_changed = platform.PackChanged(
    pack_id="dgfip-5.12", use="active", effective_from=date(2026, 2, 1), reason="Essai concluant"
)
released_message = platform.MessageReleased(
    group="validation", message_id="17", message_kind="flux.imported.v1", reason="Version 0.2 installée"
)
settings_applied = platform.SettingsApplied(service="gateway", settings={"P_DEST": "VHPCE11", "REFUSALS_MAX": "5"})


def reply_of_no_flux(at: datetime) -> list[Event]:
    """Return the events of a reply of DGFiP that belongs to no flux: a stream, and no flux."""
    first = begun(reply_received, stream=reply_stream(new_id()), collectivite=UNATTRIBUTED, actor="dgfip", at=at)
    return [first, first.follow(unmatched, actor="ack", at=at)]

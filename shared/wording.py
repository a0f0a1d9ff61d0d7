"""Says in French what each fact means, who did it, and how long things took. Pure functions."""

import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from pes.text import in_paris
from pes.units import MEBIBYTE
from pes.vocabulary import Bordereau
from shared.facts import collectivite, flux, platform, reply
from shared.facts.fact import Fact
from shared.facts.values import CircuitStep, Signature

_ACTORS = {
    "ingest": "Heliotrope (réception)",
    "validation": "Heliotrope (contrôle)",
    "signature": "Heliotrope (signature)",
    "gateway": "Heliotrope (envoi)",
    "ack": "Heliotrope (réponses)",
    "dgfip": "DGFiP",
}
_FLUX_KINDS = {"*": "tous les flux", "depense": "dépenses", "recette": "recettes", "mixte": "flux mixtes"}
_USES = {"active": "en service", "shadow": "à l’essai", "inactive": "hors service"}
_UNITS = ((1024**3, "Gio"), (MEBIBYTE, "Mio"), (1024, "Kio"))
_ESCAPED = re.compile(r"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)  # RFC 4514, 2.4


def what(fact: Fact, step: CircuitStep | None = None) -> str:
    """Say what a fact means to someone who keeps accounts; its kind, for a fact that this version does not know.

    Args:
        fact: what to tell.
        step: the step of the circuit that the flux was at, when it is known.
    """
    match fact:
        case flux.FluxImported():
            on_request = ", à envoyer sur demande" if fact.send == "on_request" else ""
            return f"Fichier importé : {fact.filename} ({size(fact.document.size)}){on_request}"
        case flux.FluxCancelled():
            return f"Flux annulé : {fact.reason}"
        case flux.FluxValidated():
            return f"Contrôles passés : {_content(fact)}{_warnings(len(fact.warnings))}"
        case flux.FluxInvalidated():
            return f"Contrôles non passés : {count(_blocking(fact), 'anomalie bloquante', 'anomalies bloquantes')}"
        case flux.DuplicateAccepted():
            return f"Doublon accepté : {fact.reason}"
        case flux.IdentifiersCompleted():
            return f"Identifiants enregistrés, le flux est contrôlé de nouveau : {fact.reason}"
        case flux.ReplyReceived():
            return f"Réponse de la DGFiP reçue : {fact.remote_name}"
        case flux.FluxAcknowledged():
            return "Acquitté par la DGFiP"
        case flux.FluxPartiallyRejected():
            return f"Acquitté partiellement par la DGFiP : {count(len(fact.errors), 'rejet', 'rejets')}"
        case flux.FluxRejected():
            return f"Rejeté par la DGFiP : {count(len(fact.errors), 'motif', 'motifs')}"
        case flux.ReplyUnmatched():
            return f"Réponse qui ne correspond à aucun flux : {fact.reason}"
        case _:
            return (
                _about_signature(fact, step)
                or _about_collectivite(fact)
                or _about_mandates(fact)
                or _about_platform(fact)
                or _about_transmission(fact)
            )


def set_aside(kind: str, *, is_known: bool) -> str:
    """Say why a stream is left alone: a fact of this kind, that this version does not know or cannot place."""
    said = "que celle-ci ne peut pas lire à cette place" if is_known else "que celle-ci ne connaît pas"
    return (
        f"Une version plus récente de la plateforme a écrit un fait {said} ({kind}). Rien n’est perdu : tout est "
        "conservé, et la suite se fera d’elle-même dès que cette version sera en service."
    )


def who(actor: str) -> str:
    """Say who did something: a part of the platform, DGFiP, or the account as it is known."""
    return _ACTORS.get(actor, actor)


def duration(time: timedelta) -> str:
    """Write a duration with the two units that matter."""
    seconds = time.total_seconds()
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".", ",")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} j {hours} h"


def size(octets: int) -> str:
    """Write a size in the unit that suits it: as bounds are written, in units of 1024."""
    for unit, name in _UNITS:
        if octets >= unit:
            return f"{octets / unit:.1f} {name}".replace(".", ",").replace(",0 ", " ")
    return f"{octets} o"


def euros(amount: Decimal) -> str:
    """Write an amount of money."""
    return f"{amount:,.2f} €".replace(",", " ").replace(".", ",")


def count(number: int, one: str, several: str) -> str:
    """Write a number of things; French counts 0 and 1 as singular."""
    return f"{number} {several if number > 1 else one}"


def _about_signature(fact: Fact, step: CircuitStep | None) -> str:
    """Say what a fact about signatures means; nothing for another fact."""
    match fact:
        case flux.SignatureRequested():
            steps = f", {count(len(fact.circuit), 'étape', 'étapes')}" if fact.circuit else ""
            return f"Signature demandée : {count(len(fact.elements), 'élément à signer', 'éléments à signer')}{steps}"
        case flux.VisaGiven():
            return f"Visa donné (étape {fact.step}){_for(fact)}{f' : {fact.comment}' if fact.comment else ''}"
        case flux.BordereauxSigned():
            made = count(len(fact.signatures), "signature apposée", "signatures apposées")
            return f"Signé par {_signers(fact.signatures)} (étape {fact.step}){_for(fact)} : {made}"
        case flux.SignatureRefused():
            refused = "Visa refusé" if step and step.kind == "visa" else "Signature refusée"
            return f"{refused} (étape {fact.step}){_for(fact)} : {fact.reason}"
        case flux.SignatureRestarted():
            return f"Circuit de signature relancé : {fact.reason}"
        case flux.SignaturesRejected():
            return f"Signature impossible : {count(len(fact.findings), 'anomalie', 'anomalies')}"
        case flux.FluxSigned() if not fact.signatures:
            return "Prêt à partir : aucune signature n’est nécessaire"
        case flux.FluxSigned():
            verified = count(len(fact.signatures), "signature vérifiée", "signatures vérifiées")
            return f"Signé par {_signers(fact.signatures)} : {verified}{_warnings(len(fact.warnings))}"
        case _:
            return ""


def _about_collectivite(fact: Fact) -> str:
    """Say what a fact about a collectivité means; nothing for another fact."""
    match fact:
        case collectivite.CollectiviteOpened():
            return f"Collectivité ouverte : {fact.name or fact.siren}"
        case collectivite.IdentifierRegistered():
            return f"Identifiant enregistré : {identifier(fact.identifier)}. {fact.reason}"
        case collectivite.IdentifierWithdrawn():
            return f"Identifiant retiré : {identifier(fact.identifier)}. {fact.reason}"
        case collectivite.ChannelChosen():
            return f"Canal d’envoi choisi : {fact.channel}. {fact.reason}"
        case collectivite.PolicySet():
            severities = {"blocking": "bloquant", "warning": "avertissement", None: "gravité par défaut"}
            return f"Contrôle {fact.code} : {severities[fact.severity]}. {fact.reason}"
        case collectivite.SealChosen():
            return f"Cachet de la plateforme choisi : {fact.reason}"
        case collectivite.SealLeft():
            return f"Cachet de la plateforme quitté : {fact.reason}"
        case _:
            return ""


def identifier(known_by: collectivite.Siret | collectivite.Budget) -> str:
    """Write what DGFiP knows a collectivité by."""
    match known_by:
        case collectivite.Siret():
            return f"SIRET {known_by.siret}"
        case collectivite.Budget():
            return f"poste {known_by.id_post}, CodCol {known_by.cod_col}, CodBud {known_by.cod_bud}"


def _about_mandates(fact: Fact) -> str:
    """Say what a fact about mandates, circuits and delegations means; nothing for another fact."""
    match fact:
        case collectivite.MandateGranted():
            return f"Mandat de signature donné à {fact.name} : {fact.act}, à partir du {in_paris(fact.valid_from)}"
        case collectivite.MandateEnded():
            return f"Mandat de signature terminé le {in_paris(fact.ended_at)} : {fact.reason}"
        case collectivite.CircuitSet() if not fact.steps:
            return f"Circuit retiré ({_flux_kind(fact)}) : {fact.reason}"
        case collectivite.CircuitSet():
            steps = ", puis ".join(_step(one) for one in fact.steps)
            return f"Circuit fixé ({_flux_kind(fact)}), {steps} : {fact.reason}"
        case collectivite.DelegationGiven():
            period = f"du {in_paris(fact.valid_from)} au {in_paris(fact.valid_until)}"
            return f"{fact.substitute} supplée {fact.absent} {period} : {fact.reason}"
        case collectivite.DelegationEnded():
            return f"Délégation terminée le {in_paris(fact.ended_at)} : {fact.reason}"
        case _:
            return ""


def _step(step: collectivite.StepSet) -> str:
    kind = {"visa": "visa", "signature": "signature", "seal": "cachet"}[step.kind]
    return f"{kind} de {' ou '.join(step.any_of)}" if step.any_of else kind


def _flux_kind(fact: collectivite.CircuitSet) -> str:
    return _FLUX_KINDS[fact.flux_kind]


def _applies(fact: platform.PackInstalled | platform.PackChanged) -> str:
    until = f", jusqu’au {fact.effective_until}" if fact.effective_until else ""
    return f"({_USES[fact.use]}, dès le {fact.effective_from}{until}){' : ' * bool(fact.reason)}{fact.reason}"


def _about_platform(fact: Fact) -> str:
    """Say what a fact about the platform, or about a reply that belongs to no flux, means; nothing for another."""
    match fact:
        case platform.PackInstalled():
            return f"Pack de schémas installé : {fact.pack.pack_id} {_applies(fact)}"
        case platform.PackChanged():
            return f"Pack de schémas modifié : {fact.pack_id} {_applies(fact)}"
        case platform.MessageReleased():
            return f"Message retenu, rendu à {who(fact.group)} : {fact.reason}"
        case platform.SettingsApplied():
            chosen = ", ".join(f"{name}={value}" for name, value in sorted(fact.settings.items()))
            return f"Réglages de {who(fact.service)} : {chosen}"
        case reply.ReplyLinked():
            return f"Réponse rattachée au flux {fact.flux_id} : {fact.reason}"
        case reply.ReplyUnlinked():
            return f"Réponse de nouveau à régler : {fact.reason}"
        case reply.ReplyDismissed():
            return f"Réponse écartée : {fact.reason}"
        case _:
            return ""


def _for(fact: flux.VisaGiven | flux.BordereauxSigned | flux.SignatureRefused) -> str:
    return f" pour {fact.on_behalf_of}" if fact.on_behalf_of else ""


def _signers(signatures: Sequence[Signature]) -> str:
    return ", ".join(sorted({_person(signature.signer) for signature in signatures}))


def _person(subject: str) -> str:
    """Return the common name in a certificate's subject (RFC 4514, whatever its short names), or all of it."""
    attributes = re.findall(r"(?:\\.|[^\\,+])+", subject, re.DOTALL)
    names = [one.removeprefix("CN=") for one in attributes if one.startswith("CN=")]
    return _ESCAPED.sub(lambda one: chr(int(one[1], 16)) if one[1] else one[2], names[-1]) if names else subject


def _about_transmission(fact: Fact) -> str:
    match fact:
        case flux.TransmissionRequested():
            return "Envoi demandé"
        case flux.TransmissionAttempted():
            return f"Envoi commencé (essai {fact.attempt}) sous le nom {fact.remote_name}"
        case flux.TransmissionFailed():
            return f"Envoi refusé par le serveur de la DGFiP (essai {fact.attempt}) : {fact.cause}"
        case flux.TransmissionHeld():
            return f"Envoi suspendu (essai {fact.attempt}) : {fact.cause}"
        case flux.TransmissionReleased():
            return f"Envoi repris : {fact.reason}"
        case flux.FluxTransmitted():
            found = " (le fichier y a été retrouvé)" if fact.evidence == "found_on_server" else ""
            return f"Déposé sur le serveur de la DGFiP{found}"
        case _:
            return fact.kind


def _content(fact: flux.FluxValidated) -> str:
    parts = [count(len(fact.bordereaux), "bordereau", "bordereaux")]
    parts.append(count(_pieces(fact.bordereaux), "pièce", "pièces"))
    parts.append(f"{fact.attachments} PJ")
    return ", ".join(parts)


def _pieces(bordereaux: Sequence[Bordereau]) -> int:
    return sum(bordereau.pieces for bordereau in bordereaux)


def _warnings(number: int) -> str:
    return f" ({count(number, 'avertissement', 'avertissements')})" if number else ""


def _blocking(fact: flux.FluxInvalidated) -> int:
    return sum(finding.severity == "blocking" for finding in fact.findings)

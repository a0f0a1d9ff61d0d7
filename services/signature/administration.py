"""The HTTP API for those who run a collectivité's signatures: mandates, circuits, delegations."""

from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from pes.text import in_paris
from services.signature.circuits import Circuit, Delegation, Domain, FluxKind, Step, StepKind, fault_of
from services.signature.mandates import Mandate
from services.signature.registries import EVERYONE, Registries
from shared.errors import RequestRefusedError, Why
from shared.facts.envelope import new_id
from shared.web.auth import Caller, Right
from shared.web.texts import Comment, Name, Person, Reason
from signing.certificates import RSA_BITS_MIN, fingerprint, read_der, readable

CERTIFICATE_CHARACTERS_MAX = 20_000
STEPS_MAX = 20
PERSONS_MAX = 50
FIRST_YEAR, LAST_YEAR = 2000, 2199


StepName = Annotated[Comment, Field(max_length=200)]
Siren = Annotated[str, Field(pattern=r"^[0-9]{9}$")]


class NewMandate(BaseModel):
    """A mandate to record; the same `mandate_id` again, with the same content, records nothing more."""

    mandate_id: UUID | None = None
    collectivite: Siren
    person: Person
    name: Name
    act: Reason
    valid_from: datetime
    valid_until: datetime | None = None
    certificate: str = Field(default="", max_length=CERTIFICATE_CHARACTERS_MAX)
    reason: Reason | None = None


class NewDelegation(BaseModel):
    """A delegation to record; the same `delegation_id` again, with the same content, records nothing more."""

    delegation_id: UUID | None = None
    collectivite: Siren
    absent: Person
    substitute: Person
    valid_from: datetime
    valid_until: datetime
    reason: Reason


class End(BaseModel):
    """From when something no longer holds: at once unless told otherwise."""

    at: datetime | None = None
    reason: Reason


class WantedStep(BaseModel):
    """One step of a circuit; see `services.signature.circuits.Step`."""

    kind: StepKind
    any_of: list[Person] = Field(default_factory=list, max_length=PERSONS_MAX)
    domain: Domain = ""
    name: StepName = ""

    def step(self) -> Step:
        """Return it; who is named twice counts once."""
        return Step(self.kind, tuple(dict.fromkeys(self.any_of)), self.domain, self.name)


class CircuitChange(BaseModel):
    """The steps for a kind of flux from now on; none takes back what was set before."""

    flux_kind: FluxKind = "*"
    steps: list[WantedStep] = Field(max_length=STEPS_MAX)
    reason: Reason


@dataclass(frozen=True)
class GivenCertificate:
    """The certificate that a mandate names; all empty when it names none."""

    sha256: str = ""
    until: datetime | None = None
    pem: str = ""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the certificate that a request carries: PEM, or the base64 of its DER. What is kept is written by us.

        Raises:
            RequestRefusedError: it is no certificate, several, or one that cannot sign for Hélios.
        """
        if not text.strip():
            return cls()
        if "PRIVATE KEY" in text:
            raise _bad_certificate(
                "Ce texte contient une clé privée : ne la confiez à personne. Elle n'est pas conservée ; donnez le "
                "certificat seul."
            )
        try:
            found = _certificates_in(text)
            keys = [certificate.public_key() for certificate in found]
        except (ValueError, x509.InvalidVersion) as error:
            raise _bad_certificate(
                "Ce texte n'est pas un certificat lisible : donnez-le au format PEM, ou son DER en base64."
            ) from error
        if len(found) != 1:
            raise _bad_certificate(
                f"Ce texte contient {len(found)} certificats : donnez seulement celui du signataire, sans sa chaîne."
            )
        if not isinstance(keys[0], RSAPublicKey) or keys[0].key_size < RSA_BITS_MIN:
            raise _bad_certificate(
                f"La clé de ce certificat n'est pas une clé RSA d'au moins {RSA_BITS_MIN} bits, seule admise pour "
                "signer ici. Choisissez un autre certificat."
            )
        return cls(
            fingerprint(found[0]),
            found[0].not_valid_after_utc,
            found[0].public_bytes(Encoding.PEM).decode("ascii"),
        )


@dataclass(frozen=True)
class Administration:
    """Records mandates, circuits and delegations, for those who may.

    Attributes:
        registries: where they are kept.
        now: aware.
        seal_collectivites: those that chose to have their flux sealed here; "*" for all.
    """

    registries: Registries
    now: Callable[[], datetime]
    seal_collectivites: frozenset[str]

    async def mandates(self, collectivite: str) -> dict[str, object]:
        """Return the mandates of a collectivité, and which are in force."""
        reasons = await self.registries.mandate_reasons(collectivite)
        listed = await self.registries.mandates(collectivite)
        return {
            "collectivite": collectivite,
            "mandates": [self._shown_mandate(one, reasons.get(one.mandate_id, "")) for one in listed],
        }

    async def record_mandate(self, new: NewMandate, who: Caller) -> dict[str, object]:
        """Record a mandate, once.

        Raises:
            RequestRefusedError: outside the perimeter or for oneself; or its id is taken; or it
                cannot be.
        """
        who.require(Right.ADMINISTER, new.collectivite, "enregistrer un mandat")
        is_operator = who.may(Right.OPERATE, new.collectivite)
        if new.person == who.subject and not is_operator:
            raise RequestRefusedError(
                Why.NOT_ALLOWED,
                "own-mandate",
                "Mandat pour soi-même",
                "Personne n'enregistre son propre mandat : demandez-le à un autre administrateur de la collectivité, "
                "ou à votre hébergeur.",
            )
        if is_operator and new.reason is None:
            raise RequestRefusedError(
                Why.UNUSABLE,
                "reason-required",
                "Motif nécessaire",
                "Vous enregistrez un mandat à la place de la collectivité : dites pourquoi (reason, 3 à 500 "
                "caractères).",
            )
        valid_from = _in_utc("valid_from", new.valid_from)
        valid_until = None if new.valid_until is None else _end_after(valid_from, new.valid_until)
        named = GivenCertificate.read(new.certificate)
        if named.until is not None and named.until <= valid_from:
            raise _bad_certificate(
                f"Ce certificat expire le {in_paris(named.until)}, avant le début du mandat : il ne "
                "servirait jamais. Donnez celui qui le remplace."
            )
        mandate = Mandate(
            new.mandate_id or new_id(),
            new.collectivite,
            new.person,
            new.name,
            new.act,
            valid_from,
            valid_until,
            named.sha256,
            named.until,
            who.subject,
            self.now(),
        )
        reason = new.reason or ""
        if await self.registries.record_mandate(mandate, named.pem, reason):
            return self._shown_mandate(mandate, reason)
        known = await self.registries.mandate(mandate.mandate_id)
        if known is None or _content(known) != _content(mandate):
            raise _id_taken(mandate.mandate_id)
        reasons = await self.registries.mandate_reasons(known.collectivite)
        return self._shown_mandate(known, reasons.get(known.mandate_id, ""))  # asked twice

    async def end_mandate(self, mandate_id: UUID, end: End, who: Caller) -> dict[str, object]:
        """End a mandate early. What was signed before stays signed.

        Raises:
            RequestRefusedError: the caller does not see it, or it ends before that anyway.
        """
        mandate = await self.registries.mandate(mandate_id)
        if mandate is None or not who.may(Right.READ, mandate.collectivite):
            raise _not_found("Aucun mandat", mandate_id)
        who.require(Right.ADMINISTER, mandate.collectivite, "mettre fin à un mandat")
        at = self._end_of(end)
        if mandate.ended_at is None or at < mandate.ended_at:
            _check_end(at, mandate.valid_until)
            await self.registries.end_mandate(mandate_id, at, end.reason, who.subject)
        ended = await self.registries.mandate(mandate_id)
        reasons = await self.registries.mandate_reasons(mandate.collectivite)
        return self._shown_mandate(ended or mandate, reasons.get(mandate_id, ""))

    async def circuits(self, collectivite: str) -> dict[str, object]:
        """Return the circuits that apply to a collectivité, and every change that led there."""
        return {
            "collectivite": collectivite,
            "circuits": [asdict(one) for one in await self.registries.circuits(collectivite)],
            "changes": [asdict(one) for one in await self.registries.circuit_changes(collectivite)],
        }

    async def set_circuit(self, collectivite: str, change: CircuitChange, who: Caller) -> dict[str, object]:
        """Set the circuit of a collectivité for a kind of flux. A flux that is under way keeps its own.

        Raises:
            RequestRefusedError: these steps make no circuit.
        """
        steps = tuple(wanted.step() for wanted in change.steps)
        has_seal = bool({collectivite, EVERYONE} & self.seal_collectivites)
        fault = fault_of(steps, has_seal=has_seal) if steps else ""
        if fault:
            raise RequestRefusedError(
                Why.UNUSABLE, "circuit-invalid", "Circuit impossible", f"{fault} Rien n'est changé."
            )
        circuit = Circuit(collectivite, change.flux_kind, steps, change.reason, who.subject, self.now())
        await self.registries.set_circuit(circuit)
        return asdict(circuit)

    async def delegations(self, collectivite: str) -> dict[str, object]:
        """Return the delegations of a collectivité, and which are in force."""
        listed = await self.registries.delegations(collectivite)
        return {"collectivite": collectivite, "delegations": [self._shown_delegation(one) for one in listed]}

    async def record_delegation(self, new: NewDelegation, who: Caller) -> dict[str, object]:
        """Record a delegation, once.

        Raises:
            RequestRefusedError: outside the perimeter or in place of another; or its id is taken; or
                it cannot be.
        """
        who.require(Right.DELEGATE, new.collectivite, "enregistrer une délégation")
        _require_own(who, new.absent, new.collectivite)
        if new.absent == new.substitute:
            raise RequestRefusedError(
                Why.UNUSABLE,
                "delegation-to-oneself",
                "Suppléant identique",
                "La personne absente et son suppléant sont la même personne : désignez quelqu'un d'autre.",
            )
        if who.subject == new.substitute:
            raise RequestRefusedError(
                Why.NOT_ALLOWED,
                "own-delegation",
                "Délégation à soi-même",
                "Personne ne se donne les étapes d'un autre : la personne absente, ou un autre administrateur, "
                "vous les délègue.",
            )
        valid_from = _in_utc("valid_from", new.valid_from)
        delegation = Delegation(
            new.delegation_id or new_id(),
            new.collectivite,
            new.absent,
            new.substitute,
            valid_from,
            _end_after(valid_from, new.valid_until),
            new.reason,
            who.subject,
            self.now(),
        )
        if await self.registries.record_delegation(delegation):
            return self._shown_delegation(delegation)
        known = await self.registries.delegation(delegation.delegation_id)
        if known is None or _content(known) != _content(delegation):
            raise _id_taken(delegation.delegation_id)
        return self._shown_delegation(known)  # asked twice

    async def end_delegation(self, delegation_id: UUID, end: End, who: Caller) -> dict[str, object]:
        """End a delegation early.

        Raises:
            RequestRefusedError: the caller does not see it, it is another's, or it ends before
                that anyway.
        """
        delegation = await self.registries.delegation(delegation_id)
        if delegation is None or not who.may(Right.READ, delegation.collectivite):
            raise _not_found("Aucune délégation", delegation_id)
        who.require(Right.DELEGATE, delegation.collectivite, "mettre fin à une délégation")
        _require_own(who, delegation.absent, delegation.collectivite)
        at = self._end_of(end)
        if delegation.ended_at is None or at < delegation.ended_at:
            _check_end(at, delegation.valid_until)
            await self.registries.end_delegation(delegation_id, at, end.reason, who.subject)
        return self._shown_delegation(await self.registries.delegation(delegation_id) or delegation)

    def _end_of(self, end: End) -> datetime:
        return self.now() if end.at is None else _in_utc("at", end.at)

    def _shown_mandate(self, mandate: Mandate, reason: str) -> dict[str, object]:
        return {
            **asdict(mandate),
            "reason": reason,
            "ends_at": mandate.last,
            "is_in_force": mandate.holds(self.now()),
        }

    def _shown_delegation(self, delegation: Delegation) -> dict[str, object]:
        ends_at = min(delegation.valid_until, delegation.ended_at or delegation.valid_until)
        return {**asdict(delegation), "ends_at": ends_at, "is_in_force": delegation.holds(self.now())}


def administration_routes(administration: Administration, *, caller: Callable[..., Awaitable[Caller]]) -> APIRouter:
    """Return the routes for mandates, circuits and delegations."""
    router = APIRouter(prefix="/v1", tags=["administration"])
    _add_mandates(router, administration, caller)
    _add_circuits(router, administration, caller)
    _add_delegations(router, administration, caller)
    return router


def _add_mandates(
    router: APIRouter, administration: Administration, caller: Callable[..., Awaitable[Caller]]
) -> None:
    @router.get("/mandates", summary="Lister les mandats de signature d'une collectivité")
    async def list_mandates(who: Annotated[Caller, Depends(caller)], collectivite: str = "") -> dict[str, object]:
        return await administration.mandates(_chosen(who, collectivite, Right.READ, "consulter les mandats"))

    @router.post("/mandates", status_code=201, summary="Enregistrer un mandat de signature")
    async def record_mandate(new: NewMandate, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await administration.record_mandate(new, who)

    @router.post("/mandates/{mandate_id}/end", summary="Mettre fin à un mandat de signature")
    async def end_mandate(mandate_id: UUID, end: End, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await administration.end_mandate(mandate_id, end, who)


def _add_circuits(
    router: APIRouter, administration: Administration, caller: Callable[..., Awaitable[Caller]]
) -> None:
    @router.get("/circuits", summary="Lister les circuits d'une collectivité")
    async def list_circuits(who: Annotated[Caller, Depends(caller)], collectivite: str = "") -> dict[str, object]:
        action = "consulter les circuits"
        if collectivite == EVERYONE:
            who.require_somewhere(Right.READ, action)
            return await administration.circuits(EVERYONE)
        return await administration.circuits(_chosen(who, collectivite, Right.READ, action))

    @router.put("/circuits", summary="Changer le circuit d'une sorte de flux")
    async def set_circuit(
        change: CircuitChange, who: Annotated[Caller, Depends(caller)], collectivite: str = ""
    ) -> dict[str, object]:
        if collectivite == EVERYONE:
            who.require(Right.OPERATE, EVERYONE, "changer un circuit pour toutes les collectivités")
            return await administration.set_circuit(EVERYONE, change, who)
        chosen = _chosen(who, collectivite, Right.ADMINISTER, "changer un circuit")
        return await administration.set_circuit(chosen, change, who)


def _add_delegations(
    router: APIRouter, administration: Administration, caller: Callable[..., Awaitable[Caller]]
) -> None:
    @router.get("/delegations", summary="Lister les délégations d'une collectivité")
    async def list_delegations(who: Annotated[Caller, Depends(caller)], collectivite: str = "") -> dict[str, object]:
        return await administration.delegations(_chosen(who, collectivite, Right.READ, "consulter les délégations"))

    @router.post("/delegations", status_code=201, summary="Enregistrer une délégation")
    async def record_delegation(new: NewDelegation, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await administration.record_delegation(new, who)

    @router.post("/delegations/{delegation_id}/end", summary="Mettre fin à une délégation")
    async def end_delegation(
        delegation_id: UUID, end: End, who: Annotated[Caller, Depends(caller)]
    ) -> dict[str, object]:
        return await administration.end_delegation(delegation_id, end, who)


def _chosen(who: Caller, asked: str, right: Right, action: str) -> str:
    """Return the collectivité that a request is about, in which the caller has the right it takes."""
    who.require_somewhere(right, action)
    perimeter = who.perimeter(right)
    is_siren = len(asked) == 9 and asked.isascii() and asked.isdigit()
    if not is_siren and (asked or perimeter is None or len(perimeter) != 1):
        raise RequestRefusedError(
            Why.BADLY_FORMED,
            "collectivite-invalid" if asked else "collectivite-required",
            "Collectivité mal désignée" if asked else "Collectivité non précisée",
            "Indiquez de quelle collectivité il s'agit : ?collectivite= suivi de son SIREN à 9 chiffres.",
        )
    return who.choose(asked, right, action)


def _require_own(who: Caller, absent: str, collectivite: str) -> None:
    """Return when the caller is the absent person, or administers the collectivité."""
    if not who.may(Right.ADMINISTER, collectivite) and who.subject != absent:
        raise RequestRefusedError(
            Why.NOT_ALLOWED,
            "not-your-delegation",
            "Délégation d'une autre personne",
            "Vous pouvez déléguer vos propres étapes, pas celles d'une autre personne : demandez-le-lui, ou à "
            "l'administrateur de la collectivité.",
        )


def _in_utc(name: str, moment: datetime) -> datetime:
    if moment.tzinfo is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise RequestRefusedError(
            Why.UNUSABLE,
            "moment-invalid",
            "Instant mal écrit",
            f"« {name} » : donnez un instant avec son fuseau, entre {FIRST_YEAR} et {LAST_YEAR}, par exemple "
            "2026-03-28T09:00:00+01:00.",
        )
    return moment.astimezone(UTC)


def _end_after(valid_from: datetime, until: datetime) -> datetime:
    """Return the end of what begins at an instant."""
    valid_until = _in_utc("valid_until", until)
    if valid_until <= valid_from:
        raise RequestRefusedError(
            Why.UNUSABLE,
            "period-invalid",
            "Période impossible",
            f"La fin ({in_paris(valid_until)}) ne vient pas après le début ({in_paris(valid_from)}, en "
            "temps universel). Corrigez l'une ou l'autre.",
        )
    return valid_until


def _check_end(at: datetime, valid_until: datetime | None) -> None:
    if valid_until is not None and at >= valid_until:
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "ends-before",
            "Fin déjà prévue",
            f"La fin est déjà prévue le {in_paris(valid_until)} : une fin plus tardive n'y change rien.",
        )


def _content(recorded: Mandate | Delegation) -> Mandate | Delegation:
    """Return what its author said of it, without who recorded it, when, and how it ended."""
    if isinstance(recorded, Mandate):
        return replace(recorded, recorded_by="", recorded_at=None, ended_at=None, ended_because="")
    return replace(recorded, recorded_by="", recorded_at=None, ended_at=None)


def _certificates_in(text: str) -> list[x509.Certificate]:
    if "-----BEGIN" in text:
        return [readable(one) for one in x509.load_pem_x509_certificates(text.encode())]
    return [read_der(b64decode("".join(text.split()), validate=True))]


def _bad_certificate(detail: str) -> RequestRefusedError:
    return RequestRefusedError(
        Why.UNUSABLE, "certificate-invalid", "Certificat refusé", f"{detail} Rien n'est enregistré."
    )


def _id_taken(taken: UUID) -> RequestRefusedError:
    detail = (
        f"{taken} désigne déjà autre chose, et ce qui est enregistré ne change jamais. Donnez un autre identifiant."
    )
    return RequestRefusedError(Why.AS_THINGS_STAND, "id-taken", "Identifiant déjà pris", detail)


def _not_found(none: str, sought: UUID) -> RequestRefusedError:
    """Return the refusal of what does not exist, or that the caller may not see: nobody can tell which."""
    detail = f"{none} {sought} n'est visible avec votre compte. Vérifiez son identifiant et votre collectivité."
    return RequestRefusedError(Why.NOT_FOUND, "registry-entry-not-found", "Introuvable", detail)

"""The HTTP API of `signature`: to sign and approve, one flux or hundreds at a time; and who may, by which steps."""

from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, Field

from pes.units import MEBIBYTE
from services.signature.administration import Administration
from services.signature.expiry import Expiry
from services.signature.parapheur import Parapheur, Signer
from services.signature.requests import (
    CERTIFICATE_CHARACTERS_MAX,
    CircuitChange,
    NewDelegation,
    NewEnd,
    NewMandate,
    SealChange,
)
from shared.errors import RequestRefusedError, Why
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.facts.values import is_siren
from shared.web.auth import Caller, Right
from shared.web.bodies import read_json
from shared.web.downloads import as_a_file
from shared.web.routing import BoundedRoute
from shared.web.texts import Comment, Reason
from signing.certificates import read_der
from signing.xades import Stated

FLUX_MAX = 500
ELEMENTS_MAX = 1000
BODY_BYTES_MAX = 64 * MEBIBYTE
VALUE_CHARACTERS_MAX = 2_000

Item = dict[str, object]
WhoDependency = Callable[..., Awaitable[Caller]]
FluxIds = Annotated[list[UUID], Field(min_length=1, max_length=FLUX_MAX)]


class SignedBy(BaseModel):
    """With which certificate (base64 of its DER), and what the signatory states."""

    certificate: str = Field(max_length=CERTIFICATE_CHARACTERS_MAX)
    role: str = Field(default="Ordonnateur", min_length=1, max_length=200)
    city: str = Field(min_length=1, max_length=200)
    postal_code: str = Field(min_length=1, max_length=20)

    def signer(self) -> Signer:
        """Return it read.

        Raises:
            RequestRefusedError: it is no certificate.
        """
        try:
            certificate = read_der(b64decode(self.certificate, validate=True))
        except ValueError as error:
            raise RequestRefusedError(
                Why.UNUSABLE,
                "certificate-invalid",
                "Certificat illisible",
                "Le certificat se donne en base64 de son DER. Rien n’est préparé.",
            ) from error
        return Signer(certificate, Stated(self.role, self.city, self.postal_code))


class Preparation(SignedBy):
    """What to prepare."""

    flux: FluxIds


class Value(BaseModel):
    """What the key made for one element, in base64."""

    element_id: str = Field(max_length=1000)
    value: str = Field(max_length=VALUE_CHARACTERS_MAX)


class SignedFlux(BaseModel):
    """The values of one flux."""

    flux_id: UUID
    values: list[Value] = Field(min_length=1, max_length=ELEMENTS_MAX)


class Completion(SignedBy):
    """What comes back from the signatory; `signing_time` as `prepare` gave it."""

    signing_time: AwareDatetime
    items: list[SignedFlux] = Field(min_length=1, max_length=FLUX_MAX)

    def values(self) -> dict[UUID, dict[str, bytes]]:
        """Return the values by flux and by element.

        Raises:
            RequestRefusedError: one is not base64, or two are for the same element.
        """
        named = [(item.flux_id, one.element_id) for item in self.items for one in item.values]
        if len({item.flux_id for item in self.items}) < len(self.items) or len(set(named)) < len(named):
            raise RequestRefusedError(
                Why.UNUSABLE,
                "value-repeated",
                "Valeur en double",
                "Un flux, ou un de ses éléments, est donné deux fois : on ne saurait laquelle des valeurs retenir.",
            )
        try:
            return {
                item.flux_id: {one.element_id: b64decode(one.value, validate=True) for one in item.values}
                for item in self.items
            }
        except ValueError as error:
            raise RequestRefusedError(
                Why.UNUSABLE, "value-invalid", "Valeur illisible", "Une valeur de signature n’est pas du base64."
            ) from error


class Visa(BaseModel):
    """Which flux are approved; `step` says at which step, where somebody may take two in a row."""

    flux: FluxIds
    comment: Comment = ""
    step: int | None = Field(default=None, ge=1)


class Decline(BaseModel):
    """Which flux are declined, and why."""

    flux: FluxIds
    reason: Reason


class Restart(BaseModel):
    """Why a circuit begins again."""

    reason: Reason


def signature_routes(parapheur: Parapheur, expiry: Expiry, *, caller: WhoDependency) -> APIRouter:
    """Return the routes of those who sign and approve."""
    router = APIRouter(prefix="/v1", tags=["signature"], route_class=BoundedRoute)
    _add_signatures(router, parapheur, caller)
    _add_flux(router, parapheur, caller)

    @router.get("/certificates", summary="Lister les certificats connus, et quand ils expirent")
    async def certificates(who: Annotated[Caller, Depends(caller)]) -> Item:
        who.require_somewhere(Right.READ, "consulter les certificats")
        return {"certificates": [one.shown() for one in await expiry.known(who)]}

    return router


def _add_signatures(router: APIRouter, parapheur: Parapheur, caller: WhoDependency) -> None:
    @router.get("/signatures/pending", summary="Lister les flux que j’ai à viser ou à signer")
    async def pending(who: Annotated[Caller, Depends(caller)]) -> Item:
        return await parapheur.pending(who)

    @router.post("/signatures/prepare", summary="Préparer des signatures : ce que la clé doit signer")
    async def prepare(request: Request, who: Annotated[Caller, Depends(caller)]) -> Item:
        asked = await read_json(request, Preparation, BODY_BYTES_MAX)
        return await parapheur.prepare(asked.flux, asked.signer(), who)

    @router.post("/signatures/complete", summary="Rendre les valeurs de signature")
    async def complete(request: Request, who: Annotated[Caller, Depends(caller)]) -> Item:
        given = await read_json(request, Completion, BODY_BYTES_MAX)
        return await parapheur.complete(given.values(), given.signer(), given.signing_time, who)

    @router.post("/signatures/visa", summary="Viser des flux")
    async def visa(request: Request, who: Annotated[Caller, Depends(caller)]) -> Item:
        given = await read_json(request, Visa, BODY_BYTES_MAX)
        return await parapheur.give_visa(given.flux, given.comment, who, step=given.step)

    @router.post("/signatures/refuse", summary="Refuser des flux, avec un motif")
    async def refuse(request: Request, who: Annotated[Caller, Depends(caller)]) -> Item:
        decline = await read_json(request, Decline, BODY_BYTES_MAX)
        return await parapheur.refuse(decline.flux, decline.reason, who)


def _add_flux(router: APIRouter, parapheur: Parapheur, caller: WhoDependency) -> None:
    @router.get("/flux/{flux_id}/circuit", summary="Lire le circuit d’un flux")
    async def circuit(flux_id: UUID, who: Annotated[Caller, Depends(caller)]) -> Item:
        return await parapheur.circuit(flux_id, who)

    @router.get("/flux/{flux_id}/document", summary="Lire le fichier d’un flux, tel qu’il est en vigueur")
    async def document(flux_id: UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
        return as_a_file(await parapheur.document(flux_id, who), name=f"{flux_id}.xml")

    @router.post("/flux/{flux_id}/circuit/restart", status_code=202, summary="Relancer le circuit d’un flux")
    async def restart(flux_id: UUID, request: Request, who: Annotated[Caller, Depends(caller)]) -> Item:
        asked = await read_json(request, Restart, BODY_BYTES_MAX)
        return await parapheur.restart(flux_id, asked.reason, who)


def administration_routes(administration: Administration, *, caller: WhoDependency) -> APIRouter:
    """Return the routes for mandates, circuits, delegations and the seal."""
    router = APIRouter(prefix="/v1", tags=["administration"], route_class=BoundedRoute)
    _add_mandates(router, administration, caller)
    _add_delegations(router, administration, caller)
    _add_circuits(router, administration, caller)
    _add_seal(router, administration, caller)
    return router


def _add_mandates(router: APIRouter, administration: Administration, caller: WhoDependency) -> None:
    @router.get("/mandates", summary="Lister les mandats de signature d’une collectivité")
    async def list_mandates(who: Annotated[Caller, Depends(caller)], collectivite: str = "") -> Item:
        return await administration.mandates(_chosen(who, collectivite, Right.READ, "consulter les mandats"))

    @router.post("/mandates", status_code=201, summary="Enregistrer un mandat de signature")
    async def record_mandate(new: NewMandate, who: Annotated[Caller, Depends(caller)]) -> Item:
        return await administration.record_mandate(new, who)

    @router.post("/mandates/{mandate_id}/end", summary="Mettre fin à un mandat de signature")
    async def end_mandate(mandate_id: UUID, end: NewEnd, who: Annotated[Caller, Depends(caller)]) -> Item:
        return await administration.end_mandate(mandate_id, end, who)


def _add_delegations(router: APIRouter, administration: Administration, caller: WhoDependency) -> None:
    @router.get("/delegations", summary="Lister les délégations d’une collectivité")
    async def list_delegations(who: Annotated[Caller, Depends(caller)], collectivite: str = "") -> Item:
        return await administration.delegations(_chosen(who, collectivite, Right.READ, "consulter les délégations"))

    @router.post("/delegations", status_code=201, summary="Enregistrer une délégation")
    async def record_delegation(new: NewDelegation, who: Annotated[Caller, Depends(caller)]) -> Item:
        return await administration.record_delegation(new, who)

    @router.post("/delegations/{delegation_id}/end", summary="Mettre fin à une délégation")
    async def end_delegation(delegation_id: UUID, end: NewEnd, who: Annotated[Caller, Depends(caller)]) -> Item:
        return await administration.end_delegation(delegation_id, end, who)


def _add_circuits(router: APIRouter, administration: Administration, caller: WhoDependency) -> None:
    @router.get("/circuits", summary="Lister les circuits d’une collectivité")
    async def list_circuits(who: Annotated[Caller, Depends(caller)], collectivite: str = "") -> Item:
        return await administration.circuits(_one_or_all(who, collectivite, Right.READ, "consulter les circuits"))

    @router.put("/circuits", summary="Changer le circuit d’une sorte de flux")
    async def set_circuit(
        change: CircuitChange, who: Annotated[Caller, Depends(caller)], collectivite: str = ""
    ) -> Item:
        chosen = _one_or_all(who, collectivite, Right.ADMINISTER, "changer un circuit")
        return await administration.set_circuit(chosen, change, who)


def _add_seal(router: APIRouter, administration: Administration, caller: WhoDependency) -> None:
    @router.get("/seal", summary="Dire si le cachet de la plateforme signe pour une collectivité")
    async def show_seal(who: Annotated[Caller, Depends(caller)], collectivite: str = "") -> Item:
        return await administration.seal(_one_or_all(who, collectivite, Right.READ, "consulter le choix du cachet"))

    @router.put("/seal", summary="Choisir le cachet de la plateforme, ou y renoncer")
    async def choose_seal(
        change: SealChange, who: Annotated[Caller, Depends(caller)], collectivite: str = ""
    ) -> Item:
        chosen = _one_or_all(who, collectivite, Right.ADMINISTER, "choisir le cachet")
        return await administration.choose_seal(chosen, change, who)


def _one_or_all(who: Caller, asked: str, right: Right, action: str) -> str:
    """As `_chosen`, or `*`: what is set for all is read by everyone, and changed by who operates the platform."""
    if asked != EVERY_COLLECTIVITE:
        return _chosen(who, asked, right, action)
    if right is Right.READ:
        who.require_somewhere(right, action)
    else:
        who.require(Right.OPERATE, EVERY_COLLECTIVITE, f"{action} pour toutes les collectivités")
    return EVERY_COLLECTIVITE


def _chosen(who: Caller, asked: str, right: Right, action: str) -> str:
    """Return the collectivité that a request is about, in which the caller has the right it takes."""
    who.require_somewhere(right, action)
    perimeter = who.perimeter(right)
    if not is_siren(asked) and (asked or perimeter is None or len(perimeter) != 1):
        raise RequestRefusedError(
            Why.BADLY_FORMED,
            "collectivite-invalid" if asked else "collectivite-required",
            "Collectivité mal désignée" if asked else "Collectivité non précisée",
            "Indiquez de quelle collectivité il s’agit : ?collectivite= suivi de son SIREN à 9 chiffres.",
        )
    return who.choose(asked, right, action)

"""The HTTP API of `signature` for those who sign and approve, one flux or hundreds at a time."""

from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, Field

from pes.units import MEBIBYTE
from services.signature.expiry import Expiry
from services.signature.parapheur import Parapheur, Signer
from shared.errors import RequestRefusedError, Why
from shared.web.auth import Caller, Right
from shared.web.bodies import read_json
from shared.web.problems import NO_STORE
from shared.web.texts import Comment, Reason
from signing.certificates import read_der
from signing.xades import Stated

# A browser must never run or guess what a flux holds.
AS_A_FILE = {
    **NO_STORE,
    "Content-Disposition": 'attachment; filename="flux.xml"',
    "X-Content-Type-Options": "nosniff",
}
FLUX_MAX = 500
ELEMENTS_MAX = 1000
BODY_BYTES_MAX = 64 * MEBIBYTE
VALUE_CHARACTERS_MAX = 2_000
CERTIFICATE_CHARACTERS_MAX = 20_000

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
    """Which flux are approved."""

    flux: FluxIds
    comment: Comment = ""


class Decline(BaseModel):
    """Which flux are declined, and why."""

    flux: FluxIds
    reason: Reason


class Restart(BaseModel):
    """Why a circuit begins again."""

    reason: Reason


def signature_routes(parapheur: Parapheur, expiry: Expiry, *, caller: WhoDependency) -> APIRouter:
    """Return the routes of those who sign and approve."""
    router = APIRouter(prefix="/v1", tags=["signature"])
    _add_signatures(router, parapheur, caller)
    _add_flux(router, parapheur, caller)

    @router.get("/certificates", summary="Lister les certificats connus, et quand ils expirent")
    async def certificates(who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        who.require_somewhere(Right.READ, "consulter les certificats")
        return {"certificates": [one.shown() for one in await expiry.known(who)]}

    return router


def _add_signatures(router: APIRouter, parapheur: Parapheur, caller: WhoDependency) -> None:
    @router.get("/signatures/pending", summary="Lister les flux que j’ai à viser ou à signer")
    async def pending(who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await parapheur.pending(who)

    @router.post("/signatures/prepare", summary="Préparer des signatures : ce que la clé doit signer")
    async def prepare(request: Request, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        asked = await read_json(request, Preparation, BODY_BYTES_MAX)
        return await parapheur.prepare(asked.flux, asked.signer(), who)

    @router.post("/signatures/complete", summary="Rendre les valeurs de signature")
    async def complete(request: Request, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        given = await read_json(request, Completion, BODY_BYTES_MAX)
        return await parapheur.complete(given.values(), given.signer(), given.signing_time, who)

    @router.post("/signatures/visa", summary="Viser des flux")
    async def visa(request: Request, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        given = await read_json(request, Visa, BODY_BYTES_MAX)
        return await parapheur.give_visa(given.flux, given.comment, who)

    @router.post("/signatures/refuse", summary="Refuser des flux, avec un motif")
    async def refuse(request: Request, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        decline = await read_json(request, Decline, BODY_BYTES_MAX)
        return await parapheur.refuse(decline.flux, decline.reason, who)


def _add_flux(router: APIRouter, parapheur: Parapheur, caller: WhoDependency) -> None:
    @router.get("/flux/{flux_id}/circuit", summary="Lire le circuit d’un flux")
    async def circuit(flux_id: UUID, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        return await parapheur.circuit(flux_id, who)

    @router.get("/flux/{flux_id}/document", summary="Lire le fichier d’un flux, tel qu’il est en vigueur")
    async def document(flux_id: UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
        return Response(
            await parapheur.document(flux_id, who), headers=AS_A_FILE, media_type="application/octet-stream"
        )

    @router.post("/flux/{flux_id}/circuit/restart", status_code=202, summary="Relancer le circuit d’un flux")
    async def restart(flux_id: UUID, request: Request, who: Annotated[Caller, Depends(caller)]) -> dict[str, object]:
        asked = await read_json(request, Restart, BODY_BYTES_MAX)
        return await parapheur.restart(flux_id, asked.reason, who)

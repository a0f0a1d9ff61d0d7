"""How a flux is shown: pure functions from its facts to what the API answers."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from itertools import takewhile
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from pes.text import printable
from pes.vocabulary import Finding
from shared.errors import RequestRefusedError, Why
from shared.facts import flux as of_flux
from shared.facts.envelope import format_time
from shared.facts.lifecycles.flux import SET_ASIDE_ON_SCREEN, State, fold, on_screen
from shared.facts.values import StepKind
from shared.journal.reading import FluxRead
from shared.web.problems import problem_members


class Row(BaseModel):
    """One line of the list of flux. `sha256` and `size` are those of the file as imported, for ever.

    `step` is the kind of step that the flux waits at, or was refused at; empty when it is at none.
    """

    model_config = ConfigDict(frozen=True)

    flux_id: UUID
    collectivite: str
    state: State
    version: int
    is_held: bool
    is_set_aside: bool = False
    step: StepKind | Literal[""] = ""
    filename: str
    nomfic: str
    cod_col: str
    cod_bud: str
    sha256: str
    size: int
    imported_at: datetime
    updated_at: datetime

    def shown(self) -> dict[str, object]:
        """Return the line as the API answers it."""
        shown = on_screen(self.state, self.step, is_held=self.is_held)
        members = self.model_dump(mode="json")
        return members | {
            "on_screen": SET_ASIDE_ON_SCREEN if self.is_set_aside else shown,
            "imported_at": format_time(self.imported_at),
            "updated_at": format_time(self.updated_at),
        }


def row_of(read: FluxRead) -> Row | None:
    """Return the line of one flux; None for a stream that is not a flux, or of which nothing can be read.

    Texts are made fit for the list: facts are for ever, and one of them may hold what no table takes.
    """
    past, flux = read.past, read.flux
    if flux.imported is None or flux.state is None:
        return None
    header = flux.header
    return Row(
        flux_id=past[0].flux_id,
        collectivite=past[0].collectivite,
        state=flux.state,
        version=read.version,
        is_set_aside=read.set_aside is not None,
        is_held=flux.held is not None,
        step=flux.stopped_at,
        filename=printable(flux.imported.filename),
        nomfic=printable(header.nomfic) if header else "",
        cod_col=printable(header.cod_col) if header else "",
        cod_bud=printable(header.cod_bud) if header else "",
        sha256=flux.imported.document.sha256,
        size=flux.imported.document.size,
        imported_at=past[0].occurred_at,
        updated_at=past[-1].occurred_at,
    )


def until(read: FluxRead, moment: datetime) -> FluxRead:
    """Return a flux as it was at a moment: after the facts before the first that came later."""
    kept = list(takewhile(lambda event: event.occurred_at <= moment, read.past))
    if len(kept) == len(read.past):
        return read
    return FluxRead(kept, fold(event.data for event in kept), len(kept))


def flux_shown(flux_id: UUID, collectivite: str, read: FluxRead) -> dict[str, object]:
    """Return everything the API says of one flux, as far as it can be read."""
    flux, row = read.flux, row_of(read)
    members: dict[str, object] = {"flux_id": str(flux_id), "collectivite": collectivite, "version": read.version}
    if row is not None:
        members |= row.shown() | {"correlation_id": str(read.past[0].correlation_id)}
        members |= _details(event.data for event in read.past)
    if read.set_aside is not None:
        members |= {"on_screen": SET_ASIDE_ON_SCREEN, "is_set_aside": True, "set_aside": asdict(read.set_aside)}
    if flux.document is not None:
        members["document"] = flux.document.model_dump(mode="json")
    if flux.held is not None:
        members["held"] = flux.held.model_dump(mode="json", exclude={"kind"})
    if flux.state is State.INVALID:
        members["problem"] = _problem(members)
    return members


def _details(facts: Iterable[object]) -> dict[str, object]:
    """Return what the facts tell beyond the list: the last word on each subject stands."""
    details: dict[str, object] = {}
    for fact in facts:
        match fact:
            case of_flux.FluxImported():
                details |= {"send": fact.send}
            case of_flux.FluxValidated():
                shown = fact.model_dump(mode="json", include={"header", "bordereaux", "attachments"})
                details |= shown | {
                    "findings": _findings(fact.warnings),
                    "pack": fact.pack and fact.pack.model_dump(),
                }
            case of_flux.FluxInvalidated():
                details |= {"findings": _findings(fact.findings), "pack": fact.pack and fact.pack.model_dump()}
            case of_flux.SignaturesRejected():
                details |= {"findings": _findings(fact.findings)}
            case of_flux.FluxSigned():
                warnings = _findings(fact.warnings)
                findings = [one for one in _listed(details.get("findings")) if one not in warnings]
                details |= {"signatures": fact.model_dump(mode="json")["signatures"], "findings": findings + warnings}
            case of_flux.SignatureRestarted():
                details.pop("reason", None)
            case of_flux.TransmissionAttempted() | of_flux.FluxTransmitted():
                details |= {"remote_name": fact.remote_name}
            case of_flux.FluxRejected() | of_flux.FluxPartiallyRejected():
                details |= {"errors": fact.model_dump(mode="json")["errors"]}
            case of_flux.FluxCancelled() | of_flux.SignatureRefused():
                details |= {"reason": fact.reason}
            case _:
                pass
    return details


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _findings(findings: Iterable[Finding]) -> list[dict[str, object]]:
    return [finding.model_dump(mode="json") for finding in findings]


def _problem(members: dict[str, object]) -> dict[str, object]:
    """Say why a flux is in error, as a problem document (RFC 9457)."""
    findings = members.get("findings")
    blocking = [one for one in findings if one["severity"] == "blocking"] if isinstance(findings, list) else []
    detail = " ".join(f"{one['message']} {one['next']}" for one in blocking)
    return problem_members(
        RequestRefusedError(Why.UNUSABLE, "flux-invalid", "Flux en erreur", detail, extra={"findings": blocking})
    )

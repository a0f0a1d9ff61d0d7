"""How a flux is shown: pure functions from its facts to what the API answers."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from pes.text import printable
from pes.vocabulary import Finding
from shared.errors import RequestRefusedError, Why
from shared.facts.envelope import Event, format_time
from shared.facts.events import (
    FluxCancelled,
    FluxImported,
    FluxInvalidated,
    FluxPartiallyRejected,
    FluxRejected,
    FluxSigned,
    FluxTransmitted,
    FluxValidated,
    SignatureRefused,
    SignatureRestarted,
    SignaturesRejected,
    TransmissionAttempted,
)
from shared.facts.lifecycle import HELD_ON_SCREEN, ON_SCREEN, State, fold
from shared.facts.streams import StreamKind
from shared.web.problems import problem_members


class Row(BaseModel):
    """One line of the list of flux. `sha256` and `size` are those of the file as imported, for ever."""

    model_config = ConfigDict(frozen=True)

    flux_id: UUID
    collectivite: str
    state: State
    version: int
    is_held: bool
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
        members = self.model_dump(mode="json")
        return members | {
            "on_screen": HELD_ON_SCREEN if self.is_held else ON_SCREEN[self.state],
            "imported_at": format_time(self.imported_at),
            "updated_at": format_time(self.updated_at),
        }


def row_of(past: Sequence[Event]) -> Row | None:
    """Return the line of one flux; None for a stream that is not a flux.

    Texts are made fit for the list: facts are for ever, and one of them may hold what no table takes.
    """
    if past[0].stream.kind is not StreamKind.FLUX:
        return None
    flux = fold(event.data for event in past)
    if flux.imported is None or flux.state is None:
        return None
    header = flux.header
    return Row(
        flux_id=past[0].flux_id,
        collectivite=past[0].collectivite,
        state=flux.state,
        version=flux.version,
        is_held=flux.held is not None,
        filename=printable(flux.imported.filename),
        nomfic=printable(header.nomfic) if header else "",
        cod_col=printable(header.cod_col) if header else "",
        cod_bud=printable(header.cod_bud) if header else "",
        sha256=flux.imported.document.sha256,
        size=flux.imported.document.size,
        imported_at=past[0].occurred_at,
        updated_at=past[-1].occurred_at,
    )


def until(past: Sequence[Event], moment: datetime) -> list[Event]:
    """Return the events that had occurred at a moment: all those before the first that came later."""
    kept: list[Event] = []
    for event in past:
        if event.occurred_at > moment:
            break
        kept.append(event)
    return kept


def flux_shown(past: Sequence[Event]) -> dict[str, object]:
    """Return everything the API says of one flux."""
    flux = fold(event.data for event in past)
    row = row_of(past)
    members: dict[str, object] = row.shown() if row else {}
    members |= {"on_screen": flux.on_screen, "correlation_id": str(past[0].correlation_id)}
    members |= _details(event.data for event in past)
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
            case FluxImported():
                details |= {"send": fact.send}
            case FluxValidated():
                shown = fact.model_dump(mode="json", include={"header", "bordereaux", "attachments"})
                details |= shown | {
                    "findings": _findings(fact.warnings),
                    "pack": fact.pack and fact.pack.model_dump(),
                }
            case FluxInvalidated():
                details |= {"findings": _findings(fact.findings), "pack": fact.pack and fact.pack.model_dump()}
            case SignaturesRejected():
                details |= {"findings": _findings(fact.findings)}
            case FluxSigned():
                warnings = _findings(fact.warnings)
                findings = [one for one in _listed(details.get("findings")) if one not in warnings]
                details |= {"signatures": fact.model_dump(mode="json")["signatures"], "findings": findings + warnings}
            case SignatureRestarted():
                details.pop("reason", None)
            case TransmissionAttempted() | FluxTransmitted():
                details |= {"remote_name": fact.remote_name}
            case FluxRejected() | FluxPartiallyRejected():
                details |= {"errors": fact.model_dump(mode="json")["errors"]}
            case FluxCancelled() | SignatureRefused():
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

"""What administrators and operators send to `validation`: read and checked."""

from datetime import date
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from shared.facts.collectivite import Identifier
from shared.facts.platform import PackUse
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.facts.values import SirenOrAll
from shared.web.texts import Reason

IDENTIFIERS_MAX = 500


class PackChange(BaseModel):
    """When and how a pack applies from now on."""

    use: PackUse | None = None
    effective_from: date | None = None
    effective_until: date | None = None
    reason: Reason

    @model_validator(mode="before")
    @classmethod
    def _was_called_role(cls, given: object) -> object:
        """Take `role`, as `use` was called in 0.1: ignoring it would put a pack on trial in service."""
        if isinstance(given, dict) and "role" in given:
            return {"use": given["role"], **given}
        return given

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.effective_from and self.effective_until and self.effective_until <= self.effective_from:
            raise ValueError("effective_until doit venir après effective_from.")
        return self


class ControlChange(BaseModel):
    """How serious a control is from now on; `default` takes back what was said before."""

    collectivite: SirenOrAll = EVERY_COLLECTIVITE
    severity: Literal["blocking", "warning", "default"]
    reason: Reason


class Registration(BaseModel):
    """What to register, and why: these identifiers, or those that a flux names."""

    identifiers: tuple[Identifier, ...] = Field(default=(), max_length=IDENTIFIERS_MAX)
    flux_id: UUID | None = None
    reason: Reason

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if bool(self.identifiers) == (self.flux_id is not None):
            raise ValueError("Donnez identifiers, ou flux_id : l’un des deux.")
        return self


class Withdrawal(BaseModel):
    """What to withdraw, and why."""

    identifiers: tuple[Identifier, ...] = Field(min_length=1, max_length=IDENTIFIERS_MAX)
    reason: Reason


class ChannelChoice(BaseModel):
    """The channel that the flux leave by, as the gateway names it, and why."""

    channel: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")
    reason: Reason

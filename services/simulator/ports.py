"""What `simulator` keeps, in its own words."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.simulator.decide import ReplyKind


class Scenario(BaseModel):
    """How what comes next is answered."""

    model_config = ConfigDict(frozen=True)

    reply: ReplyKind = "ack"
    delay_seconds: float = Field(default=0.0, ge=0, le=86_400)


class Receipt(BaseModel):
    """The proof that one complete file was received, once. `reception` is its identity: names may come again."""

    model_config = ConfigDict(frozen=True)

    reception: UUID
    name: str
    sha256: str
    size: int
    received_at: datetime


@dataclass(frozen=True)
class Reception:
    """A complete file that was taken out of /entree; its id (a uuid7) says when."""

    reception: UUID
    name: str


class Registry(Protocol):
    """Where received files and receipts are kept; everything survives kill -9."""

    def waiting(self) -> list[Reception]:
        """Return the files taken that have not been answered, oldest first."""

    def content(self, reception: Reception) -> bytes:
        """Return the bytes of a file taken."""

    def add_receipt(self, receipt: Receipt) -> None:
        """Keep a receipt; a second one of the same reception changes nothing."""

    def receipts(self) -> list[Receipt]:
        """Return every receipt, oldest first."""

    def reply(self, name: str, document: bytes) -> None:
        """Put an answer into /sortie: whole or not at all, under a name that never shows it half written."""

    def forget(self, reception: Reception) -> None:
        """Say that a file is done with."""

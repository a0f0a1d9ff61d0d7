"""What `simulator` does with a file that it has received: a receipt first, then the answer.

Theory of operation. A file is *received* at the instant its client closes it: it is renamed out of /entree into a
work folder of its own, and that rename is the commit. Everything after it can be done again without counting
twice, because it goes by the identity of that folder: after kill -9, what lies there is taken up at the next start.
"""

import asyncio
import hashlib
import logging
import os
import re
from datetime import UTC, datetime

from services.simulator.decide import Answer, answer
from services.simulator.ports import Receipt, Reception, Registry, Scenario

logger = logging.getLogger(__name__)

AT_ONCE = 4  # a parsed file may take a few times its size in memory
_CODIQUE = re.compile(r"[0-9AB]{6,7}")


class Guichet:
    """Receives files and answers them."""

    def __init__(self, registry: Registry) -> None:
        """Keep what comes in `registry`; the scenario is "ack, at once" until it is set."""
        self.scenario = Scenario()
        self._registry = registry
        self._taken: asyncio.Queue[Reception] = asyncio.Queue()
        self._room = asyncio.Semaphore(AT_ONCE)

    def take(self, reception: Reception) -> None:
        """Have a file answered that has just been received."""
        self._taken.put_nowait(reception)

    async def run(self) -> None:
        """Answer for ever, beginning with what an earlier process left."""
        async with asyncio.TaskGroup() as group:
            for reception in self._registry.waiting():
                self.take(reception)
            while True:
                group.create_task(self._treat(await self._taken.get(), self.scenario))

    async def _treat(self, reception: Reception, scenario: Scenario) -> None:
        async with self._room:
            answered = await asyncio.to_thread(self._receive, reception, scenario)
        if scenario.delay_seconds:
            await asyncio.sleep(scenario.delay_seconds)
        await asyncio.to_thread(self._answer, reception, answered)
        logger.info("simulator.answered", extra={"reply": scenario.reply, "is_answered": answered is not None})

    def _receive(self, reception: Reception, scenario: Scenario) -> Answer | None:
        document = self._registry.content(reception)
        self._registry.add_receipt(
            Receipt(
                reception=reception.reception,
                name=os.fsencode(reception.name).decode("utf-8", "replace"),
                sha256=hashlib.sha256(document).hexdigest(),
                size=len(document),
                received_at=_received_at(reception),
            )
        )
        return answer(document, reception.name, scenario.reply, str(reception.reception))

    def _answer(self, reception: Reception, answered: Answer | None) -> None:
        if answered is not None:
            self._registry.reply(reply_name(reception, answered), answered.document)
        self._registry.forget(reception)


def reply_name(reception: Reception, answered: Answer) -> str:
    """Return the name of an answer, as DGFiP forms them (helios.md 3.3); the same for the same reception."""
    codique = answered.codique if _CODIQUE.fullmatch(answered.codique) else "000000"
    stamp = _received_at(reception).strftime("%y%m%d%H%M%S")
    verdict = "" if answered.is_ok else "_KO"
    return f"{codique}_{stamp}-ACK-{reception.reception.hex[-12:].upper()}{verdict}.xml"


def _received_at(reception: Reception) -> datetime:
    milliseconds = reception.reception.int >> 80  # a uuid7 begins with its time
    return datetime.fromtimestamp(milliseconds / 1000, UTC)

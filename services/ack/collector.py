"""Collects replies from DGFiP's server, for ever (helios.md 6.5).

One pass lists the reply directory, and for each file that has stopped growing: downloads it into the document store,
reads it, records it, and only then moves it aside. A crash anywhere in between loses nothing: the file is still
there at the next pass, and a reply that was recorded already is recognised by its bytes (see `decide`).

An error on one file does not stop the pass; a party that does not answer does, and the pass is tried again later.

A reply that may be the answer to a flux which this version cannot read (a newer one has written to it) stays where it
is, and is looked at again at each pass, by whichever version runs then. The others go on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import NoReturn

from services.ack.acquit import read_reply
from services.ack.decide import SET_ASIDE, Reply, printable
from services.ack.handler import on_reply
from services.ack.ports import Documents, FileChangedError, FileRefusedError, RemoteFile, ReplyServer
from shared import metrics
from shared.errors import TooLargeError, UnavailableError
from shared.facts.values import Document
from shared.journal.history import History
from shared.retrying import TRIES_BEFORE_NEWS, delay_after, for_ever, until_no_conflict

logger = logging.getLogger(__name__)


@dataclass
class Collector:
    """Collects from `server`; recorded files go to `done_directory`, or stay where they are if it is empty.

    `wait` lets so many seconds pass.
    """

    server: ReplyServer
    documents: Documents
    history: History
    now: Callable[[], datetime] = field(kw_only=True)
    done_directory: str = field(kw_only=True)
    poll_seconds: float = field(kw_only=True)
    settle_seconds: float = field(kw_only=True)
    bytes_max: int = field(kw_only=True)
    wait: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, kw_only=True)
    _seen: frozenset[RemoteFile] = field(default=frozenset(), init=False)  # in the last listing
    # The digest of those still there although they are recorded.
    _recorded: dict[RemoteFile, str] = field(default_factory=dict, init=False)
    # Those that wait until a flux can be read.
    _set_aside: dict[RemoteFile, Document] = field(default_factory=dict, init=False)
    _away: str = field(default="", init=False)
    _tries: int = field(default=0, init=False)

    def waits_for(self) -> list[str]:
        """Return the outside party that keeps replies from being collected, for `/readyz`."""
        return [self._away] if self._tries >= TRIES_BEFORE_NEWS else []

    async def run(self) -> NoReturn:
        """Collect for ever."""
        await for_ever(self._pass, outage="collection.interrupted", pause=delay_after, wait=self.wait)

    async def _pass(self) -> None:
        try:
            is_growing = await self.collect()
        except UnavailableError as error:
            self._seen = frozenset()  # a file must be the same in two listings that follow one another
            self._away = error.party
            self._tries += 1
            raise
        self._tries = 0
        await self.wait(min(self.settle_seconds, self.poll_seconds) if is_growing else self.poll_seconds)

    async def collect(self) -> bool:
        """Make one pass.

        Returns:
            Whether something new was listed, which another listing is needed to take.

        Raises:
            UnavailableError: a party does not answer; whatever was not recorded is still there.
        """
        files = frozenset(await self.server.listing())
        before, self._seen = self._seen, files
        self._recorded = {file: sha256 for file, sha256 in self._recorded.items() if file in files}
        self._set_aside = {file: document for file, document in self._set_aside.items() if file in files}
        metrics.LAST_COLLECTION.set(self.now().timestamp())
        for file in sorted(files & before):
            if self._may_be_taken(file):
                await self._take(file)
        metrics.REPLIES_SET_ASIDE.set(len(self._set_aside))
        new = files - before
        for file in new:
            self._say_if_it_cannot_be_taken(file)
        return any(self._may_be_taken(file) for file in new)

    def _may_be_taken(self, file: RemoteFile) -> bool:
        return 0 < file.size <= self.bytes_max and not (file in self._recorded and not self.done_directory)

    async def _take(self, file: RemoteFile) -> None:
        """Record a file, then move it; whatever goes wrong with this one, the others follow."""
        try:
            if file not in self._recorded and not await self._record(file):
                return
            if self.done_directory:
                await self.server.move(file, self.done_directory, self._recorded[file])
        except (FileRefusedError, FileChangedError, TooLargeError) as error:
            self._leave("growing" if isinstance(error, FileChangedError) else "failed", file, str(error))

    async def _record(self, file: RemoteFile) -> bool:
        """Keep, read and record a file; say whether it is recorded, or must stay where it is."""
        document = self._set_aside.get(file) or await self._keep(file)
        content = await self.documents.read(document.sha256)
        # lxml lets other tasks run while it parses; the thread keeps the event loop free.
        reading = await asyncio.to_thread(read_reply, content, file.name)
        reply = Reply(document=document, remote_name=file.name, reading=reading)
        decision = await until_no_conflict(partial(on_reply, reply, history=self.history, now=self.now))
        outcome = decision.outcome
        if outcome == SET_ASIDE:
            if file not in self._set_aside:
                self._leave(outcome, file, "a newer version has written to the flux that it may answer")
            self._set_aside[file] = document
            return False
        self._set_aside.pop(file, None)
        self._recorded[file] = document.sha256
        metrics.REPLIES.labels(outcome).inc()
        self._log(outcome, file, document)
        return True

    async def _keep(self, file: RemoteFile) -> Document:
        async with aclosing(self.server.read(file)) as chunks:
            return await self.documents.put(chunks, bytes_max=self.bytes_max)

    def _log(self, outcome: str, file: RemoteFile, document: Document) -> None:
        fields = {"outcome": outcome, "remote_name": printable(file.name), "sha256": document.sha256}
        logger.info("reply.collected", extra=fields)

    def _say_if_it_cannot_be_taken(self, file: RemoteFile) -> None:
        """Say once, when it is first seen, that a file stays where it is."""
        if not file.size:
            self._leave("empty", file, "it has no content")
        elif file.size > self.bytes_max:
            self._leave("too_large", file, f"it has {file.size} bytes, more than {self.bytes_max}")

    def _leave(self, outcome: str, file: RemoteFile, reason: str) -> None:
        metrics.REPLIES.labels(outcome).inc()
        fields = {"outcome": outcome, "remote_name": printable(file.name), "reason": reason}
        logger.warning("reply.left", extra=fields)

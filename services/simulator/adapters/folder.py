"""The folder of the simulator. Implements `services.simulator.ports.Registry`.

    sftp/entree   what clients write        work/<uuid7>/<name>   received, not answered yet
    sftp/sortie   answers to collect        receipts.jsonl        one line for each file received
    sftp/traite   answers collected         host_key, host_key.pub, known_hosts

It survives kill -9 at any instant, not the loss of the disk's cache: it is not made for production.
"""

import hashlib
import re
import shutil
import threading
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from pes.units import MEBIBYTE
from services.simulator.ports import Receipt, Reception
from shared.facts.envelope import new_id
from shared.runtime.files import write_whole

ENTRY = "entree"
REPLIES = "sortie"
COLLECTED = "traite"
_DIGEST = re.compile(r"%%([0-9a-f]{40})$")
_BLOCK_BYTES = MEBIBYTE


class Folder:
    """See the module."""

    def __init__(self, root: Path) -> None:
        """Make the folder what it must be, and read the receipts."""
        self.sftp = root / "sftp"
        self._work = root / "work"
        self._receipts_file = root / "receipts.jsonl"
        for folder in (self.sftp / ENTRY, self.sftp / REPLIES, self.sftp / COLLECTED, self._work):
            folder.mkdir(parents=True, exist_ok=True)
        self._receipts = {receipt.reception: receipt for receipt in _read_receipts(self._receipts_file)}
        self._writing = threading.Lock()

    def take(self, name: str) -> Reception | None:
        """Receive a complete file of /entree: one rename. None when it is no longer there."""
        reception = Reception(new_id(), name)
        place = self._place(reception)
        place.parent.mkdir()
        try:
            (self.sftp / ENTRY / name).rename(place)
        except FileNotFoundError:
            place.parent.rmdir()
            return None
        return reception

    def complete_ones(self) -> list[str]:
        """Return the files of /entree that have the digest that their name announces (helios.md 6.2).

        These are complete although nobody said so: the connection, or this process, ended just before.
        """
        return [file.name for file in sorted((self.sftp / ENTRY).iterdir()) if self.is_complete(file.name)]

    def is_complete(self, name: str) -> bool:
        """Say whether a file of /entree has the digest that its name announces; False when it announces none."""
        announced = _DIGEST.search(name)
        if announced is None:
            return False
        digest = hashlib.sha1(usedforsecurity=False)
        try:
            with (self.sftp / ENTRY / name).open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
        except OSError:
            return False
        return digest.hexdigest() == announced.group(1)

    def waiting(self) -> list[Reception]:
        """See `Registry.waiting`."""
        found = []
        for place in sorted(self._work.iterdir()):
            names = [file.name for file in place.iterdir()]
            if names:
                found.append(Reception(UUID(place.name), names[0]))
            else:
                place.rmdir()  # made, then the process ended before the rename
        return found

    def content(self, reception: Reception) -> bytes:
        """See `Registry.content`."""
        return self._place(reception).read_bytes()

    def add_receipt(self, receipt: Receipt) -> None:
        """See `Registry.add_receipt`."""
        with self._writing:
            if receipt.reception in self._receipts:
                return
            with self._receipts_file.open("ab") as file:
                file.write(receipt.model_dump_json().encode() + b"\n")
            self._receipts[receipt.reception] = receipt

    def receipts(self) -> list[Receipt]:
        """See `Registry.receipts`."""
        with self._writing:
            return list(self._receipts.values())

    def reply(self, name: str, document: bytes) -> None:
        """See `Registry.reply`."""
        write_whole(self.sftp / REPLIES / name, document)

    def forget(self, reception: Reception) -> None:
        """See `Registry.forget`."""
        shutil.rmtree(self._place(reception).parent)

    def _place(self, reception: Reception) -> Path:
        return self._work / str(reception.reception) / reception.name


def _read_receipts(file: Path) -> list[Receipt]:
    if not file.exists():
        return []
    receipts = []
    for line in file.read_bytes().splitlines():
        try:
            receipts.append(Receipt.model_validate_json(line))
        except ValidationError:
            continue  # cut short by kill -9: its file is still in the work folder, and is received again
    if not file.read_bytes().endswith(b"\n") and receipts:
        with file.open("ab") as more:
            more.write(b"\n")
    return receipts

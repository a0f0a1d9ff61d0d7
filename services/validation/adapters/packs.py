"""The schema packs of the platform: a projection and, beside the facts, their files under their digest.

The pack that comes with the code stands beside them.
"""

from functools import cached_property

import asyncpg

from pes.schemas.packs import BUILT_IN, PackFiles, built_in, read_archive
from services.validation.ports import InstalledPack
from services.validation.rules import BUILT_IN_FROM
from shared.errors import CorruptDocumentError
from shared.journal.postgres import Database

_ALL = """
select pack_id, digest, use, effective_from, effective_until, installed_at, installed_by
from schema_pack order by effective_from desc, pack_id desc
"""
_FILES = "select pack_id, archive from schema_archive join schema_pack using (digest) where digest = $1 limit 1"
_KEEP = "insert into schema_archive (digest, archive) values ($1, $2) on conflict (digest) do nothing"


class PostgresPacks:
    """See `services.validation.ports.Packs`."""

    def __init__(self, database: Database) -> None:
        """Read packs in this database, and keep their files there."""
        self._database = database
        self._files: dict[str, PackFiles] = {}

    @cached_property
    def _built_in(self) -> PackFiles:
        return built_in()

    async def all(self) -> list[InstalledPack]:
        """See `Packs.all`."""
        packs = [_installed(row) for row in await self._database.fetch(_ALL)]
        if all(pack.pack_id != BUILT_IN for pack in packs):
            packs.append(self._built_in_pack())
        return sorted(packs, key=lambda pack: pack.effective_from, reverse=True)

    async def files(self, digest: str) -> PackFiles:
        """See `Packs.files`."""
        if digest == self._built_in.digest:
            return self._built_in
        if digest not in self._files:
            (row,) = await self._database.fetch(_FILES, digest)
            files = read_archive(row["archive"], row["pack_id"])
            if files.digest != digest:
                raise CorruptDocumentError(digest)
            self._files[digest] = files
        return self._files[digest]

    async def keep(self, pack: PackFiles) -> None:
        """See `Packs.keep`."""
        await self._database.execute(_KEEP, pack.digest, pack.archive())

    def _built_in_pack(self) -> InstalledPack:
        return InstalledPack(BUILT_IN, self._built_in.digest, "active", BUILT_IN_FROM, None, None, "heliotrope")


def _installed(row: asyncpg.Record) -> InstalledPack:
    return InstalledPack(**dict(row))

"""The schema packs of the platform, in PostgreSQL; the one that comes with the code stands beside them."""

from datetime import date
from functools import cached_property

import asyncpg

from pes.schemas.packs import BUILT_IN, PackFiles, built_in, read_archive
from services.validation.ports import InstalledPack, Role
from shared.journal.postgres import Database

BUILT_IN_FROM = date(2020, 1, 1)

_ALL = """
select pack_id, digest, role, effective_from, effective_until, installed_at, installed_by
from schema_pack order by effective_from desc, pack_id desc
"""
_FILES = "select pack_id, archive from schema_pack where digest = $1 limit 1"
_INSTALL = """
insert into schema_pack (pack_id, digest, archive, role, effective_from, effective_until, installed_by)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (pack_id) do nothing returning pack_id
"""
_CHANGE = """
update schema_pack set role = coalesce($2, role), effective_from = coalesce($3, effective_from), effective_until = $4
where pack_id = $1 returning pack_id
"""


class PostgresPacks:
    """See `services.validation.ports.Packs`."""

    def __init__(self, database: Database) -> None:
        """Keep packs in this database."""
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
            self._files[digest] = read_archive(row["archive"], row["pack_id"])
        return self._files[digest]

    async def install(self, pack: PackFiles, installed: InstalledPack) -> bool:
        """See `Packs.install`."""
        if pack.pack_id == BUILT_IN and pack.digest != self._built_in.digest:
            return False
        rows = await self._database.fetch(
            _INSTALL,
            pack.pack_id,
            pack.digest,
            pack.archive(),
            installed.role,
            installed.effective_from,
            installed.effective_until,
            installed.installed_by,
        )
        return bool(rows)

    async def change(self, pack_id: str, role: Role | None, effective_from: date | None, until: date | None) -> bool:
        """See `Packs.change`."""
        if pack_id == BUILT_IN:
            await self.install(self._built_in, self._built_in_pack())
        return bool(await self._database.fetch(_CHANGE, pack_id, role, effective_from, until))

    def _built_in_pack(self) -> InstalledPack:
        return InstalledPack(BUILT_IN, self._built_in.digest, "active", BUILT_IN_FROM, None, None, "heliotrope")


def _installed(row: asyncpg.Record) -> InstalledPack:
    return InstalledPack(**dict(row))

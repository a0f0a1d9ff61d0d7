"""Pre-flight: judges a file that nobody imports. Nothing is recorded, nothing is kept."""

from dataclasses import dataclass

from pes.judge import told
from services.validation.handler import Judges
from services.validation.ports import Scratch
from shared.errors import RequestRefusedError, Why
from shared.runtime.workers import WorkerLostError
from shared.web.multipart import File


@dataclass(frozen=True)
class Checks:
    """Checks files, as an import would."""

    judges: Judges
    scratch: Scratch

    async def check(self, file: File, collectivite: str, pack_id: str) -> dict[str, object]:
        """Judge one file and return what the API answers.

        Raises:
            RequestRefusedError: there is no such pack, or no worker survives the file.
        """
        if pack_id and all(pack.pack_id != pack_id for pack in await self.judges.packs.all()):
            raise RequestRefusedError(
                Why.NOT_FOUND,
                "pack-not-found",
                "Pack inconnu",
                f"Aucun pack de schémas « {pack_id} » n’est installé.",
            )
        async with self.scratch.keep(file.chunks) as path:
            try:
                judged = await self.judges.judge(path, collectivite, pack_id=pack_id, with_synthese=False)
            except WorkerLostError as error:
                raise RequestRefusedError(
                    Why.UNUSABLE,
                    "unjudgeable",
                    "Fichier impossible à contrôler",
                    "La lecture de ce fichier échoue. Signalez-le à votre hébergeur, avec le fichier.",
                ) from error
        return told(file.filename, judged.judgement)

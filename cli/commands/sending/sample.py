"""Writes a made-up PES, to try things with."""

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandRefusedError
from cli.options import AsJson
from cli.showing.output import emit_or_say, reporting, save
from pes.sample import SampleSpec, build_sample


def sample(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FICHIER", help="Où l’écrire.")],
    number: Annotated[
        int, typer.Option(min=1, max=99_999, metavar="N", help="Son numéro : deux flux de même numéro se répètent.")
    ] = 1,
    depenses: Annotated[int, typer.Option(min=0, max=100, metavar="N", help="Bordereaux de dépense.")] = 1,
    recettes: Annotated[int, typer.Option(min=0, max=100, metavar="N", help="Bordereaux de recette.")] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Écrit un PES d’essai, d’une commune imaginaire (SIREN 213499908)."""
    with reporting(as_json=as_json):
        if output.exists():
            raise CommandRefusedError("Le fichier existe déjà", f"{output} existe : donnez un autre nom avec -o.")
        spec = SampleSpec(number=number, depense_bordereaux=depenses, recette_bordereaux=recettes)
        content = build_sample(spec)
        save(output, content)
        emit_or_say(
            {"output": str(output), "size": len(content), "collectivite": spec.siret[:9]},
            f"PES d’essai écrit dans {output}, pour la collectivité {spec.siret[:9]}.",
            as_json=as_json,
        )

"""Commands about the documents of a flux: which there are, and each of them as a file."""

from pathlib import Path
from typing import Annotated

import typer

from cli.api import Api
from cli.client_config import read_client_config
from cli.errors import CommandRefusedError
from cli.options import AsJson, FluxId, environ
from cli.showing.output import Table, emit, emit_or_say, reason_of, reporting, show
from cli.showing.timeline import members_of, time_of
from shared import wording


def list_documents(flux_id: FluxId, *, as_json: AsJson = False) -> None:
    """Liste les documents d’un flux : importé, signé, transmis, et la réponse de la DGFiP (PES_ACQUIT)."""
    with reporting(as_json=as_json), Api(read_client_config(environ())) as api:
        answer = api.read(f"/v1/flux/{flux_id}/documents")
        if as_json:
            emit(answer)
            return
        table = Table()
        for column in ("Rôle", "Document", "Depuis", "Taille", "SHA-256"):
            table.add_column(column, overflow="fold")
        for one in members_of(answer, "items"):
            role = str(one["role"]) if one.get("is_in_force") else f"{one['role']} (plus en vigueur)"
            size = wording.size(int(str(one["size"])))
            table.add_row(role, str(one["on_screen"]), time_of(str(one["since"])), size, str(one["sha256"]))
        show(table, f"Pour en lire un : heliotrope flux document {flux_id} --role RÔLE -o FICHIER")


def save_document(
    flux_id: FluxId,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FICHIER", help="Où l’écrire.")],
    role: Annotated[
        str,
        typer.Option(
            metavar="RÔLE",
            help="imported, signed, transmitted, reply (le PES_ACQUIT), ou un SHA-256 ; sinon, ce qui compte.",
        ),
    ] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Enregistre un document d’un flux : sans --role, le fichier en vigueur (signé, une fois signé)."""
    with reporting(as_json=as_json), Api(read_client_config(environ())) as api:
        service, path = ("history", f"/documents/{role}") if role else ("signature", "/document")
        content = api.download(service, f"/v1/flux/{flux_id}{path}")
        try:
            output.write_bytes(content)
        except OSError as error:
            raise CommandRefusedError("Écriture impossible", f"{output} : {reason_of(error)}.") from error
        emit_or_say(
            {"flux_id": flux_id, "output": str(output), "size": len(content)},
            f"Enregistré dans {output}.",
            as_json=as_json,
        )

"""The name of a file on DGFiP's server: on Passtrans over SFTP, the routing travels in it (helios.md 6.2)."""

from pes.vocabulary import Header
from shared.errors import MalformedMessageError


def remote_name(header: Header, sha1: str, *, p_dest: str, p_appli: str) -> str:
    """Return `{P_DEST}%%{P_APPLI}%%{P_MSG}%%{sha1}`: the same for the same document, so it overwrites itself.

    Args:
        header: where CodCol, IdPost and CodBud come from; written by the éditeur, not trusted.
        sha1: of the document, in hexadecimal; DGFiP's choice, not ours.
        p_dest: code of the DGFiP server; stray spaces around it are removed.
        p_appli: code of the application.

    Raises:
        MalformedMessageError: a value is missing, or could make another route or a path of the name.
    """
    values = (header.cod_col, header.id_post, header.cod_bud)
    if not all(value.isascii() and value.isalnum() for value in values):
        raise MalformedMessageError("CodCol, IdPost and CodBud of this flux cannot be part of a file's name")
    return "%%".join((p_dest.strip(), p_appli.strip(), "PES#" + "#".join(values), sha1))

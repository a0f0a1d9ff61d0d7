"""Commands about a trust list: what is in the folder, and fresh lists of revoked certificates."""

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer
from cryptography import x509

from cli.errors import CommandRefusedError, ExitCode, UsageProblemError
from cli.options import AsJson
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import Table, emit, reason_of, reporting, save, say, show
from pes.text import in_paris
from signing.certificates import common_name, name_of, whole_name
from signing.trust import TrustList, is_signed_by
from signing.trust_files import FILE_BYTES_MAX, Loaded, TrustFolderError, load_trust, parse

URLS_FILE: Final = "crl.urls"
ANSWER_SECONDS_MAX: Final = 30.0

trust = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="La liste de confiance : autorités et révocations.")
Folder = Annotated[Path, typer.Argument(metavar="DOSSIER", help="Dossier de la liste de confiance.")]


@trust.command("list", cls=FrenchCommand)
def list_trust(folder: Folder, *, as_json: AsJson = False) -> None:
    """Montre ce que contient une liste de confiance, et ce qui est périmé. Rend 1 si une liste (CRL) l’est."""
    with reporting(as_json=as_json):
        loaded, now = _load(folder), datetime.now(UTC)
        rows = list(_rows(loaded.trust, now))
        if as_json:
            emit({"folder": str(folder), "entries": rows, "ignored": loaded.ignored})
        else:
            table = Table()
            for column in ("Nature", "De", "Valable jusqu’au", "État"):
                table.add_column(column, overflow="fold")
            for row in rows:
                state = "périmé" if row["is_stale"] else "en vigueur"
                table.add_row(str(row["kind"]), str(row["name"]), str(row["until"]), state)
            show(table)
            for one in loaded.ignored:
                say(f"Ignoré : {one}")
        if any(row["is_stale"] for row in rows):
            raise typer.Exit(ExitCode.REFUSED)


@trust.command("refresh", cls=FrenchCommand)
def refresh(
    folder: Folder,
    url: Annotated[
        list[str] | None,
        typer.Option("--crl", metavar="ADRESSE", help=f"Une CRL à relever (sinon les lignes de {URLS_FILE})."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Relève des CRL et les range dans la liste de confiance, si une autorité de celle-ci les a signées."""
    with reporting(as_json=as_json):
        trusted = _load(folder).trust
        items = [_refreshed(folder, one, trusted) for one in _urls(folder, url or [])]
        if as_json:
            emit({"folder": str(folder), "items": items})
        else:
            for item in items:
                say(f"{item['url']} : {item['detail']}")
        if any(item["status"] == "refused" for item in items):
            raise typer.Exit(ExitCode.REFUSED)


def _rows(trusted: TrustList, now: datetime) -> Iterable[dict[str, object]]:
    for certificate in trusted.authorities:
        until = certificate.not_valid_after_utc
        yield _row("autorité", name_of(certificate), until, now)
    for crl in trusted.crls:
        yield _row("CRL", common_name(crl.issuer), crl.next_update_utc, now)
    for answer in trusted.ocsp_answers:
        for single in answer.responses:
            yield _row("OCSP", f"certificat {single.serial_number}", single.next_update_utc, now)


def _row(kind: str, name: str, until: datetime | None, now: datetime) -> dict[str, object]:
    return {
        "kind": kind,
        "name": name,
        "until": "" if until is None else f"{until:%Y-%m-%dT%H:%M:%SZ}",
        "is_stale": until is not None and until < now,
    }


def _load(folder: Path) -> Loaded:
    try:
        return load_trust(folder)
    except TrustFolderError as error:
        raise UsageProblemError("Liste de confiance illisible", str(error)) from error


def _urls(folder: Path, given: list[str]) -> list[str]:
    """Return the addresses to fetch: those given, or those of the file.

    Raises:
        UsageProblemError: there is none, or one is no address of the web.
    """
    urls = given
    if not urls:
        try:
            lines = (folder / URLS_FILE).read_text("utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise UsageProblemError("Adresses illisibles", f"{folder / URLS_FILE} : {reason_of(error)}.") from error
        urls = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not urls:
        raise UsageProblemError(
            "Aucune CRL à relever", f"Donnez --crl ADRESSE, ou une adresse par ligne dans {folder / URLS_FILE}."
        )
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise UsageProblemError("Adresse inconnue", f"« {url} » : une CRL se relève par http:// ou https://.")
    return urls


def _refreshed(folder: Path, url: str, trusted: TrustList) -> dict[str, object]:
    path = folder / f"crl-{sha256(url.encode()).hexdigest()[:16]}.crl"
    try:
        crl, content = _fetch(url)
        _check(crl, trusted)
        save(path, content)
    except CommandRefusedError as error:
        return {"url": url, "status": "refused", "detail": f"refusée : {error.detail}"}
    until = crl.next_update_utc
    said = f"relevée ; la prochaine est attendue le {in_paris(until)}" if until else "relevée"
    return {"url": url, "status": "fetched", "detail": said, "file": path.name}


def _check(crl: x509.CertificateRevocationList, trusted: TrustList) -> None:
    """Refuse a list that no authority of ours signed, or older than what we have: someone may be hiding a revocation.

    Raises:
        CommandRefusedError: it is one of these.
    """
    if not any(is_signed_by(crl, authority) for authority in trusted.authorities):
        name = whole_name(crl.issuer)
        raise CommandRefusedError("CRL refusée", f"aucune autorité de la liste n’a signé cette CRL (« {name} »).")
    known = [one.last_update_utc for one in trusted.crls if one.issuer == crl.issuer]
    if known and crl.last_update_utc < max(known):
        raise CommandRefusedError("CRL refusée", "elle est plus ancienne que celle que nous avons.")


def _fetch(url: str) -> tuple[x509.CertificateRevocationList, bytes]:
    """Fetch a CRL, within bounds.

    Raises:
        CommandRefusedError: nobody answers, or not with one CRL.
    """
    try:
        content = _download(url)
        (held,) = parse(content)
    except httpx.HTTPError as error:
        raise CommandRefusedError("CRL injoignable", f"l’adresse ne répond pas comme il faut ({error}).") from error
    except ValueError as error:
        raise CommandRefusedError(
            "Ce n’est pas une CRL", "ce qui est à cette adresse n’est pas une CRL lisible."
        ) from error
    if not isinstance(held, x509.CertificateRevocationList):
        raise CommandRefusedError("Ce n’est pas une CRL", "ce qui est à cette adresse n’est pas une CRL.")
    return held, content


def _download(url: str) -> bytes:
    content = b""
    with httpx.stream("GET", url, timeout=ANSWER_SECONDS_MAX, follow_redirects=True) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > FILE_BYTES_MAX:
                raise CommandRefusedError("CRL trop grande", "la réponse est trop grande pour une CRL.")
    return content

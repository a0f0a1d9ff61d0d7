"""Verifies the signatures of a file, offline: who signed what, when, under which certificate, and what is wrong."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.sending.signature import read_whole
from cli.errors import CommandRefusedError, UsageProblemError
from cli.options import AsJson
from cli.showing.findings import show_findings
from cli.showing.output import console, emit, reporting, say, show
from pes.text import PARIS, printable
from pes.vocabulary import Finding
from signing.certificates import common_name, fingerprint, whole_name
from signing.report import Report, SignatureReport
from signing.second_opinion import VerifiersDisagreeError, require_agreement
from signing.trust import TrustList, vouched
from signing.trust_files import TrustFolderError, load_trust
from signing.verification import verify as verify_document

EXIT_CODES = {"valid": 0, "invalid": 1, "unsigned": 3}
VERDICTS = {"valid": "valides", "invalid": "non valides", "unsigned": "aucune"}


def verify(
    file: Annotated[Path, typer.Argument(metavar="FICHIER", help="Fichier PES.")],
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust", metavar="DOSSIER", help="Liste de confiance : certificats d’autorités, CRL, réponses OCSP."
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Vérifie les signatures d’un fichier, hors ligne. Rend 0 si toutes valent, 1 sinon, 3 s’il n’y en a aucune."""
    with reporting(as_json=as_json):
        report = _report(read_whole(file), _trust(trust))
        if as_json:
            emit(told(file, report))
        else:
            _show(file, report)
    raise typer.Exit(EXIT_CODES[report.verdict])


def told(file: Path, report: Report) -> dict[str, object]:
    """Return the report as a JSON document."""
    return {
        "file": str(file),
        "verdict": report.verdict,
        "classification": report.classification,
        "findings": [finding.model_dump(mode="json") for finding in report.findings],
        "signatures": [_signature(one) for one in report.signatures],
    }


def _signature(one: SignatureReport) -> dict[str, object]:
    certificate = one.certificate
    return {
        "id": one.signature_id,
        "element": one.element_id,
        "is_global": one.is_global,
        "verdict": "valid" if one.holds else "invalid",
        "signer": one.signer,
        "signing_time": None if one.signing_time is None else f"{one.signing_time:%Y-%m-%dT%H:%M:%SZ}",
        "form": one.form,
        "role": one.claimed_role,
        "policy": one.policy,
        "certificate": None
        if certificate is None
        else {
            "issuer": whole_name(certificate.issuer),
            "serial": str(certificate.serial_number),
            "sha256": fingerprint(certificate),
            "valid_from": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
            "valid_until": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        },
        "findings": [finding.model_dump(mode="json") for finding in one.findings],
    }


def _report(document: bytes, trust: TrustList | None) -> Report:
    """Verify with both programs, as the platform does before it sends anything."""
    report = vouched(verify_document(document), trust, now=datetime.now(UTC))
    if report.verdict == "valid":
        try:
            require_agreement(document, report)
        except VerifiersDisagreeError as error:
            raise CommandRefusedError(
                "Les deux vérifications se contredisent",
                f"Nous tenons les signatures pour valides, signxml non (message technique : {error}). "
                "Ne vous fiez pas à ce fichier, et signalez-le à votre hébergeur.",
            ) from error
    return report


def _trust(folder: Path | None) -> TrustList | None:
    if folder is None:
        return None
    try:
        loaded = load_trust(folder)
    except TrustFolderError as error:
        raise UsageProblemError("Liste de confiance illisible", str(error)) from error
    for one in loaded.ignored:
        say(f"Ignoré : {one}")
    if not loaded.trust.authorities:
        say(f"La liste de confiance {folder} ne contient aucune autorité : aucun certificat ne sera reconnu.")
    return loaded.trust


def _show(file: Path, report: Report) -> None:
    show(f"{file} : {report.classification.on_screen} ; signatures {VERDICTS[report.verdict]}")
    show_findings(console(), [_json(one) for one in report.findings])
    for one in report.signatures:
        what = "le flux entier" if one.is_global else f"le bordereau « {printable(one.element_id)} »"
        named = printable(one.signature_id) or "sans Id"
        show("", f"{'Valable' if one.holds else 'NON VALABLE'} : {what} (signature {named})")
        if one.signer:
            role = f", {printable(one.claimed_role)}" if one.claimed_role else ""
            show(f"  Signataire : {printable(one.signer)}{role}")
        if one.signing_time is not None:
            show(f"  Date : {one.signing_time.astimezone(PARIS):%d/%m/%Y à %H:%M:%S} (heure de Paris)")
        if one.certificate is not None:
            show(
                f"  Certificat : {one.certificate.serial_number}, émis par "
                f"« {printable(common_name(one.certificate.issuer))} », valable du "
                f"{one.certificate.not_valid_before_utc:%d/%m/%Y} au {one.certificate.not_valid_after_utc:%d/%m/%Y}"
            )
        if one.form:
            show(f"  Forme : {one.form}")
        show_findings(console(), [_json(finding) for finding in one.findings])


def _json(finding: Finding) -> dict[str, object]:
    return finding.model_dump(mode="json")

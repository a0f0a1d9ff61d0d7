"""Signs a file with the signatory's own key, offline: nothing is sent, the key stays where it is."""

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509

from cli.commands.sending.checks import FILE_BYTES_MAX
from cli.errors import CommandRefusedError, UsageProblemError, problem
from cli.options import AsJson
from cli.showing.french import FrenchCommand, FrenchGroup
from cli.showing.output import emit, reason_of, reporting, save, say, show
from pes.reader import too_large
from pes.text import PARIS
from signing.certificates import ANNOUNCED_BEFORE, name_of, whole_name
from signing.keys import (
    KeyUnusableError,
    P12Key,
    Pkcs11Key,
    SigningKey,
    is_open_to_others,
    read_secret,
)
from signing.outline import Target, UnsignableError, targets, unsigned_of
from signing.verification import verify
from signing.xades import Stated, complete, prepare

P12Option = Annotated[Path | None, typer.Option("--p12", metavar="FICHIER", help="Clé et certificat PKCS#12 (.p12).")]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FICHIER", help="Fichier dont la 1re ligne est le mot de passe du .p12."),
]
Pkcs11Option = Annotated[
    Path | None, typer.Option("--pkcs11", metavar="MODULE", help="Module PKCS#11 de la carte (.so, .dll).")
]
TokenOption = Annotated[str, typer.Option("--token", metavar="NOM", help="Nom de la carte, avec --pkcs11.")]
PinFileOption = Annotated[
    Path | None,
    typer.Option("--pin-file", metavar="FICHIER", help="Fichier dont la 1re ligne est le code PIN de la carte."),
]
CertificateOption = Annotated[
    str,
    typer.Option(
        "--certificate",
        metavar="NOM",
        help="Certificat de la carte, s’il y en a plusieurs : son nom ou son empreinte SHA-256.",
    ),
]

app = typer.Typer(cls=FrenchGroup, no_args_is_help=True, help="Signer un flux PES.")


@app.command("sign", cls=FrenchCommand)
def sign(
    file: Annotated[Path, typer.Argument(metavar="FICHIER", help="Fichier PES Aller à signer.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="SORTIE", help="Où écrire le fichier signé.")],
    p12: P12Option = None,
    password_file: PasswordFileOption = None,
    module: Pkcs11Option = None,
    token: TokenOption = "",
    pin_file: PinFileOption = None,
    certificate: CertificateOption = "",
    role: Annotated[str, typer.Option("--role", metavar="RÔLE", help="À quel titre vous signez.")] = "Ordonnateur",
    city: Annotated[str, typer.Option("--city", metavar="VILLE", help="Ville où vous signez.")] = "",
    postal_code: Annotated[str, typer.Option("--postal-code", metavar="CODE", help="Code postal de la ville.")] = "",
    *,
    force: Annotated[bool, typer.Option("--force", help="Remplace SORTIE s’il existe déjà.")] = False,
    as_json: AsJson = False,
) -> None:
    """Signe ce qui ne l’est pas encore dans un fichier, vérifie la signature, et écrit le fichier signé."""
    with reporting(as_json=as_json):
        check_key_options(p12, password_file, module, token, pin_file, certificate)
        _check_output(file, output, force=force)
        document = read_whole(file)
        with closing(open_key(p12, password_file, module, token, pin_file, certificate)) as key:
            at = datetime.now(UTC).replace(microsecond=0)
            signed, chosen = _signed(document, key, at, Stated(role, city, postal_code))
        save(output, signed)
        if as_json:
            emit(_told(file, output, key.certificate, at, chosen))
        else:
            _show(output, key.certificate, chosen)
        warn_of_expiry(key.certificate, at)


def check_key_options(
    p12: Path | None, password_file: Path | None, module: Path | None, token: str, pin_file: Path | None, label: str
) -> None:
    """Refuse options that do not name one key.

    Raises:
        UsageProblemError: neither a file nor a card, both, or half of either.
    """
    wrong = "Clé mal désignée"
    if (p12 is None) == (module is None):
        raise UsageProblemError(
            wrong,
            "Désignez une clé, et une seule : --p12 et --password-file pour un fichier, ou --pkcs11, --token et "
            "--pin-file pour une carte.",
        )
    if p12 is not None and (password_file is None or token or pin_file is not None or label):
        raise UsageProblemError(
            wrong, "--p12 va avec --password-file, et sans --token, --pin-file ni --certificate (ceux d’une carte)."
        )
    if module is not None and (not token or pin_file is None or password_file is not None):
        raise UsageProblemError(wrong, "--pkcs11 va avec --token et --pin-file, et sans --password-file.")


def open_key(
    p12: Path | None, password_file: Path | None, module: Path | None, token: str, pin_file: Path | None, label: str
) -> SigningKey:
    """Open the key that checked options name.

    Raises:
        CommandRefusedError: it cannot sign.
    """
    try:
        if p12 is not None and password_file is not None:
            return P12Key.from_file(p12, _secret(password_file))
        if module is not None and pin_file is not None:
            return Pkcs11Key.open(module, token, _text(_secret(pin_file), pin_file), label=label)
    except KeyUnusableError as error:
        raise CommandRefusedError("Clé inutilisable", str(error)) from error
    raise ValueError("options must be checked first")


def warn_of_expiry(certificate: x509.Certificate, now: datetime) -> None:
    """Announce that a certificate expires soon."""
    left = certificate.not_valid_after_utc - now
    if left < ANNOUNCED_BEFORE:
        say(
            f"Attention : le certificat de signature « {name_of(certificate)} » "
            f"{_expiry(left)}, le {certificate.not_valid_after_utc.astimezone(PARIS):%d/%m/%Y}. "
            "Demandez dès maintenant son renouvellement à l’autorité qui l’a délivré : "
            "sans lui, vous ne pourrez plus signer."
        )


def _expiry(left: timedelta) -> str:
    if left < timedelta():
        return "a expiré"
    return f"expire dans {left.days} jour{'s' if left.days > 1 else ''}" if left.days else "expire aujourd’hui"


def _secret(path: Path) -> bytes:
    secret = read_secret(path)
    if is_open_to_others(path):
        say(
            f"Attention : d’autres comptes de cet ordinateur peuvent lire {path}. "
            f"Réservez-le au vôtre : chmod 600 {path}"
        )
    return secret


def _text(pin: bytes, path: Path) -> str:
    try:
        return pin.decode("utf-8")
    except UnicodeDecodeError:
        raise KeyUnusableError(
            f"Le code PIN du fichier {path} n’est pas écrit en UTF-8. Écrivez-le à nouveau."
        ) from None


def _check_output(file: Path, output: Path, *, force: bool) -> None:
    """Refuse to write where something is, before any key is opened."""
    if not output.exists():
        return
    if file.exists() and output.samefile(file):
        raise CommandRefusedError(
            "Le fichier à signer serait remplacé",
            f"{output} est le fichier à signer : il est gardé tel quel. Donnez un autre nom avec -o.",
        )
    if not force:
        raise CommandRefusedError(
            "Le fichier existe déjà", f"{output} existe : donnez un autre nom avec -o, ou ajoutez --force."
        )


def read_whole(file: Path) -> bytes:
    """Read a PES.

    Raises:
        UsageProblemError: it cannot be read, or is too large to be one.
    """
    try:
        size = file.stat().st_size
        if size > FILE_BYTES_MAX:
            raise UsageProblemError("Fichier trop grand", f"{file} : {too_large(size).message}")
        return file.read_bytes()
    except OSError as error:
        raise UsageProblemError("Fichier illisible", f"{file} : {reason_of(error)}.") from error


def _signed(document: bytes, key: SigningKey, at: datetime, stated: Stated) -> tuple[bytes, list[Target]]:
    """Sign what is not signed yet, and verify the whole as anybody else would."""
    try:
        chosen = unsigned_of(targets(document))
        prepared = prepare(document, chosen, certificate=key.certificate, signing_time=at, stated=stated)
        signed = complete(document, prepared, [key.sign(one.to_sign) for one in prepared])
    except UnsignableError as error:
        raise CommandRefusedError("Ce fichier ne peut pas être signé", str(error)) from error
    except KeyUnusableError as error:
        raise CommandRefusedError("Clé inutilisable", str(error)) from error
    report = verify(signed)
    if report.verdict != "valid":
        title, detail = "Signature non valable", "Le fichier signé n’est pas valide : rien n’est écrit."
        findings = [one.model_dump(mode="json") for one in report.all_findings if one.severity == "blocking"]
        raise CommandRefusedError(title, detail, problem("signature-invalid", title, detail, findings=findings))
    return signed, chosen


def _told(
    file: Path, output: Path, certificate: x509.Certificate, at: datetime, chosen: Sequence[Target]
) -> dict[str, object]:
    return {
        "file": str(file),
        "output": str(output),
        "signer": whole_name(certificate.subject),
        "signing_time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "certificate_until": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "elements": [one.element_id for one in chosen],
    }


def _show(output: Path, certificate: x509.Certificate, chosen: Sequence[Target]) -> None:
    for one in chosen:
        show(f"Signé : {'le flux entier' if one.is_global else 'le bordereau'} « {one.element_id} »")
    show(f"Par : {name_of(certificate)} ({whole_name(certificate.subject)})")
    show(f"Certificat valable jusqu’au : {certificate.not_valid_after_utc.astimezone(PARIS):%d/%m/%Y}")
    show(f"Fichier signé et vérifié : {output}")

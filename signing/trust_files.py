"""The trust list, as files in a folder: certificates of authorities, CRLs, OCSP answers.

A file called `.pem`, `.crt`, `.cer`, `.der`, `.crl`, `.ocsp` or `.ors` holds one of these in DER, or any number of
certificates and CRLs in PEM; what it is shows in its content. Other files are left alone. What is not the certificate
of an authority is not trusted, and said.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import ocsp

from pes.units import MEBIBYTE
from signing.certificates import read_der, read_pem, readable, whole_name
from signing.trust import TrustList

FILE_BYTES_MAX = 64 * MEBIBYTE  # the CRLs of large authorities weigh several megabytes
_SUFFIXES = frozenset({".pem", ".crt", ".cer", ".der", ".crl", ".ocsp", ".ors"})
_PEM = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CRL)-----.*?-----END \1-----", re.DOTALL)


Held = x509.Certificate | x509.CertificateRevocationList | ocsp.OCSPResponse


class TrustFolderError(ValueError):
    """A file of the trust list cannot be read; the message, in French, names it."""


@dataclass
class Loaded:
    """What a folder holds; `ignored` says what was left aside, and why (French)."""

    trust: TrustList
    ignored: list[str] = field(default_factory=list)


def load_trust(folder: Path, *, is_proof_required: bool = False) -> Loaded:
    """Read a trust list.

    Raises:
        TrustFolderError: there is no such folder, or a file in it is not what its name says.
    """
    authorities: list[x509.Certificate] = []
    crls: list[x509.CertificateRevocationList] = []
    answers: list[ocsp.OCSPResponse] = []
    ignored: list[str] = []
    for path in trust_files(folder):
        for held in _parsed(path):
            if isinstance(held, ocsp.OCSPResponse):
                answers.append(held)
                continue
            if isinstance(held, x509.CertificateRevocationList):
                crls.append(held)
            elif _is_authority(held):
                authorities.append(held)
            else:
                ignored.append(f"{path.name} : « {whole_name(held.subject)} » n’est pas une autorité.")
    return Loaded(TrustList(tuple(authorities), tuple(crls), tuple(answers), is_proof_required), ignored)


def trust_files(folder: Path) -> list[Path]:
    """Return the files of a trust list, in order.

    Raises:
        TrustFolderError: there is no such folder.
    """
    if not folder.is_dir():
        raise TrustFolderError(f"Le dossier de la liste de confiance n’existe pas : {folder}.")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())


def _parsed(path: Path) -> list[Held]:
    try:
        return parse(path.read_bytes() if path.stat().st_size <= FILE_BYTES_MAX else b"")
    except OSError as error:
        raise TrustFolderError(f"{path} est illisible ({error.strerror}).") from error
    except ValueError as error:
        raise TrustFolderError(
            f"{path} n’est ni un certificat, ni une CRL, ni une réponse OCSP lisible, de 64 Mio au plus."
        ) from error


def parse(content: bytes) -> list[Held]:
    """Read a file of a trust list.

    Raises:
        ValueError: it is nothing that belongs there.
    """
    found = list(_PEM.finditer(content))
    if found:
        return [
            read_pem(one.group()) if one.group(1) == b"CERTIFICATE" else _crl(x509.load_pem_x509_crl, one.group())
            for one in found
        ]
    readers: tuple[Callable[[bytes], Held], ...] = (read_der, lambda der: _crl(x509.load_der_x509_crl, der))
    for read in readers:
        with suppress(ValueError):
            return [read(content)]
    return [_ocsp_answer(content)]


def _crl(load: Callable[[bytes], x509.CertificateRevocationList], content: bytes) -> x509.CertificateRevocationList:
    """Return a list, every part of which can be read."""
    try:
        crl = load(content)
        _ = (whole_name(crl.issuer), crl.last_update_utc, crl.next_update_utc, list(crl.extensions))
    except (TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from error
    return crl


def _ocsp_answer(content: bytes) -> ocsp.OCSPResponse:
    """Return an answer, every part of which can be read."""
    try:
        answer = ocsp.load_der_ocsp_response(content)
        if answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
            _ = (answer.signature_hash_algorithm, answer.tbs_response_bytes)
            _ = [(one.certificate_status, one.hash_algorithm, one.this_update_utc) for one in answer.responses]
            for certificate in answer.certificates:
                readable(certificate)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from error
    return answer


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.issuer == certificate.subject  # a root of before X.509 v3

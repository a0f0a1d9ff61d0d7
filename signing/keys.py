"""The keys that signatories sign with: a PKCS#12 file, a PEM file, or a card (PKCS#11) that never gives its key away.

Each says which certificate it signs under, and signs bytes: RSA PKCS#1 v1.5 over SHA-256, the one form of
``helios.md`` 5.3. A password or a PIN is used and forgotten, but for a card that asks its PIN again for each
signature; neither is ever part of an error, of a log or of a ``repr``.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Protocol, Self, cast

import pkcs11
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from signing.certificates import (
    RSA_BITS_MIN,
    CertificateUnreadableError,
    fingerprint,
    name_of,
    readable,
)
from signing.xades import Key

FILE_BYTES_MAX: Final = 1024 * 1024
SECRET_BYTES_MAX: Final = 4096
# RFC 8017 9.2: what stands before a SHA-256 digest, for a card that does not digest by itself.
_SHA256_DIGEST_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")
_OTHERS_MAY_READ: Final = stat.S_IRGRP | stat.S_IROTH


class KeyUnusableError(ValueError):
    """Nobody can sign with this key as it is; the message, in French, is for its holder."""


class SigningKey(Key, Protocol):
    """A key, and the certificate that says whose it is; `sign` raises `KeyUnusableError` when a card is out."""

    def close(self) -> None:
        """Let the key go; it signs nothing more."""


def read_secret(path: Path) -> bytes:
    """Return the first line of a password or PIN file, without its end.

    Raises:
        KeyUnusableError: it cannot be read, or that line is empty.
    """
    secret = _read(path, SECRET_BYTES_MAX, "Le fichier du mot de passe ou du code PIN").split(b"\n", 1)[0]
    secret = secret.removesuffix(b"\r")
    if not secret:
        raise KeyUnusableError(
            f"Le fichier {path} ne contient pas de mot de passe ni de code PIN : sa première ligne est vide. "
            "Écrivez-le sur la première ligne."
        )
    return secret


def is_open_to_others(path: Path) -> bool:
    """Say whether other accounts of this computer may read a file. Never on Windows, whose rights are not modes."""
    return os.name == "posix" and bool(path.stat().st_mode & _OTHERS_MAY_READ)


class _FileKey:
    """A key that is in memory, from a file."""

    def __init__(self, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sign(self, to_sign: bytes) -> bytes:
        """See `SigningKey.sign`."""
        return self._key.sign(to_sign, padding.PKCS1v15(), hashes.SHA256())

    def close(self) -> None:
        """See `SigningKey.close`: there is nothing to give back."""


class P12Key(_FileKey):
    """The key of a PKCS#12 file (``.p12``, ``.pfx``). See `SigningKey`."""

    @classmethod
    def from_file(cls, path: Path, password: bytes) -> Self:
        """Read the file.

        Raises:
            KeyUnusableError: why it cannot sign, and who can do something about it.
        """
        content = _read(path, FILE_BYTES_MAX, "Le fichier de clé")
        try:
            key, certificate, _ = pkcs12.load_key_and_certificates(content, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # What the library says of a password is not repeated.
            raise KeyUnusableError(
                f"Le fichier {path} ne s’ouvre pas : le mot de passe n’est pas le bon, ou ce n’est pas un fichier "
                "PKCS#12 (.p12, .pfx) en bon état. Vérifiez le mot de passe auprès de qui vous a remis le certificat."
            ) from None
        return cls(*_matched(key, certificate, path))


class PemKey(_FileKey):
    """A key and its certificate, each in a PEM file without password. See `SigningKey`."""

    @classmethod
    def from_files(cls, key_file: Path, certificate_file: Path) -> Self:
        """Read both files.

        Raises:
            KeyUnusableError: why they cannot sign.
        """
        try:
            key = load_pem_private_key(_read(key_file, FILE_BYTES_MAX, "Le fichier de clé"), password=None)
        except KeyUnusableError:
            raise
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyUnusableError(
                f"Le fichier {key_file} ne contient pas une clé privée PEM lisible sans mot de passe. "
                "Donnez la clé en PEM non chiffré, ou la clé et son certificat dans un fichier PKCS#12."
            ) from None
        try:
            certificate = x509.load_pem_x509_certificate(
                _read(certificate_file, FILE_BYTES_MAX, "Le fichier du certificat")
            )
        except KeyUnusableError:
            raise
        except ValueError:
            raise KeyUnusableError(f"Le fichier {certificate_file} ne contient pas de certificat PEM.") from None
        return cls(*_matched(key, certificate, key_file))


@dataclass(frozen=True)
class _Pair:
    """A certificate on a card, and the private key beside it."""

    label: str
    certificate: x509.Certificate
    key: pkcs11.PrivateKey

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.certificate)

    def is_called(self, label: str) -> bool:
        return label == self.label or label.replace(":", "").lower() == self.fingerprint

    def __str__(self) -> str:
        until = f"{self.certificate.not_valid_after_utc:%d/%m/%Y}"
        name = name_of(self.certificate)
        return f"« {self.label} » ({name}, valable jusqu’au {until}, empreinte SHA-256 {self.fingerprint})"


class Pkcs11Key:
    """A key on a card, a USB token or an HSM, through its maker's module (``.so``, ``.dll``). See `SigningKey`."""

    def __init__(
        self, token: str, session: pkcs11.Session, pair: _Pair, *, is_digesting: bool, pin: str | None
    ) -> None:
        """Sign with one of the keys of a card that is open.

        Args:
            token: its label.
            session: logged in; closed with this key.
            pair: the key and its certificate.
            is_digesting: the card computes SHA-256 by itself.
            pin: for a card that asks it again for each signature; None for the others.
        """
        self._token = token
        self._session = session
        self._key = cast("pkcs11.SignMixin", pair.key)
        self._is_digesting = is_digesting
        self._pin = pin
        self._lock = Lock()  # a session does one thing at a time
        self.certificate = pair.certificate

    def __enter__(self) -> Self:
        """Lend the key until the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the card."""
        self.close()

    @classmethod
    def open(cls, module: Path, token: str, pin: str, *, label: str = "") -> Self:
        """Open a card, and find the key that signs.

        Args:
            module: the PKCS#11 library of the card's maker.
            token: the label of the card.
            pin: tried once: a card locks after a few wrong ones.
            label: which certificate, when several can sign: its label, or its SHA-256 fingerprint.

        Raises:
            KeyUnusableError: why it cannot sign, and what to do.
        """
        found = _find_token(module, token)
        with _speaking_of(token):
            _refuse_last_try(found.flags, token)
            session = found.open(user_pin=pin)
        try:
            with _speaking_of(token):
                pair = _choose(_Contents.of(session), token, label)
                is_digesting = pkcs11.Mechanism.SHA256_RSA_PKCS in found.slot.get_mechanisms()
                asks_again = _asks_again(pair.key)
        except KeyUnusableError:
            _close(session)
            raise
        return cls(token, session, pair, is_digesting=is_digesting, pin=pin if asks_again else None)

    def sign(self, to_sign: bytes) -> bytes:
        """See `SigningKey.sign`."""
        mechanism, data = pkcs11.Mechanism.SHA256_RSA_PKCS, to_sign
        if not self._is_digesting:
            mechanism, data = pkcs11.Mechanism.RSA_PKCS, _SHA256_DIGEST_INFO + hashlib.sha256(to_sign).digest()
        with self._lock, _speaking_of(self._token):
            value = self._key.sign(data, mechanism=mechanism, pin=self._pin)
        self._check(value, to_sign)
        return value

    def close(self) -> None:
        """See `SigningKey.close`."""
        with self._lock:
            _close(self._session)
            self._pin = None

    def _check(self, value: bytes, to_sign: bytes) -> None:
        """Refuse what the certificate does not verify: CKA_ID is only a name that someone gave to both."""
        try:
            cast("rsa.RSAPublicKey", self.certificate.public_key()).verify(
                value, to_sign, padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature as error:
            raise KeyUnusableError(
                f"La carte « {self._token} » signe avec une autre clé que celle de son certificat "
                f"« {name_of(self.certificate)} ». Adressez-vous à qui vous a remis la carte."
            ) from error


@dataclass(frozen=True)
class _Contents:
    """What a card holds that matters here."""

    pairs: tuple[_Pair, ...]
    has_certificate: bool
    has_key: bool

    @classmethod
    def of(cls, session: pkcs11.Session) -> Self:
        keys = {
            bytes(one[pkcs11.Attribute.ID]): cast("pkcs11.PrivateKey", one)
            for one in session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})
        }
        certificates = list(_certificates(session))
        pairs = tuple(
            _Pair(label, certificate, keys[key_id])
            for key_id, label, certificate in certificates
            if key_id and key_id in keys
        )
        return cls(pairs, bool(certificates), bool(keys))


def _certificates(session: pkcs11.Session) -> Iterator[tuple[bytes, str, x509.Certificate]]:
    kind = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
        pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
    }
    for one in session.get_objects(kind):
        with suppress(ValueError):  # one that cannot be read is no certificate to sign under
            certificate = x509.load_der_x509_certificate(one[pkcs11.Attribute.VALUE])
            yield bytes(one[pkcs11.Attribute.ID]), str(one[pkcs11.Attribute.LABEL]), certificate


def _choose(contents: _Contents, token: str, label: str) -> _Pair:
    """Return the key to sign with; the one that is asked for when several can.

    Raises:
        KeyUnusableError: there is none, or it is not clear which.
    """
    if not contents.pairs:
        lack = (
            "aucun certificat"
            if not contents.has_certificate
            else "aucune clé privée"
            if not contents.has_key
            else "aucun certificat dont la clé privée soit présente"
        )
        raise KeyUnusableError(
            f"La carte « {token} » ne contient {lack} : elle ne peut pas signer. "
            "Vérifiez que c’est la bonne carte, ou adressez-vous à qui vous l’a remise."
        )
    chosen = _called(contents.pairs, label) if label else _able(contents.pairs)
    if not chosen:
        raise KeyUnusableError(
            f"La carte « {token} » n’a pas de certificat « {label} ». Elle a : {_listed(contents.pairs)}."
        )
    if len(chosen) > 1:
        raise KeyUnusableError(
            f"Plusieurs certificats de la carte « {token} » peuvent signer : {_listed(chosen)}. "
            "Désignez l’un d’eux par son nom ou par son empreinte (--certificate)."
        )
    _check_certificate(chosen[0].certificate, f"la carte « {token} »")
    return chosen[0]


def _called(pairs: Iterable[_Pair], label: str) -> list[_Pair]:
    return [one for one in pairs if one.is_called(label)]


def _able(pairs: tuple[_Pair, ...]) -> list[_Pair]:
    """Return the keys that can sign; all when none can, so that the refusal says why."""
    return [one for one in pairs if _unfitness(one.certificate) is None] or list(pairs)


def _listed(pairs: Iterable[_Pair]) -> str:
    return " ; ".join(map(str, pairs))


def _matched(
    key: object, certificate: x509.Certificate | None, path: Path
) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """Return a key and its certificate, or say what is missing or wrong."""
    if key is None:
        raise KeyUnusableError(
            f"Le fichier {path} ne contient pas de clé privée : il ne peut pas signer. "
            "Exportez à nouveau le certificat avec sa clé privée."
        )
    if certificate is None:
        raise KeyUnusableError(
            f"Le fichier {path} ne contient pas le certificat de sa clé. "
            "Exportez à nouveau la clé avec son certificat."
        )
    _check_certificate(certificate, f"le fichier {path}")
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise KeyUnusableError(
            f"La clé du fichier {path} n’est pas celle du certificat « {name_of(certificate)} ». "
            "Donnez la clé et le certificat qui vont ensemble."
        )
    return key, certificate


def _check_certificate(certificate: x509.Certificate, where: str) -> None:
    unfitness = _unfitness(certificate)
    if unfitness is not None:
        raise KeyUnusableError(
            f"Le certificat « {name_of(certificate)} », dans {where}, ne convient pas : {unfitness}. "
            "Choisissez un autre certificat de signature."
        )


def _unfitness(certificate: x509.Certificate) -> str | None:
    """Say why a certificate is not one to sign with; None when it is (5.7)."""
    try:
        key = readable(certificate).public_key()
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    except CertificateUnreadableError:
        return "une partie en est illisible, ou sa clé est d’une sorte inconnue"
    if not isinstance(key, rsa.RSAPublicKey):
        return "sa clé n’est pas une clé RSA, seule admise par Hélios"
    if key.key_size < RSA_BITS_MIN:
        return f"sa clé RSA n’a que {key.key_size} bits, et il en faut {RSA_BITS_MIN} au moins"
    if usage is not None and not (usage.content_commitment or usage.digital_signature):
        return "il n’est pas fait pour signer (usage de la clé)"
    return None


# --- What a card says ------------------------------------------------------------------------------------------


def _find_token(module: Path, token: str) -> pkcs11.Token:
    try:
        library = pkcs11.lib(str(module))
    except pkcs11.PKCS11Error:
        raise KeyUnusableError(
            f"Le module PKCS#11 {module} ne se charge pas : il n’existe pas, ou n’est pas une bibliothèque de carte "
            "pour cet ordinateur. Installez le logiciel de la carte, puis donnez le chemin de son module."
        ) from None
    with _speaking_of(token):
        found = list(library.get_tokens())
    named = [one for one in found if one.label == token]
    if len(named) > 1:
        raise KeyUnusableError(f"Plusieurs cartes s’appellent « {token} ». Ne laissez que celle qui doit signer.")
    if not named:
        present = ", ".join(f"« {one.label} »" for one in found if one.label)
        raise KeyUnusableError(
            f"La carte « {token} » n’est pas là"
            f"{f' : il y a {present}' if present else ', ni aucune autre'}. "
            "Insérez-la, ou vérifiez son nom, puis recommencez."
        )
    return named[0]


def _refuse_last_try(flags: pkcs11.TokenFlag, token: str) -> None:
    """Refuse to spend the last try of a PIN: a program that is wrong would lock the card."""
    if flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
        raise KeyUnusableError(_locked(token))
    if flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY:
        raise KeyUnusableError(
            f"Il ne reste qu’un essai avant que la carte « {token} » se bloque : le code PIN n’a pas été présenté. "
            "Présentez-le d’abord avec le logiciel de la carte ; s’il est juste, les essais vous sont rendus."
        )


def _locked(token: str) -> str:
    return (
        f"La carte « {token} » est bloquée : trop de codes PIN faux lui ont été présentés. "
        "Débloquez-la avec le logiciel de la carte, ou adressez-vous à qui vous l’a remise."
    )


def _asks_again(key: pkcs11.PrivateKey) -> bool:
    try:
        return bool(key[pkcs11.Attribute.ALWAYS_AUTHENTICATE])
    except (pkcs11.AttributeTypeInvalid, pkcs11.FunctionFailed):
        return False  # older than the attribute (PKCS#11 2.20)


def _close(session: pkcs11.Session) -> None:
    with suppress(pkcs11.PKCS11Error):  # the card may be gone, and its session with it
        session.close()


_WRONG_PIN = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange)
_GONE = (
    pkcs11.DeviceRemoved,
    pkcs11.KeyHandleInvalid,
    pkcs11.ObjectHandleInvalid,
    pkcs11.SessionClosed,
    pkcs11.SessionHandleInvalid,
    pkcs11.SlotIDInvalid,
    pkcs11.TokenNotPresent,
    pkcs11.TokenNotRecognised,
    pkcs11.UserNotLoggedIn,
)


@contextmanager
def _speaking_of(token: str) -> Iterator[None]:
    """Turn what a card answers into a sentence for its holder."""
    try:
        yield
    except pkcs11.PKCS11Error as error:
        raise KeyUnusableError(_sentence(error, token)) from error


def _sentence(error: pkcs11.PKCS11Error, token: str) -> str:
    if isinstance(error, _WRONG_PIN):
        return (
            f"La carte « {token} » refuse le code PIN. Ne recommencez pas sans avoir vérifié ce code : "
            "après quelques essais faux, la carte se bloque."
        )
    if isinstance(error, pkcs11.PinLocked):
        return _locked(token)
    if isinstance(error, pkcs11.PinExpired | pkcs11.UserPinNotInitialized):
        return (
            f"Le code PIN de la carte « {token} » n’a pas été choisi, ou a expiré. "
            "Choisissez-en un avec le logiciel de la carte."
        )
    if isinstance(error, pkcs11.UserAlreadyLoggedIn):
        return f"La carte « {token} » est déjà ouverte par ce programme. Fermez-la, puis recommencez."
    if isinstance(error, _GONE):
        return f"La carte « {token} » ne répond plus : elle a été retirée. Insérez-la à nouveau, puis recommencez."
    return (
        f"La carte « {token} » refuse de travailler ({type(error).__name__}). Retirez-la, insérez-la à nouveau, "
        "puis recommencez ; si cela dure, adressez-vous à qui vous l’a remise."
    )


def _read(path: Path, bytes_max: int, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except FileNotFoundError:
        raise KeyUnusableError(f"{what} {path} n’existe pas. Vérifiez son chemin.") from None
    except OSError as error:
        raise KeyUnusableError(f"{what} {path} ne peut pas être lu ({error.strerror}).") from error
    if len(content) > bytes_max:
        raise KeyUnusableError(f"{what} {path} est trop grand pour en être un. Vérifiez son chemin.")
    return content

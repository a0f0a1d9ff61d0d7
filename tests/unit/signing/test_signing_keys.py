"""The keys of signatories that are in files, and `heliotrope signature sign`, which uses them offline."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from typer.testing import CliRunner, Result

from cli.main import app
from pes.sample import SampleSpec, build_sample
from signing import keys
from signing.keys import (
    KeyUnusableError,
    P12Key,
    PemKey,
    Pkcs11Key,
    is_open_to_others,
    read_secret,
)
from tests.pki import Holder, ec_key, issue, rsa_key, usage
from tests.signing import verify_both, verify_with_xmlsec

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)
PASSWORD = "Brumeval-2026!"
SAMPLE = build_sample(SampleSpec(depense_bordereaux=2, recette_bordereaux=1))


def holder(**options: Any) -> Holder:
    key = options.pop("key", None) or rsa_key(3)
    return issue("Signataire d'essai", key, **({"begin": NOW - YEAR, "end": NOW + YEAR} | options))


def write_p12(path: Path, who: Holder | None, *, has_key: bool = True, certificate: Holder | None = None) -> Path:
    """Write a PKCS#12 file; `certificate` replaces that of its key, or stands alone."""
    named = certificate or who
    content = serialize_key_and_certificates(
        b"essai",
        who.key if who and has_key else None,
        named.certificate if named else None,
        None,
        BestAvailableEncryption(PASSWORD.encode()),
    )
    path.write_bytes(content)
    return path


def private_file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


# --- PKCS#12 and PEM ---------------------------------------------------------------------------------------------


def test_the_key_of_a_p12_signs_what_its_certificate_verifies(tmp_path: Path) -> None:
    who = holder()
    with P12Key.from_file(write_p12(tmp_path / "k.p12", who), PASSWORD.encode()) as key:
        value = key.sign(b"to sign")
        public = key.certificate.public_key()
    assert key.certificate == who.certificate
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(value, b"to sign", padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("password", ["", "brumeval-2026!", PASSWORD + "\n"])
def test_a_wrong_password_is_said_and_never_repeated(tmp_path: Path, password: str) -> None:
    path = write_p12(tmp_path / "k.p12", holder())
    with pytest.raises(KeyUnusableError, match="le mot de passe n’est pas le bon") as caught:
        P12Key.from_file(path, password.encode())
    assert PASSWORD not in str(caught.value)
    assert not password or password not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_no_p12_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k.p12").write_bytes(b"no PKCS#12")
    with pytest.raises(KeyUnusableError, match=r"pas un fichier PKCS#12"):
        P12Key.from_file(tmp_path / "k.p12", b"x")


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusableError, match="n’existe pas"):
        P12Key.from_file(tmp_path / "absent.p12", b"x")
    (tmp_path / "huge.p12").write_bytes(bytes(keys.FILE_BYTES_MAX + 1))
    with pytest.raises(KeyUnusableError, match="trop grand"):
        P12Key.from_file(tmp_path / "huge.p12", b"x")
    with pytest.raises(KeyUnusableError, match="ne peut pas être lu"):
        P12Key.from_file(tmp_path, b"x")


def test_a_p12_needs_a_key_and_its_certificate(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusableError, match="pas de clé privée"):
        P12Key.from_file(write_p12(tmp_path / "a.p12", holder(), has_key=False), PASSWORD.encode())
    bare = serialize_key_and_certificates(
        b"essai", rsa_key(3), None, None, BestAvailableEncryption(PASSWORD.encode())
    )
    (tmp_path / "b.p12").write_bytes(bare)
    with pytest.raises(KeyUnusableError, match="pas le certificat de sa clé"):
        P12Key.from_file(tmp_path / "b.p12", PASSWORD.encode())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"key": ec_key()}, "n’est pas une clé RSA"),
        ({"key": rsa_key(9, bits=1024)}, "n’a que 1024 bits"),
        ({"key_usage": usage(key_encipherment=True)}, "pas fait pour signer"),
    ],
)
def test_a_certificate_that_helios_would_refuse_is_refused_at_once(
    tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    path = write_p12(tmp_path / "k.p12", holder(**options))
    with pytest.raises(KeyUnusableError, match=why):
        P12Key.from_file(path, PASSWORD.encode())


def test_a_pem_key_signs_and_must_be_that_of_its_certificate(tmp_path: Path) -> None:
    who = holder()
    pem = who.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "k.key").write_bytes(pem)
    (tmp_path / "k.pem").write_bytes(who.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "other.pem").write_bytes(holder(key=rsa_key(4)).certificate.public_bytes(Encoding.PEM))
    assert len(PemKey.from_files(tmp_path / "k.key", tmp_path / "k.pem").sign(b"x")) == 256
    with pytest.raises(KeyUnusableError, match="n’est pas celle du certificat"):
        PemKey.from_files(tmp_path / "k.key", tmp_path / "other.pem")
    with pytest.raises(KeyUnusableError, match="ne contient pas de certificat PEM"):
        PemKey.from_files(tmp_path / "k.key", tmp_path / "k.key")
    with pytest.raises(KeyUnusableError, match="ne contient pas une clé privée PEM"):
        PemKey.from_files(tmp_path / "k.pem", tmp_path / "k.pem")


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    for number, content in enumerate([b"1234", b"1234\n", b"1234\r\n", b"1234\nnote\n"]):
        path = tmp_path / f"pin{number}"
        path.write_bytes(content)
        assert read_secret(path) == b"1234"
    (tmp_path / "empty").write_bytes(b"\n1234")
    with pytest.raises(KeyUnusableError, match="première ligne est vide"):
        read_secret(tmp_path / "empty")


def test_a_file_that_others_may_read_is_told_apart(tmp_path: Path) -> None:
    path = private_file(tmp_path / "pin", "1234")
    assert not is_open_to_others(path)
    path.chmod(0o640)
    assert is_open_to_others(path)


# --- What a card says, without a card ----------------------------------------------------------------------------


def test_the_last_try_of_a_pin_is_never_spent() -> None:
    with pytest.raises(KeyUnusableError, match="Il ne reste qu’un essai"):
        keys._refuse_last_try(pkcs11.TokenFlag.USER_PIN_FINAL_TRY, "Carte")
    with pytest.raises(KeyUnusableError, match="est bloquée"):
        keys._refuse_last_try(pkcs11.TokenFlag.USER_PIN_LOCKED, "Carte")
    keys._refuse_last_try(pkcs11.TokenFlag.USER_PIN_COUNT_LOW, "Carte")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (pkcs11.DeviceRemoved, "a été retirée"),
        (pkcs11.TokenNotPresent, "a été retirée"),
        (pkcs11.SessionHandleInvalid, "a été retirée"),
        (pkcs11.PinIncorrect, "la carte se bloque"),
        (pkcs11.PinLocked, "est bloquée"),
        (pkcs11.PinExpired, "a expiré"),
        (pkcs11.GeneralError, "GeneralError"),
    ],
)
def test_whatever_a_card_answers_is_a_sentence_for_its_holder(
    answer: type[pkcs11.PKCS11Error], sentence: str
) -> None:
    with pytest.raises(KeyUnusableError, match=sentence), keys._speaking_of("Carte"):
        raise answer


@pytest.mark.parametrize("module", ["absent.so", "text.so"])
def test_a_module_that_cannot_be_loaded_is_refused(tmp_path: Path, module: str) -> None:
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(KeyUnusableError, match="ne se charge pas"):
        Pkcs11Key.open(tmp_path / module, "Carte", "1234")


# --- heliotrope signature sign -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class OfflineSigning:
    """A folder with a flux, a key and its password."""

    folder: Path

    def sign(self, *more: object, **names: str) -> Result:
        given = {"p12": "k.p12", "password-file": "password", "output": "out.xml"} | names
        options = [part for name, value in given.items() for part in (f"--{name}", str(self.folder / value))]
        return CliRunner().invoke(app, ["signature", "sign", str(self.folder / "in.xml"), *options, *map(str, more)])

    @property
    def out(self) -> Path:
        return self.folder / "out.xml"


@pytest.fixture
def offline(tmp_path: Path) -> OfflineSigning:
    (tmp_path / "in.xml").write_bytes(SAMPLE)
    private_file(tmp_path / "password", PASSWORD + "\n")
    write_p12(tmp_path / "k.p12", holder())
    return OfflineSigning(tmp_path)


def test_a_signed_file_verifies_and_holds_every_byte_of_the_first(offline: OfflineSigning) -> None:
    done = offline.sign("--role", "Maire", "--city", "Brumeval", "--postal-code", "34998")
    assert done.exit_code == 0, done.output
    signed = offline.out.read_bytes()
    assert verify_with_xmlsec(signed) == 3
    assert [one.claimed_role for one in verify_both(signed)] == ["Maire"] * 3
    assert len(signed) > len(SAMPLE)
    assert "Signé : le bordereau « D" in done.stdout
    assert "Signataire d'essai" in done.stdout
    assert (offline.folder / "in.xml").read_bytes() == SAMPLE
    assert sorted(one.name for one in offline.folder.iterdir()) == ["in.xml", "k.p12", "out.xml", "password"]


def test_with_json_the_answer_names_what_was_signed_and_by_whom(offline: OfflineSigning) -> None:
    told = json.loads(offline.sign("--json").stdout)
    assert told["file"] == str(offline.folder / "in.xml")
    assert told["output"] == str(offline.out)
    assert told["signer"] == "CN=Signataire d'essai,C=FR"
    assert told["elements"] == [one.element_id for one in verify_both(offline.out.read_bytes())]
    assert datetime.fromisoformat(told["signing_time"]) >= NOW.replace(microsecond=0)
    assert datetime.fromisoformat(told["certificate_until"]) == (NOW + YEAR).replace(microsecond=0)


def test_only_what_is_not_signed_yet_is_signed(offline: OfflineSigning) -> None:
    offline.sign()
    (offline.folder / "in.xml").write_bytes(offline.out.read_bytes())
    done = offline.sign(output="again.xml")
    assert done.exit_code == 1
    assert "Tout est déjà signé" in done.stderr
    assert not (offline.folder / "again.xml").exists()


def test_a_file_whose_other_signature_is_broken_is_not_written(offline: OfflineSigning) -> None:
    offline.sign()
    halves = offline.out.read_bytes().split(b"<ds:Signature ")
    first_only = (
        halves[0]
        + b"<ds:Signature "
        + halves[1]
        + b"".join(half.split(b"</ds:Signature>", 1)[1] for half in halves[2:])
    )
    (offline.folder / "in.xml").write_bytes(first_only.replace(b'<NbrPce V="2"/>', b'<NbrPce V="3"/>', 1))
    done = offline.sign("--json", output="again.xml")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"][0]["severity"] == "blocking"
    assert not (offline.folder / "again.xml").exists()


def test_nothing_is_overwritten_unless_asked(offline: OfflineSigning) -> None:
    offline.out.write_text("precious")
    refused = offline.sign()
    assert (refused.exit_code, offline.out.read_text()) == (1, "precious")
    assert "--force" in refused.stderr
    assert offline.sign("--force").exit_code == 0
    assert verify_with_xmlsec(offline.out.read_bytes()) == 3


def test_the_file_to_sign_is_never_replaced(offline: OfflineSigning) -> None:
    (offline.folder / "link.xml").hardlink_to(offline.folder / "in.xml")
    for name in ("in.xml", "link.xml"):
        assert offline.sign("--force", output=name).exit_code == 1
    assert (offline.folder / "in.xml").read_bytes() == SAMPLE


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--p12", "k.p12"],
        ["--password-file", "p"],
        ["--pkcs11", "m.so", "--token", "T"],
        ["--pkcs11", "m.so", "--pin-file", "p"],
        ["--p12", "k.p12", "--password-file", "p", "--pkcs11", "m.so", "--token", "T", "--pin-file", "p"],
        ["--p12", "k.p12", "--password-file", "p", "--token", "T"],
        ["--p12", "k.p12", "--password-file", "p", "--certificate", "C"],
    ],
)
def test_a_key_that_is_named_badly_is_a_mistake(tmp_path: Path, options: list[str]) -> None:
    done = CliRunner().invoke(app, ["signature", "sign", "in.xml", "-o", str(tmp_path / "out.xml"), *options])
    assert done.exit_code == 2
    assert "Clé mal désignée" in done.stderr


def test_a_file_that_cannot_be_read_is_a_mistake(offline: OfflineSigning) -> None:
    (offline.folder / "in.xml").unlink()
    done = offline.sign()
    assert (done.exit_code, "Fichier illisible" in done.stderr) == (2, True)


def test_what_cannot_be_signed_is_refused_and_nothing_is_written(offline: OfflineSigning) -> None:
    (offline.folder / "in.xml").write_bytes(b"<a/>")
    done = offline.sign("--json")
    assert done.exit_code == 1
    assert "PES Aller" in json.loads(done.stdout)["detail"]
    assert not offline.out.exists()


def test_a_wrong_password_is_refused_without_being_shown(offline: OfflineSigning) -> None:
    private_file(offline.folder / "password", "Wrong-secret-1")
    done = offline.sign()
    assert done.exit_code == 1
    assert "mot de passe" in done.stderr
    assert "Wrong-secret-1" not in done.output


def test_an_expired_certificate_signs_nothing(offline: OfflineSigning) -> None:
    write_p12(offline.folder / "k.p12", holder(end=NOW - timedelta(days=1)))
    done = offline.sign()
    assert (done.exit_code, offline.out.exists()) == (1, False)
    assert "valable du" in done.stderr


def test_a_certificate_that_expires_soon_is_announced(offline: OfflineSigning) -> None:
    assert "Attention" not in offline.sign().stderr
    write_p12(offline.folder / "k.p12", holder(end=NOW + timedelta(days=89, hours=12)))
    assert "expire dans 89 jours" in offline.sign("--force").stderr


def test_a_password_that_other_accounts_may_read_is_announced(offline: OfflineSigning) -> None:
    (offline.folder / "password").chmod(0o644)
    done = offline.sign()
    assert (done.exit_code, "chmod 600" in done.stderr) == (0, True)

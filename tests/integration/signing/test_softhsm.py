"""Signing with a card: SoftHSM2, through the module that a card's maker would give, each time in a process apart."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from pes.sample import SampleSpec, build_sample
from tests.pki import Holder, ec_key, issue, rsa_key, usage
from tests.real.softhsm import PIN, PROJECT, TOKEN, Card, Held, make_card, run_apart
from tests.signing import Key, verify_both, verify_with_xmlsec

pytestmark = pytest.mark.softhsm

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)


def holder(name: str = "Signataire d'essai", key: Key | None = None) -> Holder:
    return issue(name, key or rsa_key(3), begin=NOW - YEAR, end=NOW + YEAR)


def held(label: str, who: Holder, *, asks_again: bool = False) -> Held:
    return Held(label, who.certificate, who.key, asks_again)


def sign(
    card: Card, folder: Path, *more: str, token: str = TOKEN, pin: str = PIN, module: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `heliotrope signature sign` on a flux of three bordereaux."""
    (folder / "in.xml").write_bytes(build_sample(SampleSpec(depense_bordereaux=2, recette_bordereaux=1)))
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(pin)
    options = ["--pkcs11", module or str(card.module), "--token", token, "--pin-file", str(folder / "pin")]
    command = ["signature", "sign", str(folder / "in.xml"), "-o", str(folder / "out.xml"), *options, *more]
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *command],
        env=card.environ,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """Return what a refusal says; it holds no PIN, and no file was written."""
    assert done.returncode == 1, done.stderr
    assert not (folder / "out.xml").exists()
    assert "Traceback" not in done.stderr
    return re.sub(r"\s+", " ", done.stderr)


@pytest.mark.parametrize("asks_again", [False, True])
def test_what_a_card_signs_verifies_with_other_programs(tmp_path: Path, *, asks_again: bool) -> None:
    who = holder()
    card = make_card(tmp_path / "card", held("Signature", who, asks_again=asks_again))
    done = sign(card, tmp_path)
    assert done.returncode == 0, done.stderr
    signed = (tmp_path / "out.xml").read_bytes()
    assert verify_with_xmlsec(signed) == 3
    assert {one.certificate for one in verify_both(signed)} == {who.certificate}


def test_a_card_that_does_not_digest_by_itself_signs_too(tmp_path: Path) -> None:
    card = make_card(tmp_path / "card", held("Signature", holder()), mechanisms="CKM_RSA_PKCS")
    assert sign(card, tmp_path).returncode == 0
    assert verify_with_xmlsec((tmp_path / "out.xml").read_bytes()) == 3


def test_a_wrong_pin_is_said_once_with_a_warning_and_never_repeated(tmp_path: Path) -> None:
    card = make_card(tmp_path / "card", held("Signature", holder()))
    said = refused(sign(card, tmp_path, pin="980417"), tmp_path)
    assert "refuse le code PIN" in said
    assert "la carte se bloque" in said
    assert "980417" not in said


def test_an_absent_card_is_said_with_those_that_are_there(tmp_path: Path) -> None:
    card = make_card(tmp_path / "card", held("Signature", holder()))
    said = refused(sign(card, tmp_path, token="Autre carte"), tmp_path)
    assert f"« Autre carte » n’est pas là : il y a « {TOKEN} »" in said


def test_an_absent_module_is_said(tmp_path: Path) -> None:
    card = make_card(tmp_path / "card", held("Signature", holder()))
    assert "ne se charge pas" in refused(sign(card, tmp_path, module=str(tmp_path / "absent.so")), tmp_path)


def test_of_two_certificates_one_must_be_named(tmp_path: Path) -> None:
    maire, adjointe = holder("Maire d'essai"), holder("Adjointe d'essai", rsa_key(4))
    card = make_card(tmp_path / "card", held("Maire", maire), held("Adjointe", adjointe))
    said = refused(sign(card, tmp_path), tmp_path)
    fingerprint = adjointe.certificate.fingerprint(hashes.SHA256()).hex()
    assert all(one in said for one in ("« Maire »", "« Adjointe »", "Maire d'essai", fingerprint, "--certificate"))
    assert "n’a pas de certificat « Trésorier »" in refused(
        sign(card, tmp_path, "--certificate", "Trésorier"), tmp_path
    )
    for number, named in enumerate(("Adjointe", fingerprint.upper(), ":".join(re.findall("..", fingerprint)))):
        done = sign(card, tmp_path, "--certificate", named, *(["--force"] if number else []))
        assert done.returncode == 0, done.stderr
        assert {one.certificate for one in verify_both((tmp_path / "out.xml").read_bytes())} == {adjointe.certificate}


def test_a_certificate_that_cannot_sign_is_not_counted(tmp_path: Path) -> None:
    who = holder()
    cipher = issue(
        "Chiffrement", rsa_key(4), begin=NOW - YEAR, end=NOW + YEAR, key_usage=usage(key_encipherment=True)
    )
    card = make_card(tmp_path / "card", held("Chiffrement", cipher), held("Signature", who))
    assert sign(card, tmp_path).returncode == 0
    assert {one.certificate for one in verify_both((tmp_path / "out.xml").read_bytes())} == {who.certificate}


def test_a_card_says_what_it_lacks(tmp_path: Path) -> None:
    who = holder()
    cases = {
        "ne contient aucun certificat :": [Held("Signature", None, who.key)],
        "ne contient aucune clé privée": [Held("Signature", who.certificate, None)],
        "dont la clé privée soit présente": [Held("A", who.certificate, None), Held("B", None, rsa_key(4))],
        "n’est pas une clé RSA": [held("Signature", holder(key=ec_key()))],
        "n’a que 1024 bits": [held("Signature", holder(key=rsa_key(9, bits=1024)))],
        "signe avec une autre clé que celle de son certificat": [Held("Signature", who.certificate, rsa_key(4))],
    }
    for number, (sentence, contents) in enumerate(cases.items()):
        card = make_card(tmp_path / str(number), *contents)
        assert sentence in refused(sign(card, tmp_path), tmp_path)


def test_a_card_that_was_closed_signs_nothing_more_and_says_so(tmp_path: Path) -> None:
    card = make_card(tmp_path / "card", held("Signature", holder()))
    script = """
import sys
from pathlib import Path
from signing.keys import KeyUnusableError, Pkcs11Key
with Pkcs11Key.open(Path(sys.argv[1]), sys.argv[2], sys.argv[3]) as key:
    print(len(key.sign(b"x")), sys.argv[3] in repr(key))
    try:
        Pkcs11Key.open(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    except KeyUnusableError as error:
        print(error)
try:
    key.sign(b"x")
except KeyUnusableError as error:
    print(error)
with Pkcs11Key.open(Path(sys.argv[1]), sys.argv[2], sys.argv[3]) as key:
    print(len(key.sign(b"x")))
"""
    done = run_apart(card, script, card.module, TOKEN, PIN)
    assert done.returncode == 0, done.stderr
    first, again, closed, last = done.stdout.splitlines()
    assert (first, last) == ("256 False", "256")
    assert "déjà ouverte" in again
    assert "retirée" in closed


def test_a_key_on_a_card_signs_from_several_threads(tmp_path: Path) -> None:
    card = make_card(tmp_path / "card", held("Signature", holder()))
    script = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signing.keys import Pkcs11Key
with Pkcs11Key.open(Path(sys.argv[1]), sys.argv[2], sys.argv[3]) as key, ThreadPoolExecutor(8) as threads:
    print(len(set(threads.map(key.sign, [b"%d" % number for number in range(200)]))))
"""
    done = run_apart(card, script, card.module, TOKEN, PIN)
    assert done.stdout.strip() == "200", done.stderr

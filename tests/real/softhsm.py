"""A real PKCS#11 card without the plastic: SoftHSM2, with a token in a folder of the test's own.

SoftHSM reads where its tokens are when it is loaded, so whatever uses a card runs in a process of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.real.missing import missing
from tests.signing import Key

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib/pkcs11/libsofthsm2.so")
TOKEN, PIN = "Carte d'essai", "73519"
PROJECT = Path(__file__).parents[2]
# Runs apart: reads on its standard input the objects to put on the token.
_FILL = """
import json, sys
from base64 import b64decode
import pkcs11
from pkcs11.util.ec import decode_ec_private_key
from pkcs11.util.rsa import decode_rsa_private_key
A = pkcs11.Attribute
order = json.load(sys.stdin)
token = next(one for one in pkcs11.lib(order["module"]).get_tokens() if one.label == order["token"])
with token.open(user_pin=order["pin"], rw=True) as session:
    for held in order["held"]:
        name = {A.TOKEN: True, A.LABEL: held["label"], A.ID: bytes([held["id"]])}
        if held["key"]:
            decode = {"rsa": decode_rsa_private_key, "ec": decode_ec_private_key}[held["kind"]]
            more = {A.PRIVATE: True, A.SENSITIVE: True, A.SIGN: True, A.ALWAYS_AUTHENTICATE: held["asks_again"]}
            session.create_object(decode(b64decode(held["key"])) | name | more)
        if held["certificate"]:
            kind = {A.CLASS: pkcs11.ObjectClass.CERTIFICATE, A.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509}
            parts = {part: b64decode(held[part.name.lower()]) for part in (A.SUBJECT, A.VALUE)}
            session.create_object(kind | name | parts)
"""


@dataclass(frozen=True)
class Held:
    """What a card holds under one CKA_ID."""

    label: str
    certificate: x509.Certificate | None
    key: Key | None
    asks_again: bool = False
    """The card wants its PIN for each signature (CKA_ALWAYS_AUTHENTICATE)."""


@dataclass(frozen=True)
class Card:
    """A token that is filled."""

    module: Path
    configuration: Path

    @property
    def environ(self) -> Mapping[str, str]:
        """Return the environment in which a process finds it."""
        return {**os.environ, "SOFTHSM2_CONF": str(self.configuration)}


def find_softhsm() -> Path:
    """Return the module; without it, skip the test, or fail it where nothing may be skipped (CI)."""
    found = next((Path(one) for one in MODULES if Path(one).is_file()), None)
    if found is None or not shutil.which("softhsm2-util"):
        missing("SoftHSM2 is not installed (Debian: softhsm2)")
    return found


def make_card(folder: Path, *held: Held, mechanisms: str = "ALL") -> Card:
    """Make a token that holds these, and can do no more than these mechanisms."""
    module = find_softhsm()
    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    card = Card(module, folder / "softhsm2.conf")
    card.configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        f"slots.mechanisms = {mechanisms}\n"
    )
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--so-pin", "83519024", "--pin", PIN],
        env=card.environ,
        check=True,
        capture_output=True,
        timeout=60,
    )
    order = {"module": str(module), "token": TOKEN, "pin": PIN, "held": list(map(_ordered, range(1, 99), held))}
    run_apart(card, _FILL, stdin=json.dumps(order)).check_returncode()
    return card


def run_apart(card: Card, script: str, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script in a process that finds the card."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=card.environ,
        cwd=PROJECT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _ordered(number: int, held: Held) -> dict[str, Any]:
    certificate, key = held.certificate, held.key
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()) if key else b""
    return {
        "id": number,
        "label": held.label,
        "kind": "rsa" if is_rsa else "ec",
        "asks_again": held.asks_again,
        "key": b64encode(der).decode(),
        "certificate": certificate is not None,
        "subject": b64encode(certificate.subject.public_bytes()).decode() if certificate else "",
        "value": b64encode(certificate.public_bytes(Encoding.DER)).decode() if certificate else "",
    }

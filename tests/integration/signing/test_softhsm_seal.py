"""The seal on a token: the service's own settings, its own wiring, a token that never gives its key away."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.pki import Holder, issue, root, rsa_key, write_trust
from tests.real.platform import sample
from tests.real.softhsm import PIN, PROJECT, TOKEN, Card, Held, make_card
from tests.signing import verify_both, verify_with_xmlsec

pytestmark = pytest.mark.softhsm

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)
# What `services.signature` does with its settings, on one file.
_SEAL = """
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from services.signature.__main__ import seal_of
from signing.outline import targets
from services.signature.settings import Settings
with ExitStack() as keys:
    seal = seal_of(Settings(), keys)
    document = Path(sys.argv[1]).read_bytes()
    sys.stdout.buffer.write(seal.sign(document, targets(document), datetime.now(UTC)))
"""


def holder() -> Holder:
    return issue("Cachet de la commune", rsa_key(3), begin=NOW - YEAR, end=NOW + YEAR)


def environ(card: Card, folder: Path, **changes: str) -> dict[str, str]:
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(f"{PIN}\n")
    (folder / "jwks.json").write_text(json.dumps({"keys": []}))
    return {
        **card.environ,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1/none",
        "DOCUMENTS_URL": f"file://{folder}",
        "JWKS_FILE": str(folder / "jwks.json"),
        "TRUST_FOLDER": str(write_trust(folder / "trust", root())),
        "SEAL_PKCS11_MODULE": str(card.module),
        "SEAL_PKCS11_TOKEN": TOKEN,
        "SEAL_PKCS11_PIN_FILE": str(folder / "pin"),
        **changes,
    }


def run(settings: dict[str, str], *command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *command], env=settings, cwd=PROJECT, capture_output=True, timeout=60, check=False
    )


def test_a_seal_on_a_token_signs(tmp_path: Path) -> None:
    who = holder()
    card = make_card(tmp_path / "card", Held("Cachet", who.certificate, who.key))
    (tmp_path / "in.xml").write_bytes(sample(1, depense_bordereaux=2))
    command = ("-c", _SEAL, str(tmp_path / "in.xml"))
    done = run(environ(card, tmp_path), *command)
    assert done.returncode == 0, done.stderr.decode()
    assert {one.certificate for one in verify_both(done.stdout)} == {who.certificate}
    assert verify_with_xmlsec(done.stdout) == 2


def test_a_seal_that_cannot_be_opened_stops_the_start_and_says_why(tmp_path: Path) -> None:
    who = holder()
    card = make_card(tmp_path / "card", Held("Cachet", who.certificate, who.key))
    settings = environ(card, tmp_path, SEAL_PKCS11_TOKEN="Autre")
    done = run(settings, "-m", "services.signature")
    assert done.returncode == 2
    said = done.stderr.decode() + done.stdout.decode()
    assert "Autre" in said
    assert PIN not in said

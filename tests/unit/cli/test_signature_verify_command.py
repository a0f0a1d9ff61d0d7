"""`heliotrope signature verify`, with nothing running: what people read, what programs read, and how it ends."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

from cli.main import app
from pes.vocabulary import Finding, Where
from signing.xades import sign
from tests.parapheur import HeldKey
from tests.pki import Holder, crl, intermediate, issue, root, rsa_key, signer, write_trust
from tests.signing import GLOBAL, NOW, ONE, STATED, bordereau, flux

TWO = flux(depense=(bordereau(1), bordereau(2)))
CLEAN = (crl(root()), crl(intermediate()))
SIGNER = "CN=Signataire d'essai,C=FR"
FOR_SIGNATURE = {
    "id",
    "element",
    "is_global",
    "verdict",
    "signer",
    "signing_time",
    "form",
    "role",
    "policy",
    "certificate",
    "findings",
}


def signed(document: bytes, holder: Holder | None = None, at: datetime = NOW) -> bytes:
    return sign(document, key=HeldKey(holder or signer()), signing_time=at, stated=STATED)


def altered() -> bytes:
    """Return two signed bordereaux, the second changed since."""
    return signed(TWO).replace(b"Fournitures 2", b"Fournitures 9")


def wrapped() -> bytes:
    """Return a file where the signed bordereau is hidden in the attachments, and another shown in its place."""
    document = signed(ONE).decode("latin-1")
    held = re.search(r"<Bordereau.*</Bordereau>", document, re.DOTALL)
    assert held is not None
    shown = '<Bordereau Id="BORD1"><Obj V="detourne"/></Bordereau>'
    hidden = document.replace(held[0], shown).replace("<PES_PJ/>", f"<PES_PJ>{held[0]}</PES_PJ>")
    return hidden.encode("latin-1")


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    """A trust list that has the authorities of the tests, which revoked nobody."""
    return write_trust(tmp_path / "confiance", root(), intermediate(), crls=CLEAN)


@pytest.fixture
def pes(tmp_path: Path) -> Path:
    """A signed file."""
    return written(tmp_path, signed(ONE))


def written(folder: Path, content: bytes) -> Path:
    path = folder / "mandats.xml"
    path.write_bytes(content)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["signature", "verify", *map(str, arguments)], env={"HELIOTROPE_DATA": "/nowhere"})


def told(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Return the exit code, and what a program reads, which is one JSON document."""
    done = run(*arguments, "--json")
    return done.exit_code, dict(json.loads(done.stdout))


def codes(document: dict[str, Any], severity: str = "blocking") -> list[str]:
    """Return the codes of everything found."""
    every = [*document["findings"], *(finding for one in document["signatures"] for finding in one["findings"])]
    return [finding["code"] for finding in every if finding["severity"] == severity]


# --- What programs read ------------------------------------------------------------------------------------------


def test_a_program_reads_the_documented_members_and_no_other(pes: Path, trust: Path) -> None:
    code, document = told(pes, "--trust", trust)
    assert code == 0
    assert set(document) == {"file", "verdict", "classification", "findings", "signatures"}
    assert (document["file"], document["verdict"], document["classification"]) == (str(pes), "valid", "bordereaux")
    assert document["findings"] == []
    (one,) = document["signatures"]
    assert set(one) == FOR_SIGNATURE
    certificate = signer().certificate
    assert one == {
        "id": "BORD1_SIG_1",
        "element": "BORD1",
        "is_global": False,
        "verdict": "valid",
        "signer": SIGNER,
        "signing_time": "2026-03-02T09:30:15Z",
        "form": "xades-env-1.2.2-sha256",
        "role": STATED.role,
        "policy": "urn:oid:1.2.250.1.131.1.5.18.21.1.7",
        "certificate": {
            "issuer": "CN=Autorité fille d'essai,C=FR",
            "serial": str(certificate.serial_number),
            "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
            "valid_from": "2025-03-02T09:30:15Z",
            "valid_until": "2027-03-02T09:30:15Z",
        },
        "findings": [],
    }


def test_a_finding_has_the_form_of_those_of_controls(tmp_path: Path) -> None:
    code, document = told(written(tmp_path, altered()))
    assert code == 1
    (finding,) = [one for one in document["signatures"][1]["findings"] if one["severity"] == "blocking"]
    assert set(finding) == set(Finding.model_fields)
    assert set(finding["where"]) == set(Where.model_fields)
    assert (finding["code"], finding["where"]["bordereau"]) == ("signature.content", "BORD2")


def test_a_signature_of_the_whole_is_said_to_be_global(tmp_path: Path, trust: Path) -> None:
    code, document = told(written(tmp_path, signed(GLOBAL)), "--trust", trust)
    (one,) = document["signatures"]
    assert (code, one["element"], one["is_global"]) == (0, "FLUX1", True)
    assert document["classification"].startswith("globale-")


def test_only_the_altered_bordereau_is_invalid_and_the_other_holds(tmp_path: Path, trust: Path) -> None:
    code, document = told(written(tmp_path, altered()), "--trust", trust)
    assert (code, document["verdict"]) == (1, "invalid")
    assert [(one["element"], one["verdict"]) for one in document["signatures"]] == [
        ("BORD1", "valid"),
        ("BORD2", "invalid"),
    ]
    assert codes(document) == ["signature.content"]


def test_a_bordereau_without_signature_beside_a_signed_one_is_invalid(tmp_path: Path, trust: Path) -> None:
    one_signed = signed(ONE).replace(b"</Bordereau>", b'</Bordereau><Bordereau Id="BORD2"/>')
    code, document = told(written(tmp_path, one_signed), "--trust", trust)
    assert (code, document["classification"]) == (1, "incomplete")
    assert codes(document) == ["signature.incomplete"]


def test_a_wrapped_signature_is_invalid(tmp_path: Path, trust: Path) -> None:
    code, document = told(written(tmp_path, wrapped()), "--trust", trust)
    assert (code, document["verdict"]) == (1, "invalid")
    assert codes(document)


@pytest.mark.parametrize(
    "content", [b"", b"%PDF-1.7", b"<facture>", b'<!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>'], ids=repr
)
def test_what_is_not_readable_xml_is_invalid_and_named_so(tmp_path: Path, content: bytes) -> None:
    code, document = told(written(tmp_path, content))
    assert (code, document["verdict"], document["signatures"]) == (1, "invalid", [])
    assert codes(document) == ["signature.unreadable"]


def test_a_file_without_signature_ends_with_a_code_of_its_own(tmp_path: Path) -> None:
    code, document = told(written(tmp_path, ONE))
    assert (code, document["verdict"], document["classification"]) == (3, "unsigned", "unsigned")
    assert (document["signatures"], document["findings"]) == ([], [])


# --- Whom to trust -----------------------------------------------------------------------------------------------


def test_without_a_trust_list_a_warning_says_that_nobody_vouches(pes: Path) -> None:
    code, document = told(pes)
    assert (code, codes(document), codes(document, "warning")) == (0, [], ["signature.chain"])
    assert "personne ne répond" in document["signatures"][0]["findings"][0]["message"]


def test_a_signatory_of_another_authority_is_invalid(pes: Path, tmp_path: Path) -> None:
    other = issue("Autre autorité", rsa_key(5), is_authority=True)
    code, document = told(pes, "--trust", write_trust(tmp_path / "autre", other))
    assert (code, codes(document)) == (1, ["signature.chain"])


def test_a_signatory_that_was_revoked_is_invalid(pes: Path, tmp_path: Path) -> None:
    revoking = crl(intermediate(), [(signer(), datetime(2026, 2, 1, tzinfo=UTC), None)])
    folder = write_trust(tmp_path / "revocation", root(), intermediate(), crls=(*CLEAN, revoking))
    code, document = told(pes, "--trust", folder)
    assert (code, codes(document)) == (1, ["signature.revocation"])


def test_an_authority_without_revocation_list_is_a_warning(pes: Path, tmp_path: Path) -> None:
    code, document = told(pes, "--trust", write_trust(tmp_path / "sans", root(), intermediate()))
    assert (code, codes(document)) == (0, [])
    assert set(codes(document, "warning")) == {"signature.revocation"}


def test_a_trust_list_that_is_not_there_is_a_mistake_of_the_caller(pes: Path, tmp_path: Path) -> None:
    code, problem = told(pes, "--trust", tmp_path / "ailleurs")
    assert (code, problem["title"]) == (2, "Liste de confiance illisible")
    assert str(tmp_path / "ailleurs") in problem["detail"]


@pytest.mark.parametrize("name", ["autorite.pem", "autorite.der", "revoques.crl", "reponse.ocsp"])
def test_a_file_of_the_trust_list_that_cannot_be_read_is_named(pes: Path, trust: Path, name: str) -> None:
    (trust / name).write_bytes(b"Heliotrope")
    code, problem = told(pes, "--trust", trust)
    assert (code, problem["title"]) == (2, "Liste de confiance illisible")
    assert name in problem["detail"]


def test_a_certificate_that_is_no_authority_is_left_aside_and_said(pes: Path, trust: Path) -> None:
    (trust / "maire.pem").write_bytes(signer().certificate.public_bytes(Encoding.PEM))
    done = run(pes, "--trust", trust, "--json")
    assert done.exit_code == 0
    assert f"Ignoré : maire.pem : « {SIGNER} » n’est pas une autorité." in done.stderr
    assert json.loads(done.stdout)["verdict"] == "valid"


def test_a_trust_list_without_any_authority_is_said_and_trusts_nobody(pes: Path, tmp_path: Path) -> None:
    done = run(pes, "--trust", write_trust(tmp_path / "feuilles", signer()), "--json")
    assert (done.exit_code, codes(json.loads(done.stdout))) == (1, ["signature.chain"])
    assert "ne contient aucune autorité" in done.stderr


# --- Mistakes of the caller ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "reason"), [("absent.xml", "il n’existe pas"), (".", "c’est un dossier")])
def test_a_file_that_cannot_be_read_is_a_mistake_of_the_caller(tmp_path: Path, name: str, reason: str) -> None:
    code, problem = told(tmp_path / name)
    assert (code, problem["title"]) == (2, "Fichier illisible")
    assert reason in problem["detail"]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.commands.sending.signature.FILE_BYTES_MAX", 100)
    code, problem = told(written(tmp_path, ONE))
    assert (code, problem["title"]) == (2, "Fichier trop grand")


def test_a_command_without_file_is_badly_written() -> None:
    assert run().exit_code == 2


def test_a_disagreement_of_the_two_programs_is_refused(pes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one thing that cannot be had for real: signxml refusing what is good."""

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("signxml says no")

    monkeypatch.setattr("signxml.verifier.XMLVerifier.verify", refuse)
    code, problem = told(pes)
    assert (code, problem["title"]) == (1, "Les deux vérifications se contredisent")
    assert "Ne vous fiez pas à ce fichier" in problem["detail"]


# --- What people read ----------------------------------------------------------------------------------------------


def test_a_person_reads_who_signed_what_when_and_with_which_certificate(pes: Path, trust: Path) -> None:
    done = run(pes, "--trust", trust)
    assert (done.exit_code, done.stderr) == (0, "")
    serial = signer().certificate.serial_number
    issuer = "« Autorité fille d'essai »"
    assert done.stdout.splitlines() == [
        f"{pes} : signature des bordereaux ; signatures valides",
        "",
        "Valable : le bordereau « BORD1 » (signature BORD1_SIG_1)",
        f"  Signataire : {SIGNER}, {STATED.role}",
        "  Date : 02/03/2026 à 10:30:15 (heure de Paris)",
        f"  Certificat : {serial}, émis par {issuer}, valable du 02/03/2025 au 02/03/2027",
        "  Forme : xades-env-1.2.2-sha256",
    ]


def test_a_date_is_the_one_of_paris_in_summer_too(tmp_path: Path) -> None:
    evening = datetime(2025, 7, 1, 22, 30, 15, tzinfo=UTC)
    done = run(written(tmp_path, signed(ONE, at=evening)))
    assert "Date : 02/07/2025 à 00:30:15 (heure de Paris)" in done.stdout


def test_a_person_reads_why_a_signature_does_not_hold_and_what_to_do(tmp_path: Path, trust: Path) -> None:
    done = run(written(tmp_path, altered()), "--trust", trust)
    assert done.exit_code == 1
    first, second = done.stdout.split("\nValable : ")[1].split("\nNON VALABLE : ")
    assert first.startswith("le bordereau « BORD1 »")
    assert "Anomalie" not in first
    assert second.startswith("le bordereau « BORD2 » (signature BORD2_SIG_1)")
    for words in ("Anomalie bloquante : ", "Où : bordereau BORD2", "Qui peut agir : ordonnateur", "À faire : "):
        assert words in second
    assert "Code : signature.content" in second


def test_a_person_reads_why_a_signatory_is_not_trusted(pes: Path, tmp_path: Path) -> None:
    done = run(pes, "--trust", write_trust(tmp_path / "autre", issue("Autre", rsa_key(5), is_authority=True)))
    assert "signatures non valides" in done.stdout
    assert "NON VALABLE : le bordereau « BORD1 »" in done.stdout
    assert "Le certificat n’est pas digne de confiance" in done.stdout
    assert "Qui peut agir : hébergeur" in done.stdout


def test_a_person_reads_that_there_is_nothing_to_verify(tmp_path: Path) -> None:
    path = written(tmp_path, ONE)
    done = run(path)
    assert (done.exit_code, done.stdout) == (3, f"{path} : non signé ; signatures aucune\n")


def test_a_person_reads_that_the_whole_is_signed(tmp_path: Path) -> None:
    assert "Valable : le flux entier (signature FLUX1_SIG_1)" in run(written(tmp_path, signed(GLOBAL))).stdout


def test_markup_in_a_certificate_is_shown_as_it_is(tmp_path: Path) -> None:
    holder = issue("[bold]Camille[/bold]", rsa_key(3), intermediate())
    assert (
        f"Signataire : CN=[bold]Camille[/bold],C=FR, {STATED.role}\n"
        in run(written(tmp_path, signed(ONE, holder))).stdout
    )


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\nValable : le flux entier", "\u202e"], ids=repr)
def test_what_a_file_says_of_itself_commands_no_terminal_and_writes_no_line(tmp_path: Path, hostile: str) -> None:
    holder = issue(f"Camille{hostile}", rsa_key(3), intermediate())
    done = run(written(tmp_path, signed(ONE, holder)))
    assert [line for line in done.stdout.splitlines() if line.startswith("Valable")] == [
        "Valable : le bordereau « BORD1 » (signature BORD1_SIG_1)"
    ]
    assert hostile not in done.stdout


def test_a_mistake_is_told_to_people_beside_the_data(tmp_path: Path) -> None:
    done = run(tmp_path / "absent.xml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Erreur : Fichier illisible\n")

"""People sign on a whole platform, with the command line: a circuit, a mandate, a visa, a key that stays at home.

Each test acts for a collectivité of its own: circuits and mandates last, and the others are left as they were.
"""

import json
import subprocess
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.facts.flux import FluxSigned
from tests.real.platform import RunningPlatform, sample
from tests.signing import verify_both

PLACE = ("--city", "Brumeval-les-Étangs", "--postal-code", "34998")


@dataclass
class Commune:
    """A collectivité whose director approves and whose mayor signs, as its host set it up."""

    platform: RunningPlatform
    siret: str
    cod_col: str = "310"

    def __post_init__(self) -> None:
        """Register what its files name, set the circuit, and record the mayor's mandate."""
        self.siren = self.siret[:9]
        done(
            self.platform.heliotrope(
                *("collectivites", "identifiers", "add", "--collectivite", self.siren, "--reason", "adhésion"),
                *("--siret", self.siret, "--budget", f"034990/{self.cod_col}/00"),
            )
        )
        done(
            self.platform.heliotrope(
                *("circuits", "set", "--collectivite", self.siren, "--reason", "choix du conseil"),
                *("--step", "visa:amina=Visa de la directrice", "--step", "signature:camille"),
            )
        )
        self.mandate = document(
            self.platform.heliotrope(
                *("mandates", "add", "--collectivite", self.siren, "--person", "camille", "--json"),
                *("--name", "Camille Exemple, maire", "--act", "Délibération n° 2026-12"),
                *("--from", "2026-01-01T00:00", "--reason", "à la demande de la commune"),
            )
        )

    def person(self, subject: str, role: str) -> RunningPlatform:
        """Return the platform as somebody of the commune sees it."""
        told = self.platform.heliotrope("token", subject, "--role", f"{role}@{self.siren}", "--json")
        theirs = copy(self.platform)
        theirs.env = {**self.platform.env, "HELIOTROPE_TOKEN": str(document(told)["token"])}
        return theirs

    def imported(self, folder: Path, number: int) -> str:
        """Import a flux, and return its id once it waits."""
        path = folder / "mandats.xml"
        path.write_bytes(sample(number, siret=self.siret, cod_col=self.cod_col, depense_bordereaux=2))
        told = self.platform.heliotrope("flux", "import", str(path), "--collectivite", self.siren, "--json")
        flux_id = str(document(told)["flux_id"])
        assert self.platform.wait_for(flux_id, "to_sign")["state"] == "to_sign"
        return flux_id

    def sign(self, mayor: RunningPlatform, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Sign with the mayor's key, in a file."""
        pki = self.platform.folder.pki
        key = ("--p12", str(pki / "maire.p12"), "--password-file", str(pki / "maire.password"))
        return mayor.heliotrope("flux", "sign", *arguments, *key, *PLACE, "--role", "Maire", "--yes")


def done(command: subprocess.CompletedProcess[str]) -> str:
    """Return what a command that succeeded wrote."""
    assert command.returncode == 0, f"{command.args}\n{command.stdout}\n{command.stderr}"
    return command.stdout


def document(command: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what a command that succeeded printed, which is one JSON document."""
    return dict(json.loads(done(command)))


def test_a_flux_is_approved_signed_with_ones_own_key_and_acknowledged_until_the_mandate_ends(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    commune = Commune(platform, "09900007700018")
    director, mayor = commune.person("amina", "gestionnaire"), commune.person("camille", "signataire")
    flux_id = commune.imported(tmp_path, 31_001)

    too_early = commune.sign(mayor, flux_id)
    assert too_early.returncode == 1
    assert "attend le visa de amina" in too_early.stderr
    (pending,) = document(director.heliotrope("signature", "pending", "--json"))["flux"]
    assert (pending["flux_id"], pending["kind"]) == (flux_id, "visa")
    assert f"{flux_id} : visé" in done(director.heliotrope("flux", "visa", flux_id, "--comment", "Vu"))
    signed = done(commune.sign(mayor, "--all"))
    assert "2 bordereaux" in signed
    assert f"{flux_id} : signé" in signed

    assert platform.wait_for(flux_id, "acknowledged")["state"] == "acknowledged"
    told = done(mayor.heliotrope("flux", "circuit", flux_id))
    for words in ("Visa de la directrice", "amina", "Vu", "camille", "fait", "Acquitté"):
        assert words in told
    first, second = document(mayor.heliotrope("flux", "circuit", flux_id, "--json"))["steps"]
    assert [(step["status"], step["taken"][0]["by"]) for step in (first, second)] == [
        ("done", "amina"),
        ("done", "camille"),
    ]
    answer = platform.http.get(f"{platform.ports.url('history')}/v1/flux/{flux_id}/events").json()
    (fact,) = [FluxSigned.model_validate(one["data"]) for one in answer["events"] if one["kind"] == "flux.signed.v1"]
    assert [one.mandate and one.mandate.person for one in fact.signatures] == ["camille"] * 2
    received = platform.http.get(f"{platform.ports.url('signature')}/v1/flux/{flux_id}/document")
    assert [one.claimed_role for one in verify_both(received.content)] == ["Maire"] * 2
    assert platform.receipts()[fact.document.sha256] == 1

    done(platform.heliotrope("mandates", "end", str(commune.mandate["mandate_id"]), "--reason", "Démission"))
    other = commune.imported(tmp_path, 31_002)
    done(director.heliotrope("flux", "visa", other))
    refused = commune.sign(mayor, other)
    assert refused.returncode == 1
    assert "a pris fin" in refused.stderr
    assert f"{other} : rien n’est fait" in refused.stdout
    assert "bordereaux.signed.v1" not in platform.kinds(other)
    done(platform.heliotrope("flux", "cancel", other, "--reason", "Essai terminé"))

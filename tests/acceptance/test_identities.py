"""Who a collectivité is, on a whole platform, with the command line: refused, registered in one step, sent."""

import asyncio
import json
import subprocess
from dataclasses import replace
from pathlib import Path

from local.postgres.database import DATABASE
from local.postgres.server import LocalPostgres
from pes.sample import SampleSpec, build_sample, siret_of
from shared.journal.history import PostgresHistory
from shared.journal.postgres import Database
from tests.identities import open_collectivite
from tests.real.platform import RunningPlatform, until

SPEC = SampleSpec(number=32_001, siret=siret_of("099000085"), cod_col="320", is_dematerialised=False)
SIREN = SPEC.siret[:9]
REASON = ("--reason", "Adhésion au service")


def done(command: subprocess.CompletedProcess[str]) -> str:
    """Return what a command that succeeded said."""
    assert command.returncode == 0, f"{command.args}\n{command.stdout}\n{command.stderr}"
    return command.stdout + command.stderr


def imported(platform: RunningPlatform, folder: Path, spec: SampleSpec) -> tuple[str, str]:
    """Import a sample as a person does; return the flux, and what they were told."""
    path = folder / f"{spec.number}.xml"
    path.write_bytes(build_sample(spec))
    told = done(platform.heliotrope("flux", "import", str(path), "--collectivite", SIREN))
    listed = json.loads(platform.heliotrope("flux", "list", "--collectivite", SIREN, "--json").stdout)
    return str(listed["flux"][0]["flux_id"]), told


def test_a_flux_of_an_unknown_collectivite_passes_after_one_step(platform: RunningPlatform, tmp_path: Path) -> None:
    flux_id, told = imported(platform, tmp_path, SPEC)
    step = f"heliotrope collectivites identifiers add {flux_id}"
    assert step in told
    assert platform.wait_for(flux_id, "invalid")["state"] == "invalid"
    assert step in " ".join(done(platform.heliotrope("flux", "show", flux_id)).split())

    told = done(platform.heliotrope("collectivites", "identifiers", "add", flux_id, *REASON))
    assert "poste 034990, CodCol 320, CodBud 00" in told
    assert "est contrôlé de nouveau" in told
    done(platform.heliotrope("flux", "wait", flux_id, "--state", "acknowledged"))
    shown = done(platform.heliotrope("collectivites", "show", "--collectivite", SIREN))
    assert "Adhésion au service" in shown

    budget = ("--budget", "034990/320/00", "--collectivite", SIREN)
    assert "1 identifiant retiré" in done(
        platform.heliotrope("collectivites", "identifiers", "withdraw", *budget, "--reason", "Essai")
    )
    other, told = imported(platform, tmp_path, replace(SPEC, number=32_002))
    assert platform.wait_for(other, "invalid")["state"] == "invalid"
    seen = ("collectivites", "identifiers", "add", "--seen", "--collectivite", SIREN, *REASON)
    unseen = platform.heliotrope(*seen)  # nobody answers the question
    assert (unseen.returncode, "CodCol 320" in unseen.stderr) == (1, True)
    told = done(platform.heliotrope(*seen, "--yes"))
    assert "CodCol 320" in told
    assert "1 flux refusé pour cela seul est contrôlé de nouveau" in told
    assert platform.heliotrope(*seen, "--yes").returncode == 1  # nothing is left
    done(platform.heliotrope("flux", "wait", other, "--state", "acknowledged"))


def test_a_flux_passes_though_whoever_registered_was_stopped_before_looking_at_it(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    spec = replace(SPEC, number=32_004, siret=siret_of("099000119"), cod_col="322")
    path = tmp_path / "flux.xml"
    path.write_bytes(build_sample(spec))
    told = platform.heliotrope("flux", "import", str(path), "--collectivite", spec.siret[:9], "--json")
    flux_id = str(json.loads(done(told))["flux_id"])
    assert platform.wait_for(flux_id, "invalid")["state"] == "invalid"

    async def register() -> None:
        """Record what the API would, and nothing after it."""
        async with Database(LocalPostgres(platform.folder.postgres).dsn(DATABASE)) as database:
            await open_collectivite(PostgresHistory(database), spec)

    asyncio.run(register())
    until(lambda: "flux.identifiers-completed.v1" in platform.kinds(flux_id), 60)
    done(platform.heliotrope("flux", "wait", flux_id, "--state", "acknowledged"))


def test_the_budget_of_another_collectivite_is_refused(platform: RunningPlatform) -> None:
    asked = ("--collectivite", "099000093", "--budget", "034990/123/00", *REASON)
    refused = platform.heliotrope("collectivites", "identifiers", "add", *asked)
    assert refused.returncode == 1
    assert "Budget déjà enregistré" in refused.stderr


def test_flux_wait_while_the_collectivite_leaves_by_another_channel(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    spec = replace(SPEC, number=32_003, siret=siret_of("099000101"), cod_col="321")
    siren, path = spec.siret[:9], tmp_path / "flux.xml"
    path.write_bytes(build_sample(spec))
    where = ("--collectivite", siren, *REASON)
    done(
        platform.heliotrope(
            "collectivites", "identifiers", "add", "--siret", spec.siret, "--budget", "034990/321/00", *where
        )
    )
    done(platform.heliotrope("collectivites", "channel", "passtrans-ftp", *where))
    told = platform.heliotrope("flux", "import", str(path), "--collectivite", siren, "--json")
    flux_id = str(json.loads(done(told))["flux_id"])
    platform.wait_for(flux_id, "sending")
    assert "passtrans-ftp" in done(platform.heliotrope("flux", "show", flux_id))
    done(platform.heliotrope("collectivites", "channel", "passtrans-sftp", *where))
    assert platform.wait_for(flux_id, "acknowledged")["state"] == "acknowledged"

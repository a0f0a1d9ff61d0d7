"""One flux from import to acknowledgement, one to rejection, and what its people see of it: the command line."""

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from pes.reading.xml import parse
from services.simulator.acquit import DEPENSE, Element, write_acquit
from shared.runtime.files import write_whole
from tests.real.folders import lasting_folder
from tests.real.platform import COLLECTIVITE, RunningPlatform, run_platform, sample, until

NUMBERS = count(20_000)


@pytest.fixture
def pes(tmp_path: Path) -> Path:
    path = tmp_path / "mandats été.xml"
    path.write_bytes(sample(next(NUMBERS)))
    return path


def document(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """Return what a command printed, which is one JSON document."""
    return dict(json.loads(done.stdout))


def imported(platform: RunningPlatform, pes: Path, *options: str) -> str:
    done = platform.heliotrope("flux", "import", str(pes), "--json", *options)
    assert done.returncode == 0, done.stderr
    return str(document(done)["flux_id"])


@contextmanager
def answering(platform: RunningPlatform, reply: str) -> Iterator[None]:
    """Have the local Hélios answer in another way."""
    url = f"{platform.ports.url('simulator')}/v1/scenario"
    platform.http.put(url, json={"reply": reply}).raise_for_status()
    try:
        yield
    finally:
        platform.http.put(url, json={"reply": "ack"}).raise_for_status()


def test_a_flux_goes_from_import_to_acknowledgement_and_can_be_followed(platform: RunningPlatform, pes: Path) -> None:
    flux_id = imported(platform, pes)

    waited = platform.heliotrope("flux", "wait", flux_id, "--state", "acknowledged", "--timeout", "60", "--json")

    assert waited.returncode == 0, waited.stderr
    assert document(waited)["reached"] is True
    shown = document(platform.heliotrope("flux", "show", flux_id, "--json"))
    assert shown["state"] == "acknowledged"
    assert shown["filename"] == "mandats été.xml"
    assert shown["collectivite"] == COLLECTIVITE
    assert str(shown["nomfic"]).startswith("PESALR")
    assert (shown["sha256"], shown["size"]) == (hashlib.sha256(pes.read_bytes()).hexdigest(), pes.stat().st_size)
    assert platform.receipts()[shown["document"]["sha256"]] == 1  # type: ignore[index]
    for key in ("version", "cod_col", "cod_bud"):
        assert shown[key], key
    told = platform.heliotrope("flux", "events", flux_id).stdout
    for step in ("Fichier importé", "Contrôles passés", "Signé", "Déposé sur le serveur", "Acquitté par la DGFiP"):
        assert step in told
    assert "Acquitté" in platform.heliotrope("flux", "show", flux_id).stdout


def test_a_flux_can_be_seen_as_it_was(platform: RunningPlatform, pes: Path) -> None:
    flux_id = imported(platform, pes)
    platform.wait_for(flux_id, "acknowledged")
    answer = document(platform.heliotrope("flux", "events", flux_id, "--json"))
    events = answer["events"]
    assert isinstance(events, list)

    then = platform.heliotrope("flux", "show", flux_id, "--at", events[0]["occurred_at"], "--json")
    before = platform.heliotrope("flux", "show", flux_id, "--at", "2020-01-01T00:00:00Z", "--json")

    assert document(then)["state"] == "imported"
    assert before.returncode == 1
    assert document(before)["status"] == 404


def test_a_flux_that_is_held_leaves_when_it_is_asked_to(platform: RunningPlatform, pes: Path) -> None:
    flux_id = imported(platform, pes, "--hold")
    assert platform.heliotrope("flux", "wait", flux_id, "--state", "ready", "--timeout", "60").returncode == 0
    listed = document(platform.heliotrope("flux", "list", "--state", "ready", "--json"))
    assert flux_id in [row["flux_id"] for row in listed["flux"]]  # type: ignore[attr-defined]

    sent = platform.heliotrope("flux", "send", flux_id, "--json")

    assert sent.returncode == 0, sent.stderr
    assert platform.heliotrope("flux", "wait", flux_id, "--state", "acknowledged").returncode == 0


def test_a_flux_that_is_cancelled_never_leaves_and_may_be_imported_again(
    platform: RunningPlatform, pes: Path
) -> None:
    flux_id = imported(platform, pes, "--hold")
    platform.wait_for(flux_id, "ready")

    cancelled = platform.heliotrope("flux", "cancel", flux_id, "--reason", "Mauvais exercice")
    too_late = platform.heliotrope("flux", "send", flux_id, "--json")

    assert cancelled.returncode == 0, cancelled.stderr
    assert too_late.returncode == 1
    assert document(too_late)["status"] == 409
    assert imported(platform, pes) != flux_id


def test_the_same_file_is_refused_and_the_first_flux_is_named(platform: RunningPlatform, pes: Path) -> None:
    flux_id = imported(platform, pes)

    again = platform.heliotrope("flux", "import", str(pes), "--json")

    assert again.returncode == 1
    assert document(again)["flux_id"] == flux_id
    assert document(again)["status"] == 409
    assert flux_id in again.stderr


def test_several_files_are_imported_even_if_one_is_refused(platform: RunningPlatform, tmp_path: Path) -> None:
    good, bad, other = tmp_path / "good.xml", tmp_path / "bad.pdf", tmp_path / "other.xml"
    good.write_bytes(sample(next(NUMBERS)))
    bad.write_bytes(b"%PDF-1.7")
    other.write_bytes(sample(next(NUMBERS)))

    done = platform.heliotrope("flux", "import", *map(str, (good, bad, other)), "--json")

    assert done.returncode == 1
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer.get("status", 202) for answer in answers] == [202, 415, 202]


def test_the_same_import_with_the_same_key_is_done_once(platform: RunningPlatform, pes: Path) -> None:
    key = f"key-{time.time_ns()}"
    assert imported(platform, pes, "--idempotency-key", key) == imported(platform, pes, "--idempotency-key", key)


def test_an_import_may_wait_for_the_end_and_says_how_each_ended(platform: RunningPlatform, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.xml" for number in range(2)]
    for file in files:
        file.write_bytes(sample(next(NUMBERS)))
    done = platform.heliotrope("flux", "import", *map(str, files), "--wait", "--timeout", "60")
    assert done.returncode == 0, done.stderr
    assert [f"{file} : Le flux est : Acquitté" in done.stdout for file in files] == [True, True]


def test_a_wait_tells_a_bad_end_from_a_time_that_is_over(platform: RunningPlatform, pes: Path) -> None:
    with answering(platform, "nack"):
        flux_id = imported(platform, pes)
        rejected = platform.heliotrope("flux", "wait", flux_id, "--timeout", "60")
    assert rejected.returncode == 4
    assert "il ne sera plus : Acquitté" in rejected.stdout + rejected.stderr
    held = tmp_file(pes)
    waiting = imported(platform, held, "--hold")
    assert platform.heliotrope("flux", "wait", waiting, "--timeout", "1").returncode == 5


def tmp_file(beside: Path) -> Path:
    path = beside.with_name("autre.xml")
    path.write_bytes(sample(next(NUMBERS)))
    return path


def test_every_document_of_a_flux_is_had_by_its_role(platform: RunningPlatform, pes: Path, tmp_path: Path) -> None:
    flux_id = imported(platform, pes)
    platform.wait_for(flux_id, "acknowledged")
    listed = document(platform.heliotrope("flux", "documents", flux_id, "--json"))["items"]
    assert [one["role"] for one in listed] == ["imported", "signed", "transmitted", "reply"]  # type: ignore[attr-defined]
    for role, holds in (("imported", pes.read_bytes()), ("reply", b"PES_ACQUIT")):
        saved = tmp_path / role
        done = platform.heliotrope("flux", "document", flux_id, "--role", role, "-o", str(saved))
        assert done.returncode == 0, done.stderr
        assert holds in saved.read_bytes()
    digest = hashlib.sha256(pes.read_bytes()).hexdigest()
    found = document(platform.heliotrope("flux", "list", "--sha256", digest, "--json"))
    assert [one["flux_id"] for one in found["flux"]] == [flux_id]  # type: ignore[attr-defined]


def test_a_flux_that_dgfip_rejects_says_why(platform: RunningPlatform, pes: Path) -> None:
    with answering(platform, "nack"):
        flux_id = imported(platform, pes)
        waited = platform.heliotrope("flux", "wait", flux_id, "--state", "acknowledged", "--timeout", "60")

    assert waited.returncode == 4
    assert "il ne sera plus : Acquitté" in waited.stderr
    shown = platform.heliotrope("flux", "show", flux_id)
    assert "Rejeté" in shown.stdout
    assert "Rejet " in shown.stdout


def test_the_simulated_helios_answers_as_one_chooses_and_tells_what_it_received(
    platform: RunningPlatform, pes: Path
) -> None:
    try:
        chosen = platform.heliotrope("simulator", "scenario", "nack")
        assert "Scénario nack : tout est rejeté." in chosen.stdout + chosen.stderr
        flux_id = imported(platform, pes)
        assert platform.wait_for(flux_id, "rejected")["state"] == "rejected"
    finally:
        back = platform.heliotrope("simulator", "scenario", "ack", "--json")
    assert document(back) == {"reply": "ack", "delay_seconds": 0.0}
    digest = platform.flux(flux_id)["document"]["sha256"]  # type: ignore[index]
    assert document(platform.heliotrope("simulator", "receipts", "--sha256", digest, "--json"))["total"] == 1
    assert digest[:20] in platform.heliotrope("simulator", "receipts", "--sha256", digest).stdout.replace("\n", "")


def test_a_flux_that_is_partly_rejected_is_told_apart(platform: RunningPlatform) -> None:
    with answering(platform, "partial"):
        content = sample(next(NUMBERS), depense_bordereaux=2)
        flux_id = platform.send_until_taken(content, "")
        flux = platform.wait_for(flux_id, "partially_rejected")

    assert flux["state"] == "partially_rejected"
    assert flux["errors"]


def test_a_reply_under_another_name_is_linked_by_an_operator_and_ends_its_flux(
    platform: RunningPlatform, pes: Path
) -> None:
    with answering(platform, "silent"):
        flux_id = imported(platform, pes)
        nomfic = str(platform.wait_for(flux_id, "awaiting_ack")["nomfic"])
    mistyped = f"{nomfic[:-1]}X"
    renamed = parse(pes.read_bytes().replace(nomfic.encode(), mistyped.encode()))
    answer = write_acquit(renamed, "flux.xml", [Element(DEPENSE, number="100", exercice="2026")])
    write_whole(platform.folder.simulator / "sftp" / "sortie" / f"ACK-{mistyped}.xml", answer)

    def waiting() -> str | None:
        listed = document(platform.heliotrope("replies", "list", "--json"))["replies"]
        assert isinstance(listed, list)
        return next((str(one["reply_id"]) for one in listed if one["nomfic"] == mistyped), None)

    reply_id = until(waiting, 60)
    linked = platform.heliotrope("replies", "link", reply_id, "--flux", flux_id, "--reason", "NomFic ressaisi")
    assert linked.returncode == 0, linked.stderr
    platform.wait_for(flux_id, "acknowledged")
    told = platform.heliotrope("events", "--stream", reply_id).stdout
    for step in ("Réponse de la DGFiP reçue", "ne correspond à aucun flux", "Réponse rattachée au flux"):
        assert step in told
    assert "NomFic ressaisi" in platform.heliotrope("replies", "show", reply_id).stdout


def test_a_wait_ends_when_its_time_is_over(platform: RunningPlatform, pes: Path) -> None:
    with answering(platform, "silent"):
        flux_id = imported(platform, pes)
        done = platform.heliotrope("flux", "wait", flux_id, "--timeout", "1", "--json")

    assert done.returncode == 5
    assert document(done)["reached"] is False


def test_the_status_says_that_all_is_well(platform: RunningPlatform) -> None:
    done = until(lambda: _well(platform), 30)
    programs = {program["name"]: program for program in done["programs"]}  # type: ignore[attr-defined]
    assert programs["gateway"]["is_ready"] is True
    assert "postgres" in programs
    assert "gateway" in platform.heliotrope("status").stdout


def test_the_settings_that_the_fate_of_a_flux_depends_on_are_told(platform: RunningPlatform) -> None:
    told = document(platform.heliotrope("events", "--stream", "platform:settings", "--json"))
    settings = [event["data"] for event in told["items"]]  # type: ignore[attr-defined]
    assert sorted(one["service"] for one in settings) == ["ack", "gateway", "signature", "validation"]
    [gateway] = [one["settings"] for one in settings if one["service"] == "gateway"]
    assert gateway["IN_DOUBT_POLICY"] == "resend"
    assert "PASSWORD" not in str(settings)


def test_a_second_start_finds_the_first(platform: RunningPlatform) -> None:
    pid = platform.pid("ingest")
    done = platform.heliotrope("up", "--detach", "--json")
    assert done.returncode == 0, done.stderr
    assert set(document(done)["urls"]) >= {"ingest", "history"}  # type: ignore[call-overload]
    assert platform.pid("ingest") == pid


def test_a_demonstration_uses_the_platform_that_runs(platform: RunningPlatform) -> None:
    done = platform.heliotrope("demo", "--once", "--json")
    assert done.returncode == 0, done.stderr
    shown = document(done)
    assert shown["state"] == "acknowledged"
    assert platform.pid("ingest")


def test_a_demonstration_of_an_invalid_file_ends_with_1_and_says_why(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.xml"
    path.write_bytes(f'<?xml version="1.0" encoding="ISO-8859-1"?><facture n="{next(NUMBERS)}"/>'.encode())
    done = platform.heliotrope("demo", "--once", "--file", str(path))
    assert done.returncode == 1
    assert "Anomalie bloquante" in done.stdout
    assert "À faire" in done.stdout


def test_the_demonstration_alone_starts_shows_and_stops_everything() -> None:
    with lasting_folder() as root, run_platform(root, start=False) as platform:
        done = platform.heliotrope("demo", "--once")
        assert done.returncode == 0, done.stderr
        assert "Acquitté par la DGFiP" in done.stdout
        assert platform.heliotrope("status").returncode == 3


def _well(platform: RunningPlatform) -> dict[str, object] | None:
    done = platform.heliotrope("status", "--json")
    return document(done) if done.returncode == 0 else None

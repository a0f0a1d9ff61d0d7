"""Parts are killed in the middle of the work: every flux still ends acknowledged, and is sent once."""

import asyncio
import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer

from local.postgres.database import DATABASE
from local.postgres.server import LocalPostgres
from local.programs import DATABASE_GROUP
from tests.real.folders import lasting_folder
from tests.real.platform import RunningPlatform, run_platform, sample, until
from tests.real.ports import port_block

SERVICES = ("ingest", "validation", "signature", "gateway", "ack", "relay", "history", "simulator")
NUMBERS = count(1000)
ROUNDS = 3


def assert_acknowledged_once(platform: RunningPlatform, *flux_ids: str) -> None:
    for flux_id in flux_ids:
        flux = platform.wait_for(flux_id, "acknowledged")
        assert flux["state"] == "acknowledged", json.dumps(flux, indent=1)
        platform.wait_ready("simulator")
        assert platform.receipts()[flux["document"]["sha256"]] == 1  # type: ignore[index]
        kinds = platform.kinds(flux_id)
        for once in ("flux.imported.v1", "flux.validated.v1", "flux.signed.v1", "flux.acknowledged.v1"):
            assert kinds.count(once) == 1, kinds


@pytest.mark.parametrize("service", SERVICES)
def test_a_flux_survives_kill_9_of_any_service(platform: RunningPlatform, service: str) -> None:
    chance = random.Random(service)
    flux_ids = []
    for _ in range(ROUNDS):
        number = next(NUMBERS)
        flux_ids.append(platform.send_until_taken(sample(number), f"key-{number}"))
        time.sleep(chance.uniform(0, 0.12))  # somewhere between the import and the acknowledgement
        killed = platform.kill(service)
        flux_ids.append(platform.send_until_taken(sample(next(NUMBERS)), f"key-{number}-after"))
        until(lambda gone=killed: platform.pid(service) not in {0, gone}, 30)  # type: ignore[misc]
    assert_acknowledged_once(platform, *flux_ids)


def test_a_large_flux_cut_off_in_the_middle_of_its_sending_is_sent_whole_once(platform: RunningPlatform) -> None:
    flux_id = platform.send_until_taken(sample(next(NUMBERS), pj_bytes=12_000_000), "large")
    until(lambda: "transmission.attempted.v1" in platform.kinds(flux_id), 60)
    platform.kill("gateway")
    assert_acknowledged_once(platform, flux_id)


def test_an_import_cut_off_in_the_middle_is_taken_once(platform: RunningPlatform) -> None:
    content = sample(next(NUMBERS), pj_bytes=2_000_000)

    def cut() -> Iterator[bytes]:
        yield content[:1_000_000]
        platform.kill("ingest")
        yield content[1_000_000:]

    with suppress(httpx.TransportError):
        platform.http.post(
            f"{platform.ports.url('ingest')}/v1/flux", content=cut(), headers={"X-Collectivite": "213499908"}
        )
    assert_acknowledged_once(platform, platform.send_until_taken(content, "cut"))


def test_postgresql_stopped_answers_503_and_nothing_is_half_done(platform: RunningPlatform) -> None:
    under_way = platform.send_until_taken(sample(next(NUMBERS)), "before-outage")
    platform.supervisor.stop(DATABASE_GROUP)
    try:
        refused = sample(next(NUMBERS))
        answers = [
            platform.send(refused),
            platform.http.get(f"{platform.ports.url('history')}/v1/flux/{under_way}"),
            platform.http.post(f"{platform.ports.url('gateway')}/v1/flux/{under_way}/transmission", json={}),
        ]
        for answer in answers:
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) > 0
            assert "rien n’a été enregistré à moitié" in answer.json()["detail"]
        for service in ("ingest", "gateway", "history"):
            assert platform.http.get(f"{platform.ports.url(service)}/healthz").status_code == 200
    finally:
        platform.supervisor.start(DATABASE_GROUP)
    platform.wait_ready(*SERVICES)
    assert_acknowledged_once(platform, under_way, platform.send_until_taken(refused, "after-outage"))


def test_postgresql_killed_in_the_middle_of_the_work_loses_nothing(platform: RunningPlatform) -> None:
    numbers = [next(NUMBERS) for _ in range(6)]
    flux_ids = []
    for place, number in enumerate(numbers):
        flux_ids.append(platform.send_until_taken(sample(number), f"pg-{number}"))
        if place == 2:
            platform.kill("postgres")
    assert_acknowledged_once(platform, *flux_ids)


@pytest.mark.parametrize("platform", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
def test_a_broker_stopped_and_started_delays_and_loses_nothing(platform: RunningPlatform) -> None:
    before = platform.send_until_taken(sample(next(NUMBERS)), "broker-before")
    platform.supervisor.stop("bus")
    during = platform.send_until_taken(sample(next(NUMBERS)), "broker-during")  # importing needs no broker
    platform.supervisor.start("bus")
    assert_acknowledged_once(platform, before, during)


def test_a_message_that_cannot_be_read_is_parked_shown_and_released(platform: RunningPlatform, bus: str) -> None:
    if bus == "kafka":
        _publish_garbage(platform)
    else:
        _append_garbage(platform)
    following = platform.send_until_taken(sample(next(NUMBERS)), "after-garbage")
    assert_acknowledged_once(platform, following)
    parked = until(lambda: _parked(platform), 30)
    assert parked[0]["group"] in {"validation", "signature", "gateway"}
    assert "not an event we can read" in parked[0]["error"]

    released = platform.heliotrope("bus", "parked", "release", parked[0]["parked_id"], "--reason", "corrigé")

    assert released.returncode == 0, released.stderr
    assert_acknowledged_once(platform, platform.send_until_taken(sample(next(NUMBERS)), "after-release"))


def _parked(platform: RunningPlatform) -> list[dict[str, str]]:
    done: subprocess.CompletedProcess[str] = platform.heliotrope("bus", "parked", "list", "--json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout)["parked"])


def _append_garbage(platform: RunningPlatform) -> None:
    """Put a fact that this version cannot read into the journal, as a newer version would."""

    async def append() -> None:
        connection = await asyncpg.connect(LocalPostgres(platform.folder.postgres).dsn(DATABASE))
        await connection.execute(
            "insert into journal (stream_id, version, event_id, collectivite, kind, body) "
            "values (gen_random_uuid(), 1, gen_random_uuid(), '213499908', 'flux.imported.v1', '{\"data\": 7}')"
        )
        await connection.close()

    asyncio.run(append())


def _publish_garbage(platform: RunningPlatform) -> None:
    async def publish() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{platform.ports.of('kafka')}")
        await producer.start()
        await producer.send_and_wait("pes.flux.imported", b"\x00 this is not JSON")
        await producer.stop()

    asyncio.run(publish())


@pytest.mark.parametrize(
    ("what", "content", "expected"),
    [
        ("empty", b"", 400),
        ("not XML", b"%PDF-1.7 \x00\x01", 415),
        ("wrong root", b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>', "pes.root"),
        ("a DOCTYPE", b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "reader.doctype"),
        ("truncated", sample(1)[:5000], "reader.malformed"),
        ("UTF-16", '<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"), "reader.encoding"),
    ],
)
def test_bad_input_gets_a_clear_french_answer_and_no_service_stops(
    platform: RunningPlatform, what: str, content: bytes, expected: int | str
) -> None:
    pids = {service: platform.pid(service) for service in SERVICES}

    answer = platform.send(content)

    if isinstance(expected, int):
        assert answer.status_code == expected, what
        refusal = answer.json()
    else:
        assert answer.status_code == 202
        flux = platform.wait_for(answer.json()["flux_id"], "invalid")
        assert flux["state"] == "invalid", what
        refusal = dict(flux["problem"])  # type: ignore[call-overload]
        assert refusal["findings"][0]["code"] == expected
    assert {"type", "title", "status", "detail"} <= set(refusal)
    assert len(refusal["detail"]) > 40
    assert pids == {service: platform.pid(service) for service in SERVICES}


def choice_of_seal(platform: RunningPlatform) -> tuple[bool, str]:
    """Return whether the seal signs for those who said nothing of it, and who chose so."""
    shown = json.loads(platform.heliotrope("seal", "show", "--collectivite", "*", "--json").stdout)
    return shown["has_seal"], shown["choice"]["changed_by"]


def test_data_survives_a_restart_of_everything() -> None:
    base = port_block()
    with lasting_folder() as root:
        with run_platform(root, base=base) as platform:
            flux_id = platform.send_until_taken(sample(next(NUMBERS)), "restart")
            assert_acknowledged_once(platform, flux_id)
            assert choice_of_seal(platform) == (True, "heliotrope up")
            left = platform.heliotrope("seal", "leave", "--collectivite", "*", "--reason", "Sans cachet")
            assert left.returncode == 0, left.stderr
        with run_platform(root, base=base) as platform:
            assert platform.flux(flux_id)["state"] == "acknowledged"
            assert choice_of_seal(platform) == (False, "operateur-local")

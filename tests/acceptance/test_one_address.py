"""One address for the whole API: the real nginx, as deployed, before a platform that runs; and links without it."""

import json
from collections.abc import Iterator
from http.client import HTTPSConnection
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from local.ports import APIS
from shared.web.openapi import answered_by
from tests.applications import documents
from tests.real.platform import COLLECTIVITE, RunningPlatform, sample, until
from tests.real.ports import free_port
from tests.real.proxy import Proxy, real_proxy

NUMBERS = count(70_000)
OPERATIONS = answered_by(documents())


def addresses(platform: RunningPlatform) -> dict[str, str]:
    return {name: f"127.0.0.1:{platform.ports.of(name)}" for name in APIS}


@pytest.fixture(scope="module")
def proxy(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with real_proxy(tmp_path_factory.mktemp("proxy"), free_port(), addresses(platform)) as running:
        yield running


@pytest.fixture
def outside(platform: RunningPlatform, proxy: Proxy) -> Iterator[httpx.Client]:
    """Lend a client of the one address, with the operator's token."""
    token = platform.folder.token_file.read_text("ascii").strip()
    with httpx.Client(
        base_url=proxy.url, verify=proxy.trust, trust_env=False, headers={"Authorization": f"Bearer {token}"}
    ) as http:
        yield http


def imported(http: httpx.Client, content: bytes) -> httpx.Response:
    return http.post("/v1/flux", content=content, headers={"X-Collectivite": COLLECTIVITE, "X-Filename": "pes.xml"})


def test_a_flux_goes_through_behind_one_address_and_its_links_lead_to_it(outside: httpx.Client) -> None:
    taken = imported(outside, sample(next(NUMBERS)))
    assert taken.status_code == 202, taken.text
    location = taken.headers["Location"]
    assert taken.json()["href"] == location

    flux = until(lambda: _acknowledged(outside, location), 60)

    assert flux["flux_id"] == taken.json()["flux_id"]
    assert outside.get(f"{location}/events").json()["events"][0]["kind"] == "flux.imported.v1"
    assert outside.get(f"{location}/findings").status_code == 200
    assert b"PES_ACQUIT" in outside.get(f"{location}/documents/reply").content


def test_links_lead_to_the_flux_without_a_proxy_too(platform: RunningPlatform) -> None:
    content = sample(next(NUMBERS))
    taken = platform.send(content)
    location = taken.headers["Location"]
    assert location.startswith(platform.ports.url("history"))
    flux_id = taken.json()["flux_id"]
    assert until(lambda: _found(platform, location), 30)["flux_id"] == flux_id
    again = platform.send(content)
    assert (again.status_code, again.headers["Content-Location"]) == (409, location)


def test_every_operation_is_answered_by_the_service_that_has_it(
    platform: RunningPlatform, proxy: Proxy, outside: httpx.Client
) -> None:
    del platform
    for method, path in OPERATIONS:
        answer = httpx.request(
            method, proxy.url + path.replace("{", "").replace("}", ""), verify=proxy.trust, trust_env=False
        )
        assert answer.status_code == 401, (method, path, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"
    expected = {
        (method, path.replace("{", "").replace("}", "")): service for (method, path), service in OPERATIONS.items()
    }
    until(lambda: len(answered(proxy)) == len(expected), 10)  # a line is written once its answer has left
    assert answered(proxy) == expected
    assert outside.delete("/v1/flux").status_code == 405


def answered(proxy: Proxy) -> dict[tuple[str, str], str]:
    """Return who refused what for want of a token, as the proxy wrote it down."""
    lines = [json.loads(line) for line in proxy.log.read_text("utf-8").splitlines()]
    return {(line["method"], line["path"]): line["answered_by"] for line in lines if line["status"] == 401}


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/v1", "/v1/flux/a/b/c", "/v2/flux", "/../etc/passwd"])
def test_nothing_else_is_reached(outside: httpx.Client, path: str) -> None:
    answer = outside.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:heliotrope:problem:not-found")


def test_answers_are_sent_with_the_headers_that_browsers_heed(outside: httpx.Client) -> None:
    for answer in (outside.get("/v1/flux"), outside.get("/"), outside.get("/v1/flux/x")):
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
        assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "nginx/" not in answer.headers["Server"]


def test_what_is_too_large_is_refused_in_our_words_before_it_is_sent(proxy: Proxy) -> None:
    connection = HTTPSConnection("127.0.0.1", urlsplit(proxy.url).port, context=proxy.trust)
    connection.putrequest("POST", "/v1/signatures/visa")
    connection.putheader("Content-Length", str(66 * 2**20))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["type"]) == (413, "urn:heliotrope:problem:too-large")
    connection.close()


def test_a_flood_is_asked_to_wait(platform: RunningPlatform, tmp_path: Path) -> None:
    with (
        real_proxy(tmp_path, free_port(), addresses(platform), rate="1r/m") as proxy,
        httpx.Client(base_url=proxy.url, verify=proxy.trust, trust_env=False) as http,
    ):
        answers = [http.get("/v1/flux") for _ in range(220)]
    refused = [one for one in answers if one.status_code == 429]
    assert 0 < len(refused) < 30
    assert {one.headers["Retry-After"] for one in refused} == {"1"}
    assert {one.json()["type"] for one in refused} == {"urn:heliotrope:problem:too-often"}


def test_a_service_that_is_away_is_told_in_our_words(platform: RunningPlatform, tmp_path: Path) -> None:
    with real_proxy(tmp_path, free_port(), addresses(platform) | {"history": "127.0.0.1:1"}) as proxy:
        answer = httpx.get(f"{proxy.url}/v1/flux", verify=proxy.trust, trust_env=False)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["type"] == "urn:heliotrope:problem:unavailable"


def test_the_command_line_reaches_a_platform_by_its_one_address(platform: RunningPlatform, proxy: Proxy) -> None:
    before = lists_asked_for(proxy)
    variables = {"HELIOTROPE_URL": proxy.url, "SSL_CERT_FILE": str(proxy.authority)}
    done = platform.heliotrope("flux", "list", "--json", **variables)
    assert done.returncode == 0, done.stderr
    assert until(lambda: lists_asked_for(proxy) > before, 10)


def lists_asked_for(proxy: Proxy) -> int:
    """Return how many times the proxy had `history` answer with the list of flux."""
    lines = [json.loads(line) for line in proxy.log.read_text("utf-8").splitlines()]
    return [(line["path"], line["answered_by"], line["status"]) for line in lines].count(("/v1/flux", "history", 200))


def _acknowledged(http: httpx.Client, location: str) -> dict[str, object] | None:
    flux = _json(http.get(location))
    return flux if flux and flux["state"] == "acknowledged" else None


def _found(platform: RunningPlatform, location: str) -> dict[str, object] | None:
    return _json(platform.http.get(location))


def _json(answer: httpx.Response) -> dict[str, object] | None:
    return dict(answer.json()) if answer.is_success else None

"""No route reads without a bound, whoever asks."""

import httpx
import pytest

from shared.web.openapi import operations
from shared.web.routing import BODY_BYTES_MAX
from tests.applications import applications, documents

# They take files, or the signatures of hundreds of flux, and know who asks before they read.
OF_FILES = {"/v1/flux", "/v1/checks", "/v1/schemas/{pack_id}"}
OF_SIGNATURES = {f"/v1/signatures/{name}" for name in ("prepare", "complete", "visa", "refuse")}
WRITING = [
    (service, method, path)
    for service, document in documents().items()
    for method, path in operations(document)
    if method != "GET" and path not in {*OF_FILES, *OF_SIGNATURES, "/v1/flux/{flux_id}/circuit/restart"}
]


@pytest.mark.parametrize(("service", "method", "path"), WRITING)
async def test_a_body_that_is_too_large_is_refused_before_it_is_known_who_asks(
    service: str, method: str, path: str
) -> None:
    transport = httpx.ASGITransport(applications()[service])
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
        answer = await http.request(
            method, path, content=b" " * (BODY_BYTES_MAX + 1), headers={"Content-Type": "application/json"}
        )
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:heliotrope:problem:too-large")


def test_most_routes_that_write_are_tried() -> None:
    assert len(WRITING) > 12

"""Whole platforms, one on each bus, for all acceptance tests."""

import json
from collections.abc import Iterator

import pytest

from tests.real.platform import RunningPlatform, run_platform

PORT_BASES = {"postgres": 21_000, "kafka": 22_000}


@pytest.fixture(scope="session", params=["postgres", pytest.param("kafka", marks=pytest.mark.kafka)])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """Lend a platform that every test leaves as it found it."""
    bus = request.param
    with run_platform(tmp_path_factory.mktemp(f"platform-{bus}"), PORT_BASES[bus], bus) as running:
        yield running


@pytest.fixture(scope="session")
def bus(platform: RunningPlatform) -> str:
    """Return which bus the platform runs on."""
    return str(json.loads(platform.folder.platform_file.read_text("utf-8"))["bus"])

"""Whole platforms, one on each bus, for all acceptance tests."""

import json
import shutil
from collections.abc import Iterator

import pytest

from local.folder import DataFolder
from tests.real.folders import lasting_folder
from tests.real.platform import RunningPlatform, run_platform


@pytest.fixture(scope="package", params=["postgres", pytest.param("kafka", marks=pytest.mark.kafka)])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """Lend a platform that every test leaves as it found it. Its logs are kept."""
    with lasting_folder() as root:
        try:
            with run_platform(root, request.param) as running:
                yield running
        finally:
            shutil.copytree(DataFolder(root).logs, tmp_path_factory.mktemp(f"platform-{request.param}") / "logs")


@pytest.fixture(scope="package")
def bus(platform: RunningPlatform) -> str:
    """Return which bus the platform runs on."""
    return str(json.loads(platform.folder.platform_file.read_text("utf-8"))["bus"])

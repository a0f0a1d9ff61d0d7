"""What all services have in common: each says what it is in one sentence, and none measures in a way of its own."""

import importlib
import re
from pathlib import Path

import pytest

from local.ports import SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_says_in_one_sentence_what_it_does(service: str) -> None:
    said = importlib.import_module(f"services.{service}").__doc__ or ""
    assert "\n" not in said
    assert said.endswith(".")
    assert said.count(". ") == 0


def test_a_mebibyte_is_defined_once() -> None:
    root = Path(__file__).parents[3]
    folders = ("pes", "signing", "shared", "services")
    modules = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    defining = [path for path in modules if re.search(r"^MEBIBYTE\b.*=", path.read_text("utf-8"), re.MULTILINE)]
    assert defining == [root / "pes" / "units.py"]

"""The published description of the topics is the one that the code makes."""

import json
from pathlib import Path

from shared.bus.asyncapi import describe
from shared.facts.streams import ALL_FACTS

PUBLISHED = Path(__file__).parents[3] / "docs" / "asyncapi.json"


def test_the_published_description_is_up_to_date() -> None:
    assert json.loads(PUBLISHED.read_text("utf-8")) == json.loads(json.dumps(describe())), (
        "run: python -m shared.bus.asyncapi > docs/asyncapi.json"
    )


def test_every_kind_of_fact_has_a_channel() -> None:
    assert len(describe()["channels"]) == len(ALL_FACTS)  # type: ignore[arg-type]

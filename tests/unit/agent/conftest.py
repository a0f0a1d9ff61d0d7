"""Lends the agent on a stage."""

from collections.abc import Iterator

import pytest

from tests.unit.agent.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.card.may_sign.set()
    made.agent.requests.stop()

"""Where several processes share the tests, one of them alone starts the broker, and one alone each platform."""

import pytest

from tests.sharing import BROKER, PLATFORM, share_of


@pytest.mark.parametrize(
    ("test", "share"),
    [
        ("tests/acceptance/test_one_flux.py::test_a_flux[kafka]", BROKER),
        ("tests/contract/test_bus.py::test_a_fact[kafka-two]", BROKER),
        ("tests/integration/local/test_local_kafka.py::test_it", BROKER),
        ("tests/acceptance/test_one_flux.py::test_a_flux[postgres]", PLATFORM),
        ("tests/contract/test_bus.py::test_a_fact[postgres]", "tests/contract/test_bus.py"),
        ("tests/unit/pes/test_units.py::test_a::b", "tests/unit/pes/test_units.py"),
    ],
)
def test_what_needs_the_same_stays_together(test: str, share: str) -> None:
    assert share_of(test) == share


def test_every_test_that_needs_a_broker_is_among_them(request: pytest.FixtureRequest) -> None:
    alone = {item.nodeid for item in request.session.items if item.get_closest_marker("kafka")}
    assert {share_of(test) for test in alone} <= {BROKER}

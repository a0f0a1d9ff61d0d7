"""Where the local platform listens."""

import pytest

from local.errors import BadSettingError
from local.ports import Ports, base_of


@pytest.mark.parametrize("text", ["80", "99999", "abc", "-1", "²³"])
def test_ports_that_cannot_serve_are_refused(text: str) -> None:
    with pytest.raises(BadSettingError):
        base_of({"HELIOTROPE_PORT_BASE": text})


def test_two_platforms_never_share_a_port() -> None:
    names = ("ingest", "history", "simulator", "simulator-sftp", "kafka", "kafka-controller")
    first, second = Ports(8400), Ports(8600)
    assert len({ports.of(name) for ports in (first, second) for name in names}) == 2 * len(names)

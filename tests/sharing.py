"""Which tests stay together where several processes share them, so that what is long to start is started once."""

from xdist.scheduler import LoadScopeScheduling

BROKER = "broker"
PLATFORM = "platform"


def share_of(test: str) -> str:
    """Return what a test, told by its id, stays together with: its file, or all that need the same real part."""
    if "kafka" in test:
        return BROKER
    if test.startswith("tests/acceptance/"):
        return PLATFORM
    return test.split("::", 1)[0]


class Sharing(LoadScopeScheduling):  # type: ignore[misc]  # it is published without types
    """Hands out the shares, in the order of the tests; whoever is done takes the next."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)

"""Runs supervisord, looking after its children ten times a second.

By itself it sleeps for up to a second between two looks: a service that was killed would stay down for that long.
Everything else is supervisord as published.
"""

from supervisor import poller, supervisord

LOOK_SECONDS = 0.1


class PromptPoller(poller.Poller):  # type: ignore[misc]  # supervisor publishes no types
    """Waits for the descriptors of the children, but never for long."""

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """Return the descriptors that can be read and written."""
        readable, writable = super().poll(min(timeout, LOOK_SECONDS))
        return list(readable), list(writable)


def main() -> None:
    """Run supervisord with the arguments of the command line."""
    poller.Poller = PromptPoller
    supervisord.main()


if __name__ == "__main__":
    main()

"""What the local platform says when it cannot do what it was asked; whoever asked shows it."""

from shared.errors import PesError


class PlatformError(Exception):
    """The local platform cannot start, or cannot be held. Show it, in French, and stop.

    Attributes:
        title: what happened.
        detail: what happened here, who can act, what to do next.
    """

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(f"{title} : {detail}")
        self.title = title
        self.detail = detail


class BadSettingError(PlatformError):
    """A variable of the environment has a value that cannot serve: correct it."""


class KafkaUnavailableError(PesError):
    """Kafka cannot run here, or did not start. Show the sentence to the user: it says what to do."""


class PostgresUnavailableError(PesError):
    """PostgreSQL cannot run here, or did not start or stop. Show the sentence to the user."""

"""What the local platform says when it cannot do what it was asked, in French; whoever asked shows it."""


class PlatformError(Exception):
    """The local platform cannot start, or cannot be held. Show it, and stop.

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

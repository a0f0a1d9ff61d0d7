"""The errors of Heliotrope. Each docstring says what the one who meets it should do.

They become actions in two places only: `shared.bus.consumer` (for a message) and `shared.web.problems` (for a
request).
"""

from enum import Enum
from uuid import UUID


class PesError(Exception):
    """Root of all our errors. Never raised as such: catch it only to report and stop."""


class MalformedMessageError(PesError):
    """A message that can never be processed. The consumer parks it, then goes on."""


class NewerFactError(MalformedMessageError):
    """A recorded fact that this version cannot take in: a newer one wrote it. Set its stream aside, and go on.

    Its kind is not known here, or it holds a value that is not; see also `MisplacedFactError`.

    Attributes:
        kind: of the fact.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class UnavailableError(PesError):
    """An outside party did not answer. Try again later; the consumer does so by itself.

    Attributes:
        party: who did not answer, as an operator knows it: "postgresql", "kafka", "sftp", "documents".
    """

    def __init__(self, party: str, reason: str = "") -> None:
        super().__init__(f"{party} is unavailable" + (f": {reason}" if reason else ""))
        self.party = party


class VersionConflictError(PesError):
    """Someone appended first. Load the stream again, decide again, append again.

    Attributes:
        stream_id: the stream that moved on.
        expected: the version that the decision was made on.
    """

    def __init__(self, stream_id: UUID, expected: int) -> None:
        super().__init__(f"stream {stream_id} is no longer at version {expected}")
        self.stream_id = stream_id
        self.expected = expected


class NameTakenError(PesError):
    """Another stream holds a name that only one may hold (see `shared.facts.reservations`). Answer with that stream.

    Attributes:
        kind: which rule: "document", "idempotency-key", "reply", "nomfic", "bordereau", "budget", "siret", "mandate",
            "delegation".
        stream_id: the stream that holds the name.
    """

    def __init__(self, kind: str, stream_id: UUID) -> None:
        super().__init__(f"this {kind} belongs to stream {stream_id}")
        self.kind = kind
        self.stream_id = stream_id


class UnexpectedFactError(PesError):
    """A fact cannot follow the state of the flux (too early, or never). A bug, or a request to refuse."""

    def __init__(self, fact: str, state: str | None) -> None:
        super().__init__(f"{fact} cannot follow the state {state or 'nothing'}")
        self.fact = fact
        self.state = state


class MisplacedFactError(NewerFactError, UnexpectedFactError):
    """A recorded fact stands where this version's table has no room: a newer one wrote it. Set its stream aside.

    Of what is recorded, never of what is decided: that a decision cannot follow is a bug, and stays one.
    """

    def __init__(self, kind: str, fact: str, state: str | None) -> None:
        UnexpectedFactError.__init__(self, fact, state)
        self.kind = kind


class CorruptDocumentError(PesError):
    """A stored document no longer has the bytes it was stored with. Stop, and restore it from a copy."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"document {sha256} does not have the bytes it was stored with")
        self.sha256 = sha256


class DocumentMissingError(PesError):
    """A document that a fact names is not in the store. Stop, and restore it from a copy."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"document {sha256} is not in the store")
        self.sha256 = sha256


class TooLargeError(PesError):
    """Bytes went past their bound; what was read so far has been thrown away."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"more than {bytes_max} bytes")
        self.bytes_max = bytes_max


class Why(Enum):
    """Why a request is refused. Only `shared.web.problems` knows which HTTP status says so."""

    BADLY_FORMED = "it cannot be read as it came"
    UNIDENTIFIED = "nobody knows who asks"
    NOT_ALLOWED = "not by whoever asks"
    NOT_FOUND = "there is no such thing, or whoever asks may not know of it"
    AS_THINGS_STAND = "what is recorded so far is against it: too early, too late, taken already"
    UNUSABLE = "it can be read, but what it says or holds cannot be used"
    WRONG_KIND = "it is not the kind of file that is taken"
    TOO_LARGE = "it is over a bound"
    TOO_OFTEN = "it has been tried too many times"
    TOO_SLOW = "it did not come in time"
    MEANT_FOR_ANOTHER = "it was not addressed to us"
    AWAY = "a party that it needs does not answer"
    BROKEN = "something is wrong on our side"


class RequestRefusedError(PesError):
    """A request that cannot be granted, with the sentence its author will read (French).

    Attributes:
        why: which sort of reason it is refused for.
        slug: the code of this very reason, stable for clients.
        title: what happened, the same for every request refused for this reason.
        detail: what happened here, who can act, what to do next.
        extra: what else there is to know of it, by name.
        again_in_seconds: how soon it may be asked again, when that is known; else 0.
    """

    def __init__(
        self,
        why: Why,
        slug: str,
        title: str,
        detail: str,
        *,
        extra: dict[str, object] | None = None,
        again_in_seconds: int = 0,
    ) -> None:
        super().__init__(detail)
        self.why = why
        self.slug = slug
        self.title = title
        self.detail = detail
        self.extra = extra or {}
        self.again_in_seconds = again_in_seconds

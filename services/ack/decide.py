"""Decides which flux a reply belongs to, and what to record. Exact and explained, never a guess.

1. A reply from which no verdict can be drawn belongs to no flux.
2. It must say all four of NomFic, CodCol, CodBud and IdPost: together they tell flux apart (helios.md 3.2, 7.5).
3. Only flux whose four values are the same count, and that wait for an answer or have theirs. A flux waits from the
   moment its first byte may have left, even if FluxTransmitted is not recorded yet.
4. Of several, those of the reply's DteStr count, if there are any. One that has its answer counts as much as one that
   waits: DGFiP may answer a second time.
5. If exactly one is left, the reply is its answer if it waits; else it is kept with it, and changes nothing.
6. While one of them cannot be read (a newer version has written to it), nothing is recorded: the reply waits.
7. Otherwise the reply gets a stream of its own, with the reason in French.

The same bytes may come again. Under the same name it is the same file, read once more. Under another name it is a
repetition if it can answer nothing else: it gives no verdict, or each flux that it may answer has its answer. In any
other case it is decided as if it were the first: an answer holds neither a date nor a reference of its own, and two
flux refused for the same reason have the same.

A person may link such a reply to a flux afterwards (`link`). NomFic may differ then, that is what they answer for;
the three others may not: no link carries a verdict to another budget. The first answer of a flux stands: when
another one came before the link had its effect (`settle`), the reply waits again, with the reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from pes.text import printable as printable_text
from services.ack.acquit import Reading
from shared.errors import RequestRefusedError, UnexpectedFactError, Why
from shared.facts.fact import Fact
from shared.facts.flux import FluxAcknowledged, FluxPartiallyRejected, FluxRejected, ReplyReceived, ReplyUnmatched
from shared.facts.lifecycles import reply as lifecycle
from shared.facts.lifecycles.flux import Flux
from shared.facts.reply import ReplyDismissed, ReplyLinked, ReplyUnlinked
from shared.facts.values import Document, Verdict

NAMED_MAX = 5  # how many flux a reason names
CHARACTERS_MAX = 200  # how much of what DGFiP wrote a reason or a fact quotes

SECOND = "second"
DUPLICATE = "duplicate"
UNMATCHED = "unmatched"
UNLINKED = "unlinked"
SET_ASIDE = "set_aside"


@dataclass(frozen=True)
class Earlier:
    """The same bytes, as they were recorded before.

    Attributes:
        stream_id: the flux, or the reply, that they were first recorded with.
        is_same_file: they had the same name too.
    """

    stream_id: UUID
    is_same_file: bool


@dataclass(frozen=True)
class Reply:
    """A file from DGFiP: kept, and read; `earlier` if its bytes were recorded before."""

    document: Document
    remote_name: str
    reading: Reading
    earlier: Earlier | None = None


@dataclass(frozen=True)
class Candidate:
    """A flux that has the NomFic of the reply; as far as it could be read, when it is set aside."""

    flux_id: UUID
    flux: Flux
    is_set_aside: bool = False


@dataclass(frozen=True)
class Decision:
    """What to record.

    Attributes:
        outcome: what the reply turned out to be, for metrics: its verdict, `second`, `duplicate`, `unmatched` or
            `set_aside`.
        facts: in order; none only of a `duplicate`, which is recorded, and while the reply waits where it is.
        target: the flux that they belong to; none for a stream of their own.
    """

    outcome: str
    facts: tuple[Fact, ...]
    target: Candidate | None = None


def decide(reply: Reply, candidates: Sequence[Candidate]) -> Decision:
    """Turn a reply into the facts to record.

    Args:
        reply: what came.
        candidates: every flux that has its NomFic, whatever their state.
    """
    reading = reply.reading
    if reply.earlier and (reply.earlier.is_same_file or reading.verdict is None):
        return Decision(DUPLICATE, ())
    if reading.verdict is None:
        return _unmatched(reply, reading.reason)
    if missing := [name for name, value in _key_of(reading) if not value]:
        return _unmatched(reply, f"La réponse ne dit pas à quel flux elle répond : il y manque {', '.join(missing)}.")
    if any(one.is_set_aside and _may_be_meant(reading, one.flux) for one in candidates):
        return Decision(SET_ASIDE, ())
    return _attribute(reply, reading.verdict, candidates)


def _attribute(reply: Reply, verdict: Verdict, candidates: Sequence[Candidate]) -> Decision:
    meant = _meant(reply.reading, candidates)
    if reply.earlier and meant and not any(_is_waiting(one.flux) for one in meant):
        return Decision(DUPLICATE, ())
    if len(meant) != 1:
        return _unmatched(reply, _why(reply.reading, candidates, meant))
    (target,) = meant
    if _is_waiting(target.flux):
        return Decision(verdict, (_received(reply), _verdict(reply)), target)
    return Decision(SECOND, (_received(reply),), target)


def link(known: lifecycle.Reply, reading: Reading, flux_id: UUID, flux: Flux, reason: str) -> list[Fact]:
    """Return the fact of somebody's answering for a reply being the answer to a flux; none when asked twice.

    Raises:
        RequestRefusedError: the reply is settled or gives no verdict, or it is of another budget, or the flux awaits
            no answer.
    """
    if known.linked is not None and known.linked.flux_id == flux_id:
        return []
    if known.state is not lifecycle.State.WAITING:
        raise _settled(known)
    if objection := _objection(reading, flux):
        raise objection
    return [ReplyLinked(flux_id=flux_id, reason=reason)]


def settle(reply: Reply, flux_id: UUID, flux: Flux) -> Fact:
    """Return what a link comes to: the verdict, in the flux; or, in the reply's stream, that it had no effect."""
    if objection := _objection(reply.reading, flux):
        reason = f"Le rattachement au flux {flux_id} est resté sans effet. {objection.detail}"
        return ReplyUnlinked(flux_id=flux_id, reason=reason)
    return _verdict(reply)


def dismiss(known: lifecycle.Reply, reason: str) -> list[Fact]:
    """Return the fact of somebody's answering for a reply being none of ours; none when asked twice.

    Raises:
        RequestRefusedError: it is linked to a flux.
    """
    if known.state is lifecycle.State.DISMISSED:
        return []
    if known.state is not lifecycle.State.WAITING:
        raise _settled(known)
    return [ReplyDismissed(reason=reason)]


def _objection(reading: Reading, flux: Flux) -> RequestRefusedError | None:
    """Say why a reply cannot be the answer to a flux; nothing when it can."""
    if reading.verdict is None:
        detail = f"Aucun verdict ne peut être tiré de cette réponse. {reading.reason}"
        return _no_link(Why.UNUSABLE, "no-verdict", detail)
    if different := _differences(reading, flux, is_any_nomfic=True):
        detail = f"La réponse n’est pas pour le budget de ce flux : {', '.join(different)}."
        return _no_link(Why.AS_THINGS_STAND, "another-budget", detail)
    if _is_answered(flux):
        detail = (
            f"Le flux a déjà sa réponse : il est « {flux.on_screen} ». Rattachez celle-ci au flux auquel elle "
            "répond, ou écartez-la en disant pourquoi."
        )
        return _no_link(Why.AS_THINGS_STAND, "already-answered", detail)
    if not _is_waiting(flux):
        detail = f"Le flux n’a pas été transmis : il est « {flux.on_screen} ». Aucune réponse ne peut être pour lui."
        return _no_link(Why.AS_THINGS_STAND, "not-transmitted", detail)
    return None


def _settled(known: lifecycle.Reply) -> RequestRefusedError:
    flux = f" au flux {known.linked.flux_id}" if known.linked else ""
    done = known.state.on_screen if known.state else ""
    detail = f"Elle est déjà réglée ({done.lower()}{flux}), et ce qui est décidé ne se reprend pas."
    return _no_link(Why.AS_THINGS_STAND, "reply-settled", detail)


def _no_link(why: Why, slug: str, detail: str) -> RequestRefusedError:
    return RequestRefusedError(why, slug, "Rien n’est fait de cette réponse", detail)


def _key_of(reading: Reading) -> tuple[tuple[str, str], ...]:
    return (
        ("NomFic", reading.nomfic),
        ("CodCol", reading.cod_col),
        ("CodBud", reading.cod_bud),
        ("IdPost", reading.id_post),
    )


def _differences(reading: Reading, flux: Flux, *, is_any_nomfic: bool = False) -> list[str]:
    """Say where a flux differs from what the reply says (in NomFic too, or not); nothing when it is the same."""
    header = flux.header
    if header is None:
        return ["en-tête inconnu"]
    known = (header.nomfic, header.cod_col, header.cod_bud, header.id_post)
    return [
        f"{name} vaut {_quoted(said)} dans la réponse et {_quoted(value)} dans le flux"
        for (name, said), value in zip(_key_of(reading), known, strict=True)
        if said != value and not (is_any_nomfic and name == "NomFic")
    ]


def _meant(reading: Reading, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the flux that the reply may answer: the same as it says, sent, and of its DteStr if that tells."""
    same = [one for one in candidates if not _differences(reading, one.flux)]
    sent = [one for one in same if _is_waiting(one.flux) or _is_answered(one.flux)]
    return [one for one in sent if _may_be_dated(one.flux, reading.emitted_on)] or sent


def _may_be_dated(flux: Flux, emitted_on: str) -> bool:
    known = flux.header.emitted_on if flux.header else ""
    return not known or known == emitted_on  # a header was recorded without it by the first versions


def _may_be_meant(reading: Reading, flux: Flux) -> bool:
    return flux.header is None or not _differences(reading, flux)


def _is_waiting(flux: Flux) -> bool:
    # TransmissionAttempted is recorded before the first byte leaves: without it, DGFiP cannot be answering this flux.
    return flux.attempt is not None and _takes(flux, FluxAcknowledged)


def _is_answered(flux: Flux) -> bool:
    return _takes(flux, ReplyReceived) and not _takes(flux, FluxAcknowledged)


def _takes(flux: Flux, fact: type[Fact]) -> bool:
    try:
        return flux.awaits(fact)
    except UnexpectedFactError:
        return False  # it is too early


def _received(reply: Reply) -> ReplyReceived:
    return ReplyReceived(
        document=reply.document,
        remote_name=printable(reply.remote_name),
        nomfic=reply.reading.nomfic[:CHARACTERS_MAX],
        verdict=reply.reading.verdict,
        is_repeated=reply.earlier is not None,
    )


def _verdict(reply: Reply) -> Fact:
    match reply.reading.verdict:
        case "acknowledged":
            return FluxAcknowledged(reply=reply.document)
        case "partially_rejected":
            return FluxPartiallyRejected(
                reply=reply.document, errors=reply.reading.errors, refused=reply.reading.refused
            )
        case _:
            return FluxRejected(reply=reply.document, errors=reply.reading.errors)


def _unmatched(reply: Reply, reason: str) -> Decision:
    if reply.earlier:
        reason = (
            f"{reason} Le même contenu est déjà venu sous un autre nom de fichier (enregistré sous "
            f"{reply.earlier.stream_id}) : si c’est la même réponse envoyée deux fois, écartez celle-ci."
        )
    return Decision(UNMATCHED, (_received(reply), ReplyUnmatched(reason=reason)))


def _why(reading: Reading, candidates: Sequence[Candidate], meant: Sequence[Candidate]) -> str:
    if meant:
        states = (f"{c.flux_id} (« {c.flux.on_screen} »)" for c in meant)
        return (
            f"{len(meant)} flux ont le même NomFic {_quoted(reading.nomfic)}, le même CodCol, le même CodBud et le "
            "même IdPost que la réponse, et leur DteStr ne les distingue pas : rien ne dit auquel elle répond. "
            f"{_listed(states)}"
        )
    if same := [c for c in candidates if not _differences(reading, c.flux)]:
        states = (f"{c.flux_id}, qui n’a pas été transmis (« {c.flux.on_screen} »)" for c in same)
        return f"La réponse désigne un flux dont Hélios n’a pu recevoir le fichier de nous. {_listed(states)}"
    if candidates:
        differing = (f"{c.flux_id} : {', '.join(_differences(reading, c.flux))}" for c in candidates)
        return f"Aucun flux ne correspond exactement à la réponse. {_listed(differing)}"
    return (
        f"Aucun flux de la plateforme n’a le NomFic {_quoted(reading.nomfic)} de la réponse. "
        "Il a pu être transmis par un autre moyen."
    )


def _listed(texts: Iterator[str]) -> str:
    named = list(texts)
    left_out = len(named) - NAMED_MAX
    more = f" ; et {left_out} autre{'s' if left_out > 1 else ''}" if left_out > 0 else ""
    return f"Flux {' ; flux '.join(named[:NAMED_MAX])}{more}."


def _quoted(text: str) -> str:
    return f"« {text[:CHARACTERS_MAX]} »"


def printable(name: str) -> str:
    """Return a file's name as it can be stored and shown: a server may send any bytes as a name."""
    return printable_text(name, CHARACTERS_MAX)

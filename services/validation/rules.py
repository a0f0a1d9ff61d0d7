"""What flux are judged by, as facts: which schema packs apply and when, how serious each control is."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from pes.controls.catalogue import BY_CODE
from pes.judge import SCHEMA
from pes.schemas.packs import BUILT_IN
from pes.vocabulary import Pack, Severity
from shared.errors import RequestRefusedError, Why
from shared.facts.collectivite import PolicySet
from shared.facts.fact import Fact
from shared.facts.lifecycles.collectivite import decided_for
from shared.facts.lifecycles.platform import Platform
from shared.facts.lifecycles.playing import news
from shared.facts.platform import PackChanged, PackInstalled, PackUse

BUILT_IN_FROM: Final = date(2020, 1, 1)


def install(known: Platform, wanted: PackInstalled, built_in: Pack) -> list[Fact]:
    """Install a pack: nothing when it is there already.

    Args:
        known: the packs installed so far.
        wanted: the pack, and when it applies.
        built_in: the pack that comes with the platform, whose name no other takes.

    Raises:
        RequestRefusedError: another pack has this name, or the dates cannot be.
    """
    _check_period(wanted.effective_from, wanted.effective_until)
    pack = wanted.pack
    there = known.packs.get(pack.pack_id)
    holder = there.pack if there else built_in if pack.pack_id == BUILT_IN else pack
    if holder.digest != pack.digest:
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "pack-id-taken",
            "Nom déjà pris",
            f"Un autre pack porte déjà le nom « {pack.pack_id} ». Donnez-en un autre : un pack ne change jamais.",
        )
    return [] if there else [wanted]


def change(
    known: Platform,
    pack_id: str,
    *,
    use: PackUse | None,
    effective_from: date | None,
    effective_until: date | None,
    reason: str,
    built_in: Pack,
) -> list[Fact]:
    """Change when and how a pack applies: without a use or a beginning, as before; without an end, for ever.

    The pack that comes with the platform is installed by the first change to it.

    Raises:
        RequestRefusedError: there is no such pack, or the dates cannot be.
    """
    installing: list[Fact] = []
    if pack_id not in known.packs:
        if pack_id != BUILT_IN:
            raise unknown_pack(pack_id)
        installing = [_as_shipped(built_in)]
        known = known.evolve(installing[0])
    there = known.packs[pack_id]
    changed = PackChanged(
        pack_id=pack_id,
        use=use or there.use,
        effective_from=effective_from or there.effective_from,
        effective_until=effective_until,
        reason=reason,
    )
    _check_period(changed.effective_from, changed.effective_until)
    told = news(known, [changed])
    return [*installing, *told] if told else []


def _as_shipped(built_in: Pack) -> PackInstalled:
    reason = "Pack livré avec la plateforme"
    return PackInstalled(pack=built_in, use="active", effective_from=BUILT_IN_FROM, reason=reason)


def set_severity(
    past: Sequence[Fact], collectivite: str, code: str, severity: Severity | None, reason: str
) -> list[Fact]:
    """Say how serious a control is from now on (None: as by default); nothing when that was the last word already.

    Raises:
        RequestRefusedError: the control is unknown, or fixed.
    """
    control = BY_CODE.get(code)
    if control is None and code != SCHEMA:
        raise RequestRefusedError(
            Why.NOT_FOUND, "control-not-found", "Contrôle inconnu", f"Aucun contrôle « {code} »."
        )
    if control is not None and control.is_fixed:
        raise RequestRefusedError(
            Why.AS_THINGS_STAND,
            "control-fixed",
            "Contrôle obligatoire",
            f"Le contrôle « {code} » ne peut pas être assoupli.",
        )
    wanted = PolicySet(code=code, severity=severity, reason=reason)
    return decided_for(past, collectivite, wanted, reason)


def unknown_pack(pack_id: str) -> RequestRefusedError:
    """Return the refusal of a pack that is not installed."""
    detail = f"Aucun pack de schémas « {pack_id} » n’est installé. Voyez la liste des packs."
    return RequestRefusedError(Why.NOT_FOUND, "pack-not-found", "Pack inconnu", detail)


def _check_period(since: date, until: date | None) -> None:
    if until is not None and until <= since:
        raise RequestRefusedError(
            Why.UNUSABLE, "dates-invalid", "Période impossible", f"La fin ({until}) précède le début ({since})."
        )

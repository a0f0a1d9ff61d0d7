"""Which certificates expire, and when: what is announced, in which order, to whom; and the watch that never ends."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from services.signature import expiry
from services.signature.adapters.seal import KeySeal
from services.signature.expiry import Expiry
from services.signature.mandates import Mandate, NamedCertificate
from shared.errors import UnavailableError
from shared.facts.collectivite import MandateEnded
from shared.facts.envelope import new_id
from shared.web.auth import Role
from signing.trust import TrustList
from tests.fakes.memory_registries import MemoryRegistries
from tests.granting import grant, say
from tests.parapheur import DEPUTY, MAYOR, caller, sealed_by
from tests.pki import Holder, intermediate, issue, root, rsa_key, signer
from tests.real.platform import COLLECTIVITE

NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
OTHER = "219900017"
LASTING = 2000 * DAY


@dataclass
class ChangingTrust:
    """A trust list that a test may change, or make unreadable."""

    list: TrustList = field(default_factory=TrustList)
    is_down: bool = False

    def current(self) -> TrustList:
        """See `services.signature.ports.Trust.current`."""
        if self.is_down:
            raise UnavailableError("trust list", "its folder is away")
        return self.list


@dataclass
class Bench:
    """What the platform knows; nothing, to begin with."""

    registries: MemoryRegistries = field(default_factory=MemoryRegistries)
    trust: ChangingTrust = field(default_factory=ChangingTrust)
    seal: KeySeal | None = None
    now: datetime = NOW

    @property
    def expiry(self) -> Expiry:
        return Expiry(self.registries, self.trust, self.seal, lambda: self.now)

    async def mandate(self, person: str, until: datetime | None, **changes: object) -> Mandate:
        """Record a mandate that names a certificate valid until then."""
        values = {
            "mandate_id": new_id(),
            "collectivite": COLLECTIVITE,
            "person": person,
            "name": person.title(),
            "act": "Procès-verbal d’élection",
            "valid_from": NOW - 30 * DAY,
            "valid_until": None,
            "certificate_sha256": "" if until is None else f"{len(self.registries.history.log):064x}",
            "certificate_until": until,
            "recorded_at": NOW,
            **changes,
        }
        mandate = Mandate(**values)  # type: ignore[arg-type]
        await grant(self.registries.history, mandate)
        return mandate

    async def names(self, *collectivites: str) -> list[str]:
        """Return the names that someone of these collectivités sees; the platform itself for none."""
        who = caller("amina", Role.AUDITEUR, *collectivites) if collectivites else None
        return [one.name for one in await self.expiry.known(who)]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Let the watch run meanwhile."""
        watch = asyncio.create_task(self.expiry.watch())
        try:
            await turns()
            yield
            assert not watch.done()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch


async def turns() -> None:
    """Let the tasks that are ready go on, several times."""
    for _ in range(20):
        await asyncio.sleep(0)


def expiring(kind: str) -> float | None:
    """Return what the metric says of certificates to replace."""
    return REGISTRY.get_sample_value("heliotrope_certificates_expiring", {"kind": kind})


def authority(name: str, number: int, until: datetime) -> Holder:
    return issue(name, rsa_key(number), begin=NOW - LASTING, end=until, is_authority=True)


@pytest.mark.parametrize(
    ("left", "days", "is_announced"),
    [
        (91 * DAY, 91, False),
        (90 * DAY, 90, False),
        (90 * DAY - SECOND, 89, True),
        (DAY, 1, True),
        (SECOND, 0, True),
        (timedelta(), 0, True),
        (-SECOND, -1, True),
        (-400 * DAY, -400, True),
    ],
    ids=str,
)
async def test_a_certificate_is_announced_when_less_than_90_days_are_left(
    left: timedelta, days: int, is_announced: bool
) -> None:
    bench = Bench()
    await bench.mandate(MAYOR, NOW + left)
    (one,) = await bench.expiry.known()
    assert (one.days_left, one.is_announced) == (days, is_announced)


async def test_the_first_to_expire_comes_first_whatever_it_is_for() -> None:
    bench = Bench(seal=sealed_by(issue("Cachet", rsa_key(3), intermediate(), end=NOW + 30 * DAY)))
    bench.trust.list = TrustList(
        (authority("Tard", 5, NOW + LASTING).certificate, authority("Bientôt", 6, NOW + 20 * DAY).certificate)
    )
    await bench.mandate(MAYOR, NOW + 40 * DAY)
    await bench.mandate(DEPUTY, NOW + 10 * DAY)
    found = await bench.expiry.known()
    assert [(one.kind, one.days_left) for one in found] == [
        ("mandate", 10),
        ("authority", 20),
        ("seal", 30),
        ("mandate", 40),
        ("authority", LASTING.days),
    ]


async def test_what_expires_is_named_with_its_collectivite_and_its_fingerprint() -> None:
    bench = Bench(seal=sealed_by(signer()))
    await bench.mandate(MAYOR, NOW + 10 * DAY, certificate_sha256="a" * 64)
    mandate, seal = await bench.expiry.known()
    assert mandate.shown() == {
        "kind": "mandate",
        "collectivite": COLLECTIVITE,
        "name": "Camille",
        "certificate_sha256": "a" * 64,
        "until": "2026-04-11T12:00:00.000000Z",
        "days_left": 10,
        "is_announced": True,
    }
    assert (seal.kind, seal.collectivite, seal.name) == ("seal", "", "Signataire d'essai")
    assert seal.until == signer().certificate.not_valid_after_utc
    assert seal.certificate_sha256 != mandate.certificate_sha256


async def test_mandates_are_seen_in_ones_perimeter_and_what_serves_all_by_everyone() -> None:
    bench = Bench(seal=sealed_by(issue("Cachet", rsa_key(3), intermediate(), end=NOW + 30 * DAY)))
    bench.trust.list = TrustList((root().certificate,))
    await bench.mandate("ici", NOW + DAY)
    await bench.mandate("ailleurs", NOW + 2 * DAY, collectivite=OTHER)
    shared = ["Cachet", "Autorité racine d'essai"]
    assert await bench.names(COLLECTIVITE) == ["Ici", *shared]
    assert await bench.names(OTHER) == ["Ailleurs", *shared]
    assert await bench.names("219900025") == shared
    for everything in ((COLLECTIVITE, OTHER), ("*",), ()):
        assert await bench.names(*everything) == ["Ici", "Ailleurs", *shared]


async def test_a_mandate_counts_while_it_holds_and_when_it_names_a_certificate() -> None:
    bench = Bench()
    await bench.mandate("sans", None)
    await bench.mandate("fini", NOW + DAY, valid_until=NOW)
    ended = await bench.mandate("arrete", NOW + DAY)
    await bench.mandate("en cours", NOW + DAY, valid_until=NOW + DAY)
    await say(
        bench.registries.history,
        MandateEnded(mandate_id=ended.mandate_id, ended_at=NOW - SECOND, reason="Démission"),
    )
    assert await bench.names() == ["En Cours"]


async def test_nothing_known_is_nothing_to_say() -> None:
    assert await Bench().expiry.known() == []


# --- The watch ---------------------------------------------------------------------------------------------------


async def test_the_metric_counts_what_is_announced_by_kind() -> None:
    bench = Bench(seal=sealed_by(issue("Cachet", rsa_key(3), intermediate(), end=NOW + 30 * DAY)))
    bench.trust.list = TrustList(
        (authority("Tard", 5, NOW + LASTING).certificate, authority("Expirée", 6, NOW - DAY).certificate)
    )
    await bench.mandate(MAYOR, NOW + 10 * DAY)
    await bench.mandate(DEPUTY, NOW - DAY, collectivite=OTHER)
    await bench.mandate("louise", NOW + 90 * DAY)
    async with bench.watched():
        assert [expiring(kind) for kind in ("mandate", "seal", "authority")] == [2, 1, 1]


async def test_a_certificate_to_replace_is_logged_without_a_persons_name(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.mandate(MAYOR, NOW + 10 * DAY, certificate_sha256="a" * 64)
    await bench.mandate(DEPUTY, NOW + 100 * DAY)
    with caplog.at_level(logging.WARNING, logger=expiry.__name__):
        async with bench.watched():
            pass
    (record,) = caplog.records
    assert record.message == "certificate.expiring"
    said = vars(record)
    assert (said["certificate_kind"], said["sha256"], said["days_left"]) == ("mandate", "a" * 64, 10)
    assert "Camille" not in repr(said)


async def test_what_was_replaced_is_counted_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0)
    bench = Bench()
    old = await bench.mandate(MAYOR, NOW + 10 * DAY)
    async with bench.watched():
        assert expiring("mandate") == 1
        await say(
            bench.registries.history,
            MandateEnded(mandate_id=old.mandate_id, ended_at=NOW - SECOND, reason="Carte renouvelée"),
        )
        await bench.mandate(MAYOR, NOW + LASTING)
        await turns()
        assert expiring("mandate") == 0


async def test_the_watch_goes_on_when_the_trust_list_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0)
    bench = Bench()
    await bench.mandate(MAYOR, NOW + 10 * DAY)
    async with bench.watched():
        assert expiring("mandate") == 1
        bench.trust.is_down = True
        caplog.clear()
        await turns()
        assert {record.message for record in caplog.records} == {"certificates.unknown"}
        assert expiring("mandate") == 1  # what was last known, not nothing
        await bench.mandate(DEPUTY, NOW + 20 * DAY)
        bench.trust.is_down = False
        await turns()
        assert expiring("mandate") == 2


async def test_the_watch_goes_on_when_the_registries_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0)

    class AwayAtFirst(MemoryRegistries):
        times = 0

        async def certificates(self, at: datetime) -> list[NamedCertificate]:
            AwayAtFirst.times += 1
            if AwayAtFirst.times < 3:
                raise UnavailableError("postgresql")
            return await super().certificates(at)

    bench = Bench(registries=AwayAtFirst())
    await bench.mandate(MAYOR, NOW + 10 * DAY)
    async with bench.watched():
        await turns()
        assert (expiring("mandate"), AwayAtFirst.times >= 3) == (1, True)

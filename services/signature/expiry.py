"""Which certificates expire, and when: those of mandates, of the seal, of the authorities. Announced 90 days before.

A signatory whose card has expired finds out on the evening of the signature; whoever issues a new one takes weeks.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NoReturn

from services.signature.ports import Registries, Seal, Trust
from shared import metrics
from shared.facts.envelope import format_time
from shared.retrying import for_ever
from shared.web.auth import Caller, Right
from signing.certificates import ANNOUNCED_BEFORE, fingerprint, name_of

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 3600

Kind = Literal["mandate", "seal", "authority"]


@dataclass(frozen=True)
class Expiring:
    """A certificate and its end; `collectivite` is empty for what serves several."""

    kind: Kind
    collectivite: str
    name: str
    certificate_sha256: str
    until: datetime
    days_left: int

    @property
    def is_announced(self) -> bool:
        """True when it is time to have another one made."""
        return self.days_left < ANNOUNCED_BEFORE.days

    def shown(self) -> dict[str, object]:
        """Return it as the API answers it."""
        return {
            "kind": self.kind,
            "collectivite": self.collectivite,
            "name": self.name,
            "certificate_sha256": self.certificate_sha256,
            "until": format_time(self.until),
            "days_left": self.days_left,
            "is_announced": self.is_announced,
        }


@dataclass(frozen=True)
class Expiry:
    """Looks at every certificate that the platform knows."""

    registries: Registries
    trust: Trust
    seal: Seal | None
    now: Callable[[], datetime]

    async def known(self, who: Caller | None = None) -> list[Expiring]:
        """Return the certificates that a caller may see (None: all), the first to expire first."""
        now = self.now()
        held = await self.registries.certificates(now)
        found: list[Expiring] = [
            Expiring(
                "mandate",
                one.collectivite,
                one.name,
                one.certificate_sha256,
                one.certificate_until,
                (one.certificate_until - now).days,
            )
            for one in held
            if who is None or who.may(Right.READ, one.collectivite)
        ]
        shared = [("authority", one) for one in self.trust.current().authorities]
        if self.seal is not None:
            shared.append(("seal", self.seal.certificate))
        for kind, certificate in shared:
            until = certificate.not_valid_after_utc
            name = name_of(certificate)
            found.append(
                Expiring(
                    "seal" if kind == "seal" else "authority",
                    "",
                    name,
                    fingerprint(certificate),
                    until,
                    (until - now).days,
                )
            )
        return sorted(found, key=lambda one: one.until)

    async def watch(self) -> NoReturn:
        """Keep the metric, and write a line for each certificate to replace; for as long as the service runs."""
        await for_ever(self._look, outage="certificates.unknown", every_seconds=LOOK_SECONDS, pause=LOOK_SECONDS)

    async def _look(self) -> None:
        self._tell([one for one in await self.known() if one.is_announced])

    def _tell(self, announced: list[Expiring]) -> None:
        kinds: tuple[Kind, ...] = ("mandate", "seal", "authority")
        for kind in kinds:
            metrics.CERTIFICATES_EXPIRING.labels(kind).set(sum(one.kind == kind for one in announced))
        for one in announced:
            logger.warning(
                "certificate.expiring",
                extra={"certificate_kind": one.kind, "sha256": one.certificate_sha256, "days_left": one.days_left},
            )

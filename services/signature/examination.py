"""Examines a document: our verification and the trust list; before anything is sent, signxml too."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from pes.vocabulary import Finding
from services.signature.ports import Trust
from shared import metrics
from shared.errors import MalformedMessageError
from signing.report import Report
from signing.second_opinion import VerifiersDisagreeError, require_agreement
from signing.trust import judge, vouched
from signing.verification import verify


@dataclass(frozen=True)
class Examiner:
    """Verifies signatures as the platform does; nothing in it can be switched off."""

    trust: Trust
    now: Callable[[], datetime]

    async def judge_certificate(self, certificate: x509.Certificate, at: datetime) -> list[Finding]:
        """Return what there is to say of a certificate before anything is signed with it.

        Raises:
            UnavailableError: the trust list cannot be read.
        """
        trust, now = self.trust.current(), self.now()
        found = await asyncio.to_thread(judge, certificate, (), trust, at=at, now=now)
        return [check.finding("", text, severity=severity) for check, text, severity in found]

    async def examine(self, document: bytes) -> Report:
        """Return what there is to say of every signature of a document.

        Raises:
            UnavailableError: the trust list cannot be read.
        """
        trust = self.trust.current()
        report = await asyncio.to_thread(verify, document)
        report = await asyncio.to_thread(vouched, report, trust, now=self.now())
        metrics.SIGNATURES_EXAMINED.labels(report.verdict).inc()
        return report

    async def examine_to_send(self, document: bytes) -> Report:
        """Examine what is about to be sent: what we hold for good, signxml must hold for good.

        Raises:
            UnavailableError: as `examine`.
            MalformedMessageError: it does not; the flux is parked, and the alert tells.
        """
        report = await self.examine(document)
        if report.verdict != "valid":
            return report
        try:
            await asyncio.to_thread(require_agreement, document, report)
        except VerifiersDisagreeError as error:
            metrics.VERIFIERS_DISAGREED.inc()
            raise MalformedMessageError(str(error)) from error
        return report

"""What is known of the signatures of a PES once they have been verified."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509

from pes.vocabulary import Finding, OnScreen

Verdict = Literal["valid", "invalid", "unsigned"]


class Classification(OnScreen):
    """How a PES is signed, in DGFiP's families (helios.md 5.7)."""

    UNSIGNED = "unsigned", "non signé"
    BORDEREAUX = "bordereaux", "signature des bordereaux"
    INCOMPLETE = "incomplete", "signature incomplète des bordereaux"
    """Some bordereaux are signed, and others are not."""
    GLOBAL_BUSINESS = "globale-metier", "signature métier globale"
    """One signature of the whole, and InfoDematerialisee is 1."""
    GLOBAL_TECHNICAL = "globale-technique", "signature technique globale"
    """A signature of the whole, and InfoDematerialisee is not 1, or there are other signatures."""


@dataclass(frozen=True)
class SignatureReport:
    """One signature: of which element, by whom, when, and everything there is to say against it.

    Attributes:
        signature_id: its XML Id.
        element_id: the Id of the element that contains it; empty for a root without Id.
        is_global: it is the root's.
        form: the form of 5.3 or 5.4, in Libersign's manner: `xades-env-1.2.2-sha256`; empty when it is neither.
        certificate: the signatory's, if it could be read; who vouches for it is in `findings`.
        intermediates: the other certificates that it brought.
        signer: the subject of the certificate, as people write it (`certificates.whole_name`).
        signing_time: as stated by the signatory; UTC.
        claimed_role: at what title, as stated.
        policy: the identifier of its policy.
        findings: in the order of the checks; it holds when none is blocking.
    """

    signature_id: str = ""
    element_id: str = ""
    is_global: bool = False
    form: str = ""
    certificate: x509.Certificate | None = None
    intermediates: tuple[x509.Certificate, ...] = ()
    signer: str = ""
    signing_time: datetime | None = None
    claimed_role: str = ""
    policy: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def holds(self) -> bool:
        """True when nothing blocking was found."""
        return not any(finding.severity == "blocking" for finding in self.findings)


@dataclass(frozen=True)
class Report:
    """Every signature of a document, in document order; `findings` are about the document as a whole."""

    signatures: tuple[SignatureReport, ...] = ()
    classification: Classification = Classification.UNSIGNED
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Say what the document is worth."""
        if any(finding.severity == "blocking" for finding in self.findings):
            return "invalid"
        if not self.signatures:
            return "unsigned"
        return "valid" if all(one.holds for one in self.signatures) else "invalid"

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Everything found: of the document, then of each signature."""
        return (*self.findings, *(finding for one in self.signatures for finding in one.findings))

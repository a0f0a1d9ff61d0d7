"""Who vouches for a signatory: chain, usage, validity, revocation (checks 7 and 18 to 21)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from services.signature.adapters.trust import TrustFolder
from shared.errors import UnavailableError
from signing.trust import TrustList, judge, vouched
from signing.trust_files import TrustFolderError, load_trust
from signing.verification import verify
from tests.pki import (
    YEAR,
    Holder,
    crl,
    hostile_holder,
    intermediate,
    issue,
    ocsp_answer,
    responder,
    root,
    rsa_key,
    signer,
    usage,
    write_trust,
)
from tests.signing import NOW, signed_after

HOUR = timedelta(hours=1)
KEY_STOLEN = x509.ReasonFlags.key_compromise
CLEAN = (crl(root()), crl(intermediate()))


def trusting(*holders: Holder, **values: object) -> TrustList:
    authorities = tuple(holder.certificate for holder in holders)
    return TrustList(authorities, **{"crls": CLEAN, **values})  # type: ignore[arg-type]


def said(
    holder: Holder,
    trust: TrustList | None,
    *,
    brought: tuple[Holder, ...] = (),
    at: datetime = NOW,
    now: datetime = NOW,
) -> list[tuple[str, str]]:
    found = judge(holder.certificate, [one.certificate for one in brought], trust, at=at, now=now)
    return [(check.code.removeprefix("signature."), severity) for check, _, severity in found]


# --- The chain -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "brought"),
    [((root, intermediate), ()), ((intermediate,), ()), ((root,), (intermediate,))],
    ids=["root and intermediate known", "the intermediate is enough", "the intermediate comes with the signature"],
)
def test_a_certificate_is_good_when_its_chain_reaches_an_authority_of_the_list(
    trusted: tuple[Callable[[], Holder], ...], brought: tuple[Callable[[], Holder], ...]
) -> None:
    trust = trusting(*(one() for one in trusted))
    assert said(signer(), trust, brought=tuple(one() for one in brought)) == []


def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    other = issue("Inconnue", rsa_key(5), is_authority=True)
    assert said(signer(), trusting(other)) == [("chain", "blocking")]
    assert said(signer(), trusting(root())) == [("chain", "blocking")]  # the intermediate is missing


def test_a_certificate_that_vouches_for_itself_is_refused() -> None:
    assert said(issue("Moi-même", rsa_key(6)), trusting(root())) == [("chain", "blocking")]


def test_an_authority_that_only_has_the_name_of_a_known_one_is_refused() -> None:
    usurper = issue("Autorité racine d'essai", rsa_key(7), is_authority=True)
    assert said(issue("Signataire", rsa_key(3), usurper), trusting(root())) == [("chain", "blocking")]


def test_a_signatory_certifies_nobody() -> None:
    forged = issue("Faux", rsa_key(8), signer())
    assert said(forged, trusting(root(), intermediate()), brought=(signer(),)) == [("chain", "blocking")]


def test_an_authority_that_had_expired_vouches_for_nothing() -> None:
    old = issue("Ancienne", rsa_key(5), begin=NOW - 3 * YEAR, end=NOW - HOUR, is_authority=True)
    late = issue("Tardif", rsa_key(6), old, begin=NOW - YEAR, end=NOW + YEAR)
    assert said(late, trusting(old)) == [("chain", "blocking")]
    assert said(late, trusting(old, crls=(crl(old),)), at=NOW - 2 * HOUR) == []


def test_an_empty_list_trusts_nobody() -> None:
    assert said(signer(), TrustList()) == [("chain", "blocking")]


def test_without_any_list_a_warning_says_that_nobody_vouches() -> None:
    assert said(signer(), None) == [("chain", "warning")]


# --- Time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (NOW - YEAR, NOW - HOUR, [("validity", "blocking")]),
        (NOW + HOUR, NOW + YEAR, [("validity", "blocking")]),
        (NOW - HOUR, NOW + HOUR, []),
    ],
    ids=["expired", "not yet valid", "valid"],
)
def test_a_certificate_signs_while_it_is_valid(
    begin: datetime, end: datetime, expected: list[tuple[str, str]]
) -> None:
    holder = issue("Signataire", rsa_key(3), intermediate(), begin=begin, end=end)
    assert said(holder, trusting(intermediate())) == expected


def test_a_certificate_that_expired_since_is_good_for_what_it_signed() -> None:
    holder = issue("Signataire", rsa_key(3), intermediate(), end=NOW + HOUR)
    assert said(holder, trusting(intermediate()), now=NOW + 2 * YEAR) == []


def test_a_signing_time_in_the_future_is_refused() -> None:
    trust = trusting(intermediate(), crls=(crl(intermediate(), until=NOW + YEAR),))
    assert said(signer(), trust, at=NOW + HOUR) == [("time", "blocking")]
    assert said(signer(), trust, at=NOW + timedelta(minutes=4)) == []


# --- Usage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key_usage", "expected"),
    [
        (usage(content_commitment=True), []),
        (usage(digital_signature=True), [("usage", "warning")]),
        (None, [("usage", "warning")]),
        (usage(key_encipherment=True), [("usage", "blocking")]),
    ],
    ids=["nonRepudiation", "digitalSignature only", "none stated", "encryption"],
)
def test_a_certificate_must_be_made_to_sign(key_usage: x509.KeyUsage | None, expected: list[tuple[str, str]]) -> None:
    holder = issue("Signataire", rsa_key(3), intermediate(), key_usage=key_usage)
    assert said(holder, trusting(intermediate())) == expected


def test_an_authority_does_not_sign_flux() -> None:
    assert ("usage", "blocking") in said(intermediate(), trusting(root()))


# --- Revocation ----------------------------------------------------------------------------------------------


def test_without_any_source_a_warning_says_so_or_a_refusal_where_proof_is_required() -> None:
    trust = trusting(intermediate(), crls=())
    assert said(signer(), trust) == [("revocation", "warning")]
    assert said(signer(), trusting(intermediate(), crls=(), is_proof_required=True)) == [("revocation", "blocking")]


@pytest.mark.parametrize(
    ("revoked_at", "reason", "expected"),
    [
        (NOW - HOUR, None, "blocking"),
        (NOW, None, "blocking"),
        (NOW + HOUR, None, "warning"),
        (NOW + HOUR, x509.ReasonFlags.cessation_of_operation, "warning"),
        (NOW + HOUR, KEY_STOLEN, "blocking"),
    ],
)
@pytest.mark.parametrize("source", ["crl", "ocsp"])
def test_a_revoked_certificate_is_refused_unless_it_was_revoked_later_for_a_harmless_reason(
    source: str, revoked_at: datetime, reason: x509.ReasonFlags | None, expected: str
) -> None:
    if source == "crl":
        trust = trusting(intermediate(), crls=(crl(intermediate(), [(signer(), revoked_at, reason)]),))
    else:
        answer = ocsp_answer(signer(), intermediate(), responder(), revoked_at=revoked_at, reason=reason)
        trust = trusting(intermediate(), crls=(), ocsp_answers=(answer,))
    assert said(signer(), trust, now=NOW + 2 * HOUR) == [("revocation", expected)]


def test_a_certificate_taken_off_the_list_again_is_good() -> None:
    entry = (signer(), NOW - HOUR, x509.ReasonFlags.remove_from_crl)
    later = crl(intermediate())
    assert said(signer(), trusting(intermediate(), crls=(crl(intermediate(), [entry]), later))) == []


def test_one_source_that_knows_of_a_revocation_is_enough() -> None:
    revoking = crl(intermediate(), [(signer(), NOW - HOUR, None)])
    good = ocsp_answer(signer(), intermediate(), responder())
    trust = trusting(intermediate(), crls=(crl(intermediate()), revoking), ocsp_answers=(good,))
    assert said(signer(), trust) == [("revocation", "blocking")]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_the_worst_of_two_revocations_counts_whatever_the_order_of_the_files(is_reversed: bool) -> None:
    mild = crl(intermediate(), [(signer(), NOW + HOUR, x509.ReasonFlags.superseded)])
    grave = crl(intermediate(), [(signer(), NOW + 2 * HOUR, KEY_STOLEN)])
    early = crl(intermediate(), [(signer(), NOW - HOUR, None)])
    for pair in ((mild, grave), (mild, early)):
        crls = tuple(reversed(pair)) if is_reversed else pair
        assert said(signer(), trusting(intermediate(), crls=crls), now=NOW + YEAR) == [("revocation", "blocking")]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_of_a_suspension_the_last_word_counts(is_reversed: bool) -> None:
    hold = (signer(), NOW - HOUR, x509.ReasonFlags.certificate_hold)
    lifted = (crl(intermediate(), [hold], made=NOW - HOUR), crl(intermediate(), made=NOW))
    crls = tuple(reversed(lifted)) if is_reversed else lifted
    assert said(signer(), trusting(intermediate(), crls=crls)) == []
    assert said(signer(), trusting(intermediate(), crls=lifted[:1])) == [("revocation", "blocking")]


def point(**values: object) -> tuple[x509.ExtensionType, bool]:
    settings: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**settings, **values}), True  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("extension", "proves"),
    [
        (point(only_contains_user_certs=True), True),
        (point(only_contains_ca_certs=True), False),
        (point(only_contains_attribute_certs=True), False),
        (point(only_some_reasons=frozenset({KEY_STOLEN})), False),
        (point(only_contains_user_certs=True, indirect_crl=True), False),
        ((x509.DeltaCRLIndicator(1), True), False),
        ((x509.CRLNumber(1), False), True),
    ],
)
def test_a_list_proves_only_what_it_speaks_of(extension: tuple[x509.ExtensionType, bool], proves: bool) -> None:
    trust = trusting(intermediate(), crls=(crl(intermediate(), extensions=(extension,)),))
    assert said(signer(), trust) == ([] if proves else [("revocation", "warning")])


def test_a_list_made_after_a_certificate_expired_proves_nothing_of_it() -> None:
    holder = issue("Signataire", rsa_key(3), intermediate(), end=NOW + HOUR)
    late = crl(intermediate(), made=NOW + 2 * HOUR, until=NOW + YEAR)
    assert said(holder, trusting(intermediate(), crls=(late,)), now=NOW + YEAR) == [("revocation", "warning")]


def test_an_authority_that_may_not_sign_lists_signs_none() -> None:
    certifies = usage(key_cert_sign=True)
    narrow = issue("Étroite", rsa_key(5), is_authority=True, authority_usage=certifies)
    holder = issue("Signataire", rsa_key(3), narrow)
    assert said(holder, trusting(narrow, crls=(crl(narrow),))) == [("revocation", "warning")]


def test_a_revoked_authority_takes_its_certificates_with_it() -> None:
    revoking = crl(root(), [(intermediate(), NOW - HOUR, None)])
    trust = trusting(root(), crls=(revoking, crl(intermediate())))
    assert said(signer(), trust, brought=(intermediate(),)) == [("revocation", "blocking")]


@pytest.mark.parametrize(
    "source",
    [
        crl(intermediate(), made=NOW - YEAR, until=NOW - HOUR),
        crl(intermediate(), key=rsa_key(9)),
        crl(root()),
    ],
    ids=["of before", "forged", "of another authority"],
)
def test_a_list_that_says_nothing_of_that_day_is_no_proof(source: x509.CertificateRevocationList) -> None:
    assert said(signer(), trusting(intermediate(), crls=(source,))) == [("revocation", "warning")]


def test_a_list_made_after_the_signature_proves_though_it_is_old_by_now() -> None:
    source = crl(intermediate(), made=NOW + HOUR, until=NOW + 2 * HOUR)
    assert said(signer(), trusting(intermediate(), crls=(source,)), now=NOW + YEAR) == []


@pytest.mark.parametrize("by", [responder, intermediate], ids=["a named responder", "the authority itself"])
def test_an_ocsp_answer_proves_that_a_certificate_is_good(by: Callable[[], Holder]) -> None:
    answer = ocsp_answer(signer(), intermediate(), by())
    assert said(signer(), trusting(intermediate(), crls=(), ocsp_answers=(answer,))) == []


def test_an_ocsp_answer_of_somebody_else_is_no_proof() -> None:
    stranger = issue("Inconnu", rsa_key(5), root())
    unnamed = issue("Sans titre", rsa_key(6), intermediate())
    other = issue("Autre", rsa_key(3), intermediate())
    for answer in (
        ocsp_answer(signer(), intermediate(), stranger),
        ocsp_answer(signer(), intermediate(), unnamed),
        ocsp_answer(other, intermediate(), responder()),
        ocsp_answer(signer(), intermediate(), responder(), made=NOW - YEAR, until=NOW - HOUR),
    ):
        assert said(signer(), trusting(intermediate(), crls=(), ocsp_answers=(answer,))) == [
            ("revocation", "warning")
        ]


# --- A report ------------------------------------------------------------------------------------------------


def test_a_report_says_of_each_signature_who_vouches_for_it() -> None:
    document = signed_after(str, certificate=signer().certificate, key=signer().key)
    report = verify(document)
    assert vouched(report, trusting(intermediate()), now=NOW).verdict == "valid"
    refused = vouched(report, trusting(issue("Autre", rsa_key(5), is_authority=True)), now=NOW)
    assert refused.verdict == "invalid"
    (finding,) = refused.all_findings
    assert (finding.code, finding.where.bordereau, finding.who) == ("signature.chain", "BORD1", "hébergeur")
    assert "Autorité fille d'essai" in finding.message


# --- The folder ----------------------------------------------------------------------------------------------


def test_a_folder_holds_authorities_crls_and_ocsp_answers_in_pem_or_der(tmp_path: Path) -> None:
    folder = write_trust(tmp_path, root(), crls=CLEAN, answers=(ocsp_answer(signer(), intermediate(), responder()),))
    (folder / "fille.der").write_bytes(intermediate().certificate.public_bytes(Encoding.DER))
    both = signer().certificate.public_bytes(Encoding.PEM) + CLEAN[0].public_bytes(Encoding.PEM)
    (folder / "melange.pem").write_bytes(both)
    (folder / "signer.key").write_bytes(b"not read")
    loaded = load_trust(folder)
    assert set(loaded.trust.authorities) == {root().certificate, intermediate().certificate}
    assert (len(loaded.trust.crls), len(loaded.trust.ocsp_answers)) == (3, 1)
    assert len(loaded.ignored) == 1
    assert "Signataire d'essai" in loaded.ignored[0]


def test_a_certificate_part_of_which_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "hostile.der").write_bytes(hostile_holder().certificate.public_bytes(Encoding.DER))
    with pytest.raises(TrustFolderError, match=r"hostile\.der"):
        load_trust(tmp_path)


@pytest.mark.parametrize("name", ["a.pem", "a.crl", "a.ocsp"])
def test_a_file_that_is_not_what_it_says_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"-----BEGIN NOTHING-----")
    with pytest.raises(TrustFolderError, match=name):
        load_trust(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrustFolderError, match="nulle-part"):
        load_trust(tmp_path / "nulle-part")


async def test_a_list_is_read_again_when_it_changes(tmp_path: Path) -> None:
    folder = TrustFolder(write_trust(tmp_path, root()), is_proof_required=True)
    await folder.check()
    assert folder.current() is folder.current()
    write_trust(tmp_path, root(), intermediate())
    assert len(folder.current().authorities) == 2
    assert folder.current().is_proof_required
    (tmp_path / "b.pem").write_bytes(b"x")
    with pytest.raises(UnavailableError):
        folder.current()


async def test_a_list_without_authority_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        await TrustFolder(tmp_path, is_proof_required=False).check()

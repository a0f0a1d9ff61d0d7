"""Distinguished names, as people read them."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from shared import wording
from signing.certificates import common_name, whole_name
from signing.verification import verify
from tests import examples as an
from tests.pki import issue, rsa_key
from tests.signing import signed_after

PERSON = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
        x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, "NTRFR-213499908"),
        x509.NameAttribute(NameOID.TITLE, "Maire"),
        x509.NameAttribute(NameOID.SURNAME, "Durand"),
        x509.NameAttribute(NameOID.GIVEN_NAME, "Camille"),
        x509.NameAttribute(NameOID.SERIAL_NUMBER, "A1"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Durand, Camille + C\\o"),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "camille@saint-exemple.invalid"),
    ]
)


def test_a_name_shows_short_names_where_people_know_them() -> None:
    assert whole_name(PERSON) == (
        "E=camille@saint-exemple.invalid,CN=Durand\\, Camille \\+ C\\\\o,SERIALNUMBER=A1,GIVENNAME=Camille,"
        "SURNAME=Durand,T=Maire,ORGANIZATIONIDENTIFIER=NTRFR-213499908,C=FR"
    )


def test_what_has_no_name_that_people_know_is_shown_with_its_number() -> None:
    assert whole_name(x509.Name([x509.NameAttribute(ObjectIdentifier("1.2.3.4"), "x")])) == "1.2.3.4=x"


def test_who_has_no_common_name_is_called_by_the_whole_name() -> None:
    assert common_name(x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b.invalid")])) == "E=a@b.invalid"


def test_a_signatory_is_recorded_with_the_name_that_people_read() -> None:
    holder = issue(PERSON, rsa_key(3))
    report = verify(signed_after(lambda part: part, certificate=holder.certificate, key=holder.key))
    assert [one.signer for one in report.signatures] == [whole_name(PERSON)]


@pytest.mark.parametrize(
    "recorded",
    [PERSON.rfc4514_string(), whole_name(PERSON), "CN=Durand\\2C Camille \\+ C\\\\o,O=x\\,CN=Autre"],
    ids=["as it was", "as it is", "as others write it"],
)
def test_a_fact_names_the_person_however_the_name_was_recorded(recorded: str) -> None:
    signature = an.signature.model_copy(update={"signer": recorded})
    told = wording.what(an.signed.model_copy(update={"signatures": (signature,)}))
    assert told.startswith("Signé par Durand, Camille + C\\o :")

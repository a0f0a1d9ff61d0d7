"""The names that a flux takes: which, in which scope, and when it gives one up."""

from shared.claims import DOCUMENT, IDEMPOTENCY_KEY, REPLY, Claim, claims_of, releases_of
from tests import examples as an

OTHER = "111222333"


def test_an_import_takes_its_file_in_its_collectivite() -> None:
    assert claims_of(an.imported, an.collectivite) == (Claim(an.collectivite, DOCUMENT, an.document.sha256),)


def test_an_import_with_a_key_takes_the_key_before_the_file() -> None:
    keyed = an.imported.model_copy(update={"idempotency_key": "k"})
    assert claims_of(keyed, an.collectivite) == (
        Claim(an.collectivite, IDEMPOTENCY_KEY, "k"),
        Claim(an.collectivite, DOCUMENT, an.document.sha256),
    )


def test_two_collectivites_never_take_each_other_s_names() -> None:
    keyed = an.imported.model_copy(update={"idempotency_key": "k"})
    assert set(claims_of(keyed, an.collectivite)).isdisjoint(claims_of(keyed, OTHER))


def test_a_reply_is_one_for_the_whole_platform_whatever_its_name() -> None:
    renamed = an.reply_received.model_copy(update={"remote_name": "another"})
    expected = (Claim("dgfip", REPLY, an.reply.sha256),)
    assert claims_of(an.reply_received, an.collectivite) == claims_of(renamed, OTHER) == expected


def test_other_facts_take_nothing_and_give_nothing_up() -> None:
    assert claims_of(an.validated, an.collectivite) == ()
    assert releases_of(an.imported) == ()


def test_a_cancellation_gives_up_the_file_and_keeps_the_key() -> None:
    assert releases_of(an.cancelled) == (DOCUMENT,)

"""Bearer tokens: who gets in, for which collectivité, and what the others read."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cli.local.keys import public_jwk
from shared.auth import MAY_READ, MAY_SEND, Caller, Role, TokenChecker
from shared.errors import RequestRefusedError

KEY = Ed25519PrivateKey.generate()
OTHER_KEY = Ed25519PrivateKey.generate()
Sign = Callable[..., str]


@pytest.fixture
def checker(tmp_path: Path) -> TokenChecker:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [public_jwk(KEY)]}))
    return TokenChecker.from_file(path, "heliotrope")


def token(key: Ed25519PrivateKey = KEY, *, kid: str | None = None, **changes: object) -> str:
    claims = {
        "sub": "amina",
        "aud": "heliotrope",
        "iss": "heliotrope",
        "exp": datetime.now(UTC) + timedelta(hours=1),
        "roles": ["gestionnaire"],
        "collectivites": ["213499908"],
    } | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": kid or public_jwk(KEY)["kid"]})


def test_a_good_token_says_who_calls(checker: TokenChecker) -> None:
    assert checker.check(token()) == Caller("amina", frozenset({Role.GESTIONNAIRE}), frozenset({"213499908"}))


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "abc",
        "a.b.c",
        token(exp=datetime.now(UTC) - timedelta(minutes=5)),
        token(aud="another"),
        token(iss="another"),
        token(OTHER_KEY),
        token(kid="unknown"),
        token(exp=None),
        token(sub=None),
        token(aud=None),
        token(roles=["king"]),
        token(roles=7),
        token(nbf=datetime.now(UTC) + timedelta(hours=1)),
        jwt.encode({"sub": "amina"}, "", algorithm="none", headers={"kid": public_jwk(KEY)["kid"]}),
        jwt.encode(
            {"sub": "amina", "aud": "heliotrope"},
            "0" * 32,
            algorithm="HS256",
            headers={"kid": public_jwk(KEY)["kid"]},
        ),
    ],
    ids=lambda _: "",
)
def test_any_other_token_is_refused_in_french(checker: TokenChecker, bad: str) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        checker.check(bad)
    assert refused.value.status == 401
    assert "jeton" in refused.value.detail
    assert "WWW-Authenticate" in refused.value.headers


def test_an_expired_token_says_so(checker: TokenChecker) -> None:
    with pytest.raises(RequestRefusedError, match="expiré"):
        checker.check(token(exp=datetime.now(UTC) - timedelta(days=1)))


def caller(*collectivites: str, role: Role = Role.GESTIONNAIRE) -> Caller:
    return Caller("amina", frozenset({role}), frozenset(collectivites))


def test_whoever_acts_for_one_collectivite_need_not_name_it() -> None:
    assert caller("213499908").choose("") == "213499908"


@pytest.mark.parametrize(
    ("who", "asked", "status"),
    [
        (caller("213499908", "111222333"), "", 400),
        (caller("*"), "", 400),
        (caller("*"), "12", 400),
        (caller("*"), "²" * 9, 400),
        (caller("*"), "21349990800019", 400),
        (caller("213499908"), "111222333", 403),
        (caller(), "111222333", 403),
    ],
)
def test_a_collectivite_that_cannot_be_is_refused(who: Caller, asked: str, status: int) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        who.choose(asked)
    assert refused.value.status == status


def test_an_operator_acts_for_all() -> None:
    operator = caller("*", role=Role.OPERATOR)
    assert operator.choose("111222333") == "111222333"
    assert operator.perimeter is None
    assert operator.may_see("anyone")


def test_a_perimeter_is_never_wider_than_the_token() -> None:
    assert caller("213499908").perimeter == frozenset({"213499908"})
    assert not caller("213499908").may_see("111222333")
    assert caller().perimeter == frozenset()


def test_an_auditor_reads_and_sends_nothing() -> None:
    auditor = caller("213499908", role=Role.AUDITEUR)
    auditor.require(MAY_READ, "consulter les flux")
    with pytest.raises(RequestRefusedError, match="envoyer un flux"):
        auditor.require(MAY_SEND, "envoyer un flux")

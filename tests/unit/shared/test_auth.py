"""Bearer tokens: who gets in, for which collectivité, and what the others read."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_decode, base64url_encode

from local.keys import public_jwk
from shared.errors import RequestRefusedError
from shared.web.auth import MAY_READ, MAY_SEND, Caller, Role, TokenChecker

KEY = Ed25519PrivateKey.generate()
OTHER_KEY = Ed25519PrivateKey.generate()
KID = str(public_jwk(KEY)["kid"])
SHARED_SECRET = b"0" * 64
PUBLIC_BYTES = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NOW = datetime.now(UTC)


@pytest.fixture
def checker(tmp_path: Path) -> TokenChecker:
    return checker_of(tmp_path, public_jwk(KEY))


def checker_of(folder: Path, *keys: object) -> TokenChecker:
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": keys}))
    return TokenChecker.from_file(path, "heliotrope")


def token(key: object = KEY, *, kid: str | None = KID, algorithm: str = "EdDSA", **changes: object) -> str:
    """Sign a good token, but for what is changed; a claim of None is left out."""
    claims = {
        "sub": "amina",
        "aud": "heliotrope",
        "iss": "heliotrope",
        "exp": NOW + timedelta(hours=1),
        "roles": ["gestionnaire"],
        "collectivites": ["213499908"],
    } | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    headers = {"kid": kid} if kid else {}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)  # type: ignore[arg-type]  # bad ones too


def altered(good: str, **changes: object) -> str:
    """Change the claims of a token and keep its signature."""
    header, claims, signature = good.split(".")
    members = json.loads(base64url_decode(claims)) | changes
    return ".".join((header, base64url_encode(json.dumps(members).encode()).decode(), signature))


BAD_TOKENS = {
    "empty": "",
    "no token": "abc",
    "three words": "a.b.c",
    "expired": token(exp=NOW - timedelta(minutes=5)),
    "not yet valid": token(nbf=NOW + timedelta(hours=1)),
    "another audience": token(aud="another"),
    "another issuer": token(iss="another"),
    "another key": token(OTHER_KEY),
    "unknown key": token(kid="unknown"),
    "no key named": token(kid=None),
    "without an end": token(exp=None),
    "of nobody": token(sub=None),
    "for nobody": token(aud=None),
    "from nobody": token(iss=None),
    "an unknown role": token(roles=["king"]),
    "roles of another shape": token(roles=7),
    "collectivites of another shape": token(collectivites=7),
    "altered": altered(token(), roles=["operateur"], collectivites=["*"]),
    "signature cut off": token().rpartition(".")[0] + ".",
    "signed by none": token("", algorithm="none"),
    "our public key as a secret": token(PUBLIC_BYTES, algorithm="HS256"),
    "a shared secret": token(SHARED_SECRET, algorithm="HS256"),
    "another algorithm": token(RSA_KEY, algorithm="RS256"),
}


def test_a_good_token_says_who_calls(checker: TokenChecker) -> None:
    assert checker.check(token()) == Caller("amina", frozenset({Role.GESTIONNAIRE}), frozenset({"213499908"}))


def test_a_clock_that_is_a_little_slow_is_forgiven(checker: TokenChecker) -> None:
    assert checker.check(token(exp=datetime.now(UTC) - timedelta(seconds=5))).subject == "amina"


@pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_any_other_token_is_refused_in_french(checker: TokenChecker, bad: str) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        checker.check(bad)
    assert refused.value.status == 401
    assert "jeton" in refused.value.detail
    assert "WWW-Authenticate" in refused.value.headers


def test_each_key_of_the_set_is_used_for_its_own_tokens(tmp_path: Path) -> None:
    checker = checker_of(tmp_path, public_jwk(KEY), public_jwk(OTHER_KEY))
    assert checker.check(token(OTHER_KEY, kid=str(public_jwk(OTHER_KEY)["kid"]))).subject == "amina"
    with pytest.raises(RequestRefusedError):
        checker.check(token(OTHER_KEY))


@pytest.mark.parametrize(("key", "algorithm"), [(KEY, "EdDSA"), (RSA_KEY, "RS256"), (EC_KEY, "ES256")])
def test_a_key_of_each_kind_opens(tmp_path: Path, key: Any, algorithm: str) -> None:
    made = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    checker = checker_of(tmp_path, {**made, "kid": "k", "alg": algorithm})
    assert checker.check(token(key, kid="k", algorithm=algorithm)).subject == "amina"


def test_a_secret_in_the_key_set_opens_nothing(tmp_path: Path) -> None:
    secret = {"kty": "oct", "kid": "shared", "alg": "HS256", "k": base64url_encode(SHARED_SECRET).decode()}
    with pytest.raises(RequestRefusedError):
        checker_of(tmp_path, secret).check(token(SHARED_SECRET, kid="shared", algorithm="HS256"))


def test_an_expired_token_says_so(checker: TokenChecker) -> None:
    with pytest.raises(RequestRefusedError, match="expiré"):
        checker.check(token(exp=datetime.now(UTC) - timedelta(days=1)))


def caller(*collectivites: str, role: Role = Role.GESTIONNAIRE) -> Caller:
    return Caller("amina", frozenset({role}), frozenset(collectivites))


def test_whoever_acts_for_one_collectivite_need_not_name_it() -> None:
    assert caller("213499908").choose("") == "213499908"


@pytest.mark.parametrize(
    ("who", "asked", "status", "slug"),
    [
        (caller("213499908", "111222333"), "", 400, "collectivite-required"),
        (caller("*"), "", 400, "collectivite-required"),
        (caller(), "", 400, "collectivite-required"),
        (caller("*"), "12", 400, "collectivite-invalid"),
        (caller("*"), "²" * 9, 400, "collectivite-invalid"),
        (caller("*"), "21349990800019", 400, "collectivite-invalid"),
        (caller("213499908"), "*", 400, "collectivite-invalid"),
        (caller("213499908"), "111222333", 403, "forbidden"),
        (caller(), "111222333", 403, "forbidden"),
    ],
)
def test_a_collectivite_that_cannot_be_is_refused(who: Caller, asked: str, status: int, slug: str) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        who.choose(asked)
    assert (refused.value.status, refused.value.slug) == (status, slug)


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
    with pytest.raises(RequestRefusedError, match="envoyer un flux") as refused:
        auditor.require(MAY_SEND, "envoyer un flux")
    assert (refused.value.status, refused.value.slug) == (403, "forbidden")


def test_a_token_without_a_role_opens_nothing(checker: TokenChecker) -> None:
    nobody = checker.check(token(roles=None))
    with pytest.raises(RequestRefusedError):
        nobody.require(MAY_READ, "consulter les flux")


def test_a_token_without_a_collectivite_sees_none(checker: TokenChecker) -> None:
    assert checker.check(token(collectivites=None)).perimeter == frozenset()

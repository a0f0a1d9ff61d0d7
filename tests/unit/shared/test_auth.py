"""Bearer tokens: who gets in, what the others read, and the keys that change while the service runs."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_decode, base64url_encode

from local.keys.tokens import public_jwk
from shared.errors import RequestRefusedError, Why
from shared.facts.streams import UNATTRIBUTED
from shared.web.auth import Caller, Right, Role, TokenChecker
from shared.web.keys import FILE_BYTES_MAX, LOOK_SECONDS, token_checker

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
    return token_checker(path, "heliotrope", lambda: 0.0)


def token(key: object = KEY, *, kid: str | None = KID, algorithm: str = "EdDSA", **changes: object) -> str:
    """Sign a good token, but for what is changed; a claim of None is left out."""
    claims = {
        "sub": "amina",
        "aud": "heliotrope",
        "iss": "heliotrope",
        "exp": NOW + timedelta(hours=1),
        "roles": {"213499908": ["gestionnaire"], "*": ["auditeur"]},
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
    "an unknown role": token(roles={"213499908": ["gestionnaire", "king"]}),
    "roles nowhere": token(roles=None),
    "roles and collectivités apart, as they once were": token(roles=["gestionnaire"], collectivites=["213499908"]),
    "roles of another shape": token(roles=7),
    "one role, and no list": token(roles={"213499908": "gestionnaire"}),
    "a role in no collectivité": token(roles={"": ["gestionnaire"]}),
    "a SIRET": token(roles={"21349990800019": ["gestionnaire"]}),
    "no digits": token(roles={"²" * 9: ["gestionnaire"]}),
    "a line too many": token(roles={"213499908\n": ["gestionnaire"]}),
    "what belongs to nobody": token(roles={UNATTRIBUTED: ["operateur"]}),
    "altered": altered(token(), roles={"*": ["operateur"]}),
    "signature cut off": token().rpartition(".")[0] + ".",
    "signed by none": token("", algorithm="none"),
    "our public key as a secret": token(PUBLIC_BYTES, algorithm="HS256"),
    "a shared secret": token(SHARED_SECRET, algorithm="HS256"),
    "another algorithm": token(RSA_KEY, algorithm="RS256"),
}


def test_a_good_token_says_who_calls(checker: TokenChecker) -> None:
    assert checker.check(token()) == Caller(
        "amina", {"213499908": frozenset({Role.GESTIONNAIRE}), "*": frozenset({Role.AUDITEUR})}
    )


@pytest.mark.parametrize("roles", [{}, {"213499908": []}])
def test_a_token_without_a_role_is_nobodys_business_but_opens_nothing(
    checker: TokenChecker, roles: dict[str, list[str]]
) -> None:
    assert not any(checker.check(token(roles=roles)).may(right, "213499908") for right in Right)


def test_a_clock_that_is_a_little_slow_is_forgiven(checker: TokenChecker) -> None:
    assert checker.check(token(exp=datetime.now(UTC) - timedelta(seconds=5))).subject == "amina"


@pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_any_other_token_is_refused_in_french(checker: TokenChecker, bad: str) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        checker.check(bad)
    assert refused.value.why is Why.UNIDENTIFIED
    assert "jeton" in refused.value.detail


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


# --- Keys that change --------------------------------------------------------------------------------------------


@dataclass
class Keys:
    """A file of keys that changes, and the time that goes by; the first key is in it."""

    path: Path
    at: float = 0.0

    def __post_init__(self) -> None:
        """Begin with the first key."""
        self.write(KEY)
        self.checker = token_checker(self.path, "heliotrope", lambda: self.at)

    def write(self, *keys: Ed25519PrivateKey) -> None:
        self.path.write_text(json.dumps({"keys": [public_jwk(key) for key in keys]}))

    def opens(self, key: Ed25519PrivateKey) -> bool:
        try:
            self.checker.check(token(key, kid=str(public_jwk(key)["kid"])))
        except RequestRefusedError:
            return False
        return True


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "jwks.json")


def test_a_key_is_rotated_without_a_restart(keys: Keys) -> None:
    assert (keys.opens(KEY), keys.opens(OTHER_KEY)) == (True, False)
    keys.write(KEY, OTHER_KEY)
    keys.at += LOOK_SECONDS
    assert (keys.opens(KEY), keys.opens(OTHER_KEY)) == (True, True)
    keys.write(OTHER_KEY)
    keys.at += LOOK_SECONDS
    assert (keys.opens(KEY), keys.opens(OTHER_KEY)) == (False, True)


def test_a_file_put_in_the_place_of_the_other_counts(keys: Keys, tmp_path: Path) -> None:
    new = Keys(tmp_path / "new.json")
    new.write(OTHER_KEY)
    new.path.replace(keys.path)
    keys.at += LOOK_SECONDS
    assert (keys.opens(KEY), keys.opens(OTHER_KEY)) == (False, True)


def test_a_file_without_a_key_closes_every_door(keys: Keys) -> None:
    keys.write()
    keys.at += LOOK_SECONDS
    assert not keys.opens(KEY)


def test_unknown_keys_have_the_file_read_at_a_bounded_pace(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    really = Path.open

    def counted(path: Path, mode: str) -> object:
        opened.append(path)
        return really(path, mode)

    monkeypatch.setattr(Path, "open", counted)
    for _ in range(100):
        assert not keys.opens(OTHER_KEY)
    assert opened == []
    keys.at += LOOK_SECONDS
    for _ in range(100):
        assert not keys.opens(OTHER_KEY)
    assert opened == [keys.path]
    keys.at += LOOK_SECONDS
    assert keys.opens(KEY)  # the file is as it was
    assert opened == [keys.path]


@pytest.mark.parametrize(
    "content",
    [b"", b'{"keys": [{"kty": "OKP", ', b"{}", b"[]", b"7", b'{"keys": 7}', b'{"keys": ["x"]}', b"\xff\xfe"],
)
def test_while_the_file_is_half_written_the_keys_read_last_go_on(
    keys: Keys, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    keys.path.write_bytes(content)
    for _ in range(3):
        keys.at += LOOK_SECONDS
        assert (keys.opens(KEY), keys.opens(OTHER_KEY)) == (True, False)
    assert [record.message for record in caplog.records] == ["keys.unreadable"]
    keys.write(OTHER_KEY)
    keys.at += LOOK_SECONDS
    assert (keys.opens(KEY), keys.opens(OTHER_KEY)) == (False, True)
    keys.path.unlink()
    keys.at += LOOK_SECONDS
    assert keys.opens(OTHER_KEY)
    assert [record.message for record in caplog.records] == ["keys.unreadable"] * 2


def test_a_file_without_an_end_is_not_read_to_it(keys: Keys) -> None:
    keys.path.write_bytes(b" " * FILE_BYTES_MAX + keys.path.read_bytes())
    with pytest.raises(ValueError, match="Expecting value"):
        token_checker(keys.path, "heliotrope", lambda: 0.0)


def test_a_key_of_a_kind_unknown_here_is_left_out(keys: Keys) -> None:
    keys.path.write_text(json.dumps({"keys": [{"kty": "future", "kid": "x"}, public_jwk(OTHER_KEY)]}))
    keys.at += LOOK_SECONDS
    assert (keys.opens(KEY), keys.opens(OTHER_KEY)) == (False, True)


@pytest.mark.parametrize("sub", ["", "x" * 256, "ami\x00na", " amina", 7, ["amina"]])
def test_a_subject_that_could_not_be_the_author_of_a_fact_opens_nothing(keys: Keys, sub: object) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        keys.checker.check(token(sub=sub))
    assert refused.value.why is Why.UNIDENTIFIED

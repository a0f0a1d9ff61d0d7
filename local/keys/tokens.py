"""Makes the key of tokens, once, and the tokens of the local platform: the operator's, and anybody's to try."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.utils import base64url_encode

from local.folder import DataFolder
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.web.auth import AUDIENCE, Role

ISSUER = "heliotrope"
SUBJECT = "operateur-local"
TOKEN_DAYS = 365
REMAINING_DAYS_MIN = 7
Roles = Mapping[str, Collection[Role]]  # by collectivité
OPERATOR_ROLES: Roles = {EVERY_COLLECTIVITE: (Role.OPERATOR,)}


def ensure_keys(folder: DataFolder, now: datetime) -> None:
    """Make the signing key, its public JWKS and the operator's token, where they are missing or about to expire."""
    key = _signing_key(folder)
    jwk = public_jwk(key)
    folder.write(folder.jwks_file, json.dumps({"keys": [jwk]}, indent=2))
    if not _is_good(folder.token_file, key, now):
        folder.write(folder.token_file, operator_token(key, now), mode=0o600)


def operator_token(key: Ed25519PrivateKey, now: datetime) -> str:
    """Return a token for the local operator, who acts for every collectivité."""
    return token_of(SUBJECT, OPERATOR_ROLES, key, now, days=TOKEN_DAYS)


def person_token(folder: DataFolder, subject: str, roles: Roles, now: datetime, *, days: int) -> str:
    """Return a token of the local platform for somebody, to try what they may do."""
    return token_of(subject, roles, _signing_key(folder), now, days=days)


def token_of(subject: str, roles: Roles, key: Ed25519PrivateKey, now: datetime, *, days: int) -> str:
    """Return a token (JWT) that the local platform accepts."""
    claims = {
        "sub": subject,
        "aud": AUDIENCE,
        "iss": ISSUER,
        "iat": now,
        "exp": now + timedelta(days=days),
        "roles": _claim_of(roles),
    }
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": str(public_jwk(key)["kid"])})


def _claim_of(roles: Roles) -> dict[str, list[str]]:
    return {collectivite: [role.value for role in held] for collectivite, held in roles.items()}


def public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """Return the public key as a JWK (RFC 8037); its `kid` is its thumbprint (RFC 7638)."""
    x = base64url_encode(key.public_key().public_bytes_raw()).decode("ascii")
    members = {"crv": "Ed25519", "kty": "OKP", "x": x}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    kid = base64url_encode(sha256(canonical).digest()).decode("ascii")
    return {**members, "kid": kid, "alg": "EdDSA", "use": "sig"}


def _signing_key(folder: DataFolder) -> Ed25519PrivateKey:
    path = folder.keys / "token-signing.pem"
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        folder.write(path, pem.decode("ascii"), mode=0o600)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path} does not hold an Ed25519 key")
    return key


def _is_good(path: Path, key: Ed25519PrivateKey, now: datetime) -> bool:
    try:
        claims = jwt.decode(
            path.read_text("ascii"),
            key.public_key(),
            algorithms=["EdDSA"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"verify_exp": False, "verify_iat": False},  # judged below, by the clock we were given
        )
        left = float(claims["exp"]) - now.timestamp()
        is_as_now = claims["roles"] == _claim_of(OPERATOR_ROLES)  # an older version wrote it otherwise
    except (FileNotFoundError, UnicodeDecodeError, jwt.PyJWTError, KeyError, TypeError, ValueError):
        return False
    return is_as_now and left > timedelta(days=REMAINING_DAYS_MIN).total_seconds()

"""People who call the APIs in tests: tokens signed with a key of the tests' own."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from local.keys.tokens import public_jwk
from shared.web.auth import AUDIENCE, Role, TokenChecker

ISSUER = "heliotrope"
_KEY = Ed25519PrivateKey.generate()

COMMUNE, OTHER_COMMUNE = "213499908", "219900017"


def checker() -> TokenChecker:
    """Return what an API checks tokens with."""
    jwk = public_jwk(_KEY)
    return TokenChecker({jwk["kid"]: jwt.PyJWK(jwk)}.__getitem__, ISSUER)  # type: ignore[arg-type]  # None: KeyError


def write_jwks(path: Path) -> None:
    """Write the public key where a service reads it."""
    path.write_text(json.dumps({"keys": [public_jwk(_KEY)]}), "utf-8")


def bearer(
    *collectivites: str,
    role: Role = Role.GESTIONNAIRE,
    also: Mapping[str, Role] | None = None,
    hours: float = 1,
    subject: str = "amina",
) -> dict[str, str]:
    """Return the header of a request by someone with a role in these collectivités, and with others elsewhere."""
    roles = dict.fromkeys(collectivites or (COMMUNE,), role) | dict(also or {})
    claims = {
        "sub": subject,
        "aud": AUDIENCE,
        "iss": ISSUER,
        "exp": datetime.now(UTC) + timedelta(hours=hours),
        "roles": {collectivite: [held.value] for collectivite, held in roles.items()},
    }
    token = jwt.encode(claims, _KEY, algorithm="EdDSA", headers={"kid": public_jwk(_KEY)["kid"]})
    return {"Authorization": f"Bearer {token}"}

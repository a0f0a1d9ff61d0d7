"""Bearer tokens: who calls, and for which collectivités. Checked by every API, against public keys in a JWKS.

The claims: `sub` (who), `iss`, `exp`, `roles` (see `Role`), `collectivites` (SIREN-based ids; `*` for an operator,
who acts for all of them).
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import jwt

from shared.errors import RequestRefusedError, Why

AUDIENCE = "heliotrope"
ALGORITHMS = ("EdDSA", "RS256", "ES256")
EVERY_COLLECTIVITE = "*"
LEEWAY_SECONDS = 30


class Role(StrEnum):
    """What someone may do, in the collectivités that the token names."""

    GESTIONNAIRE = "gestionnaire"
    SIGNATAIRE = "signataire"
    ADMINISTRATEUR = "administrateur"
    AUDITEUR = "auditeur"
    OPERATOR = "operateur"


MAY_READ = frozenset(Role)
MAY_SEND = frozenset({Role.GESTIONNAIRE, Role.ADMINISTRATEUR, Role.OPERATOR})
MAY_SIGN = frozenset({Role.SIGNATAIRE})
MAY_APPROVE = frozenset({Role.GESTIONNAIRE, Role.SIGNATAIRE, Role.ADMINISTRATEUR})
MAY_ADMINISTER = frozenset({Role.ADMINISTRATEUR, Role.OPERATOR})
MAY_OPERATE = frozenset({Role.OPERATOR})


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request, as their token says."""

    subject: str
    roles: frozenset[Role]
    collectivites: frozenset[str]

    def may_see(self, collectivite: str) -> bool:
        """True when the caller's perimeter holds this collectivité."""
        return EVERY_COLLECTIVITE in self.collectivites or collectivite in self.collectivites

    @property
    def perimeter(self) -> frozenset[str] | None:
        """The collectivités the caller may see; None for all of them."""
        return None if EVERY_COLLECTIVITE in self.collectivites else self.collectivites

    def choose(self, asked: str) -> str:
        """Return the collectivité that a request is for.

        Args:
            asked: what the request names; empty when it names none.

        Raises:
            RequestRefusedError: none can be told, or the caller has no right on it.
        """
        if not asked and len(self.collectivites) == 1 and self.perimeter is not None:
            return next(iter(self.collectivites))
        if not asked:
            raise RequestRefusedError(
                Why.BADLY_FORMED,
                "collectivite-required",
                "Collectivité non précisée",
                "Votre compte agit pour plusieurs collectivités : indiquez laquelle dans l'en-tête "
                "X-Collectivite (SIREN à 9 chiffres).",
            )
        if not asked.isascii() or not asked.isdigit() or len(asked) != 9:
            raise RequestRefusedError(
                Why.BADLY_FORMED,
                "collectivite-invalid",
                "Collectivité mal désignée",
                f"L'en-tête X-Collectivite doit donner un SIREN à 9 chiffres ; reçu : {asked[:40]!r}.",
            )
        if not self.may_see(asked):
            raise RequestRefusedError(
                Why.NOT_ALLOWED,
                "forbidden",
                "Accès refusé",
                f"Votre compte n'a pas accès à la collectivité {asked}. Demandez ce droit à votre administrateur.",
            )
        return asked

    def require(self, allowed: frozenset[Role], action: str) -> None:
        """Return if one of the caller's roles is allowed; `action` (French) completes the refusal."""
        if not self.roles & allowed:
            raise RequestRefusedError(
                Why.NOT_ALLOWED,
                "forbidden",
                "Accès refusé",
                f"Votre rôle ne permet pas {'d’' if action[:1] in 'aeiouyéèêh' else 'de '}{action}. Ce droit est "
                f"celui de : {', '.join(sorted(allowed))}. Qui gère les comptes peut vous le donner.",
            )


class TokenChecker:
    """Checks bearer tokens against the public keys of one issuer."""

    def __init__(self, keys: jwt.PyJWKSet, issuer: str) -> None:
        """Accept what `issuer` signed with one of `keys`."""
        self._keys = {key.key_id: key for key in keys.keys}
        self._issuer = issuer

    @classmethod
    def from_file(cls, path: Path, issuer: str) -> "TokenChecker":
        """Read the keys from a JWKS file."""
        return cls(jwt.PyJWKSet.from_json(path.read_text("utf-8")), issuer)

    def check(self, token: str) -> Caller:
        """Return who a token speaks for.

        Raises:
            RequestRefusedError: the token is absent, expired, or not signed by a key we know.
        """
        try:
            key = self._keys[jwt.get_unverified_header(token).get("kid")]
            if key.algorithm_name not in ALGORITHMS:
                raise jwt.InvalidAlgorithmError(key.algorithm_name)
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],
                audience=AUDIENCE,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "sub", "aud"]},
            )
            return Caller(
                subject=claims["sub"],
                roles=frozenset(Role(role) for role in claims.get("roles", ())),
                collectivites=frozenset(str(one) for one in claims.get("collectivites", ())),
            )
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as error:
            expired = isinstance(error, jwt.ExpiredSignatureError)
            raise RequestRefusedError(
                Why.UNIDENTIFIED,
                "unauthenticated",
                "Authentification nécessaire",
                "Votre jeton d'accès a expiré : demandez-en un nouveau."
                if expired
                else "Joignez un jeton d'accès valide : en-tête Authorization: Bearer <jeton>.",
            ) from error

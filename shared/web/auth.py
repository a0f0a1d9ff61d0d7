"""Who calls, and what they may do where: bearer tokens, roles, rights. One table, asked by every API.

The claims of a token: `sub` (who), `iss`, `aud`, `exp`, and `roles`: which roles in which collectivité,
`{"213499908": ["gestionnaire"], "*": ["auditeur"]}`. A role held in one collectivité is not held in another; those
under `*` are held in all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import jwt
from pydantic import TypeAdapter

from shared.errors import RequestRefusedError, Why
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.facts.values import SirenOrAll, is_siren
from shared.web.texts import Person

AUDIENCE = "heliotrope"
ALGORITHMS = ("EdDSA", "RS256", "ES256")
LEEWAY_SECONDS = 30


class Role(StrEnum):
    """What someone is in a collectivité."""

    GESTIONNAIRE = "gestionnaire"
    SIGNATAIRE = "signataire"
    ADMINISTRATEUR = "administrateur"
    AUDITEUR = "auditeur"
    OPERATOR = "operateur"


class Right(StrEnum):
    """What a role lets someone do in a collectivité.

    READ is to see that anything exists: no role has another right without it. OPERATE is to run the platform; what
    concerns all collectivités at once asks for it in all of them.
    """

    READ = "read"
    SEND = "send"
    SIGN = "sign"
    APPROVE = "approve"
    DELEGATE = "delegate"
    ADMINISTER = "administer"
    OPERATE = "operate"


ROLES_WITH: Final[Mapping[Right, frozenset[Role]]] = {
    Right.READ: frozenset(Role),
    Right.SEND: frozenset({Role.GESTIONNAIRE, Role.ADMINISTRATEUR, Role.OPERATOR}),
    Right.SIGN: frozenset({Role.SIGNATAIRE}),
    Right.APPROVE: frozenset({Role.GESTIONNAIRE, Role.SIGNATAIRE, Role.ADMINISTRATEUR}),
    Right.DELEGATE: frozenset({Role.GESTIONNAIRE, Role.SIGNATAIRE, Role.ADMINISTRATEUR, Role.OPERATOR}),
    Right.ADMINISTER: frozenset({Role.ADMINISTRATEUR, Role.OPERATOR}),
    Right.OPERATE: frozenset({Role.OPERATOR}),
}
_WORDS: Final[Mapping[Role, str]] = {
    Role.OPERATOR: f"hébergeur (rôle {Role.OPERATOR})"
}  # where the role is not the word
_NO_ROLE: Final[frozenset[Role]] = frozenset()
_SUBJECT = TypeAdapter(Person)  # it becomes the actor of facts, which are kept for ever
_ROLES_CLAIM = TypeAdapter(dict[SirenOrAll, frozenset[Role]])


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request, as their token says: their roles by collectivité (SIREN, or `*`)."""

    subject: str
    roles: Mapping[str, frozenset[Role]]

    def may(self, right: Right, collectivite: str) -> bool:
        """True when the caller has this right in this collectivité; in all of them, for `*`."""
        held = self.roles.get(collectivite, _NO_ROLE) | self.roles.get(EVERY_COLLECTIVITE, _NO_ROLE)
        return not held.isdisjoint(ROLES_WITH[right])

    def perimeter(self, right: Right) -> frozenset[str] | None:
        """The collectivités in which the caller has this right; None for all of them."""
        if self.may(right, EVERY_COLLECTIVITE):
            return None
        return frozenset(one for one in self.roles if self.may(right, one))

    def require(self, right: Right, collectivite: str, action: str) -> None:
        """Return if the caller has this right there; `action` (French) completes the refusal.

        Raises:
            RequestRefusedError: 403.
        """
        if self.may(right, collectivite):
            return
        if collectivite != EVERY_COLLECTIVITE and not self.may(Right.READ, collectivite):
            raise _forbidden(
                f"Votre compte n’a pas accès à la collectivité {collectivite}. Demandez ce droit à votre "
                "administrateur."
            )
        raise _not_permitted(right, action)

    def require_somewhere(self, right: Right, action: str) -> None:
        """Return if the caller has this right in some collectivité: for what concerns none in particular.

        Raises:
            RequestRefusedError: 403.
        """
        if self.perimeter(right) == frozenset():
            raise _not_permitted(right, action)

    def choose(self, asked: str, right: Right, action: str) -> str:
        """Return the collectivité that a request is for, in which the caller has the right it takes.

        Args:
            asked: what the request names; empty when it names none.
            right: what it takes.
            action: what it is about (French); completes the refusal.

        Raises:
            RequestRefusedError: 400 when none can be told, 403 without the right.
        """
        self.require_somewhere(right, action)
        perimeter = self.perimeter(right)
        if not asked and perimeter is not None and len(perimeter) == 1:
            return next(iter(perimeter))
        if not asked:
            raise RequestRefusedError(
                Why.BADLY_FORMED,
                "collectivite-required",
                "Collectivité non précisée",
                "Votre compte agit pour plusieurs collectivités : indiquez laquelle dans l’en-tête "
                "X-Collectivite (SIREN à 9 chiffres).",
            )
        if not is_siren(asked):
            raise RequestRefusedError(
                Why.BADLY_FORMED,
                "collectivite-invalid",
                "Collectivité mal désignée",
                f"L’en-tête X-Collectivite doit donner un SIREN à 9 chiffres ; reçu : {asked[:40]!r}.",
            )
        self.require(right, asked, action)
        return asked


def _forbidden(detail: str) -> RequestRefusedError:
    return RequestRefusedError(Why.NOT_ALLOWED, "forbidden", "Accès refusé", detail)


def _not_permitted(right: Right, action: str) -> RequestRefusedError:
    roles = sorted(_WORDS.get(role, role) for role in ROLES_WITH[right])
    return _forbidden(
        f"Votre rôle ne permet pas {'d’' if action[:1] in 'aeiouyéèêh' else 'de '}{action}. Ce droit est "
        f"celui de : {', '.join(roles)}. Qui gère les comptes peut vous le donner."
    )


class TokenChecker:
    """Checks bearer tokens against the public keys of one issuer."""

    def __init__(self, key_of: Callable[[str | None], jwt.PyJWK], issuer: str) -> None:
        """Accept what `issuer` signed with the key that `key_of` returns for its `kid`; `KeyError` for none."""
        self._key_of = key_of
        self._issuer = issuer

    def check(self, token: str) -> Caller:
        """Return who a token speaks for.

        Raises:
            RequestRefusedError: the token is absent, expired, or not signed by a key we know.
        """
        try:
            key = self._key_of(jwt.get_unverified_header(token).get("kid"))
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
            return Caller(_SUBJECT.validate_python(claims["sub"]), _ROLES_CLAIM.validate_python(claims["roles"]))
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as error:
            expired = isinstance(error, jwt.ExpiredSignatureError)
            raise RequestRefusedError(
                Why.UNIDENTIFIED,
                "unauthenticated",
                "Authentification nécessaire",
                "Votre jeton d’accès a expiré : demandez-en un nouveau."
                if expired
                else "Joignez un jeton d’accès valide : en-tête Authorization: Bearer <jeton>.",
            ) from error

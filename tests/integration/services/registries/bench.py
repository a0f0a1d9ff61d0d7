"""The registries for real: what their tests share."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from services.signature.adapters.registries import PostgresRegistries
from shared.journal.history import PostgresHistory
from shared.web.auth import Role
from tests.callers import COMMUNE, OTHER_COMMUNE, bearer

NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
ADMINISTRATOR = bearer(role=Role.ADMINISTRATEUR)
OPERATOR = bearer("*", role=Role.OPERATOR)
ELSEWHERE = bearer(OTHER_COMMUNE, role=Role.ADMINISTRATEUR)
MANDATE: dict[str, object] = {
    "collectivite": COMMUNE,
    "person": "camille",
    "name": "Camille Exemple, maire",
    "act": "Délibération n° 2026-12 du 28 mars 2026",
    "valid_from": "2026-03-28T09:00:00+01:00",
}
DELEGATION: dict[str, object] = {
    "collectivite": COMMUNE,
    "absent": "camille",
    "substitute": "karim",
    "valid_from": "2026-04-01T00:00:00+02:00",
    "valid_until": "2026-04-15T00:00:00+02:00",
    "reason": "congés",
}
SIGNATURE: dict[str, object] = {"kind": "signature", "any_of": ["camille"]}
SEAL: dict[str, object] = {"kind": "seal"}


def someone(subject: str, role: Role, *collectivites: str) -> dict[str, str]:
    """Return the header of a request by another than `amina`."""
    return bearer(*collectivites, role=role, subject=subject)


@dataclass
class Bench:
    """The service, and the time it is there."""

    http: httpx.AsyncClient
    history: PostgresHistory
    registries: PostgresRegistries
    at: datetime

    async def recorded(self, path: str, body: dict[str, object]) -> str:
        """Record a mandate or a delegation, and return its id."""
        answer = await self.http.post(path, json=body)
        assert answer.status_code == 201, answer.text
        members = answer.json()
        return str(members.get("mandate_id") or members["delegation_id"])

    async def mandates(self) -> list[dict[str, object]]:
        answer = await self.http.get("/v1/mandates")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["mandates"])


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return the status of a refusal and its code, having seen that it has a sentence."""
    document = answer.json()
    assert document["title"]
    assert document["detail"].endswith((".", "…"))
    return answer.status_code, document["type"].removeprefix("urn:heliotrope:problem:")


@cache
def key_of(bits: int) -> Key:
    """Return a key that is made once: RSA of so many bits, or ECDSA for 256."""
    return ec.generate_private_key(ec.SECP256R1()) if bits == 256 else rsa.generate_private_key(65537, bits)


def certificate(bits: int = 2048, *, until: datetime = NOW + 300 * DAY) -> x509.Certificate:
    key = key_of(bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Camille Exemple")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(until - 700 * DAY).not_valid_after(until).sign(key, hashes.SHA256())


def pem(made: x509.Certificate) -> str:
    return made.public_bytes(Encoding.PEM).decode()


async def set_circuit(
    bench: Bench,
    *steps: dict[str, object],
    kind: str = "*",
    collectivite: str = "",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    params = {"collectivite": collectivite} if collectivite else {}
    body = {"flux_kind": kind, "steps": list(steps), "reason": "règlement intérieur"}
    return await bench.http.put("/v1/circuits", json=body, params=params, headers=headers)


async def applying(bench: Bench, collectivite: str = COMMUNE) -> list[tuple[str, str, list[str]]]:
    """Return the circuits that apply: for whom they were set, for which flux, and their steps."""
    params = {"collectivite": collectivite}
    told = (await bench.http.get("/v1/circuits", params=params, headers=OPERATOR)).json()
    return [
        (one["collectivite"], one["flux_kind"], [step["kind"] for step in one["steps"]]) for one in told["circuits"]
    ]


async def choose_seal(
    bench: Bench, *, has_seal: bool, collectivite: str = COMMUNE, headers: dict[str, str] | None = None
) -> httpx.Response:
    body = {"has_seal": has_seal, "reason": "délibération du 2 mars"}
    return await bench.http.put("/v1/seal", json=body, params={"collectivite": collectivite}, headers=headers)

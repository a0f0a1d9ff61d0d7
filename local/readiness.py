"""Asks each service whether it is ready, and what its messages wait for."""

from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from local.ports import Ports

ANSWER_SECONDS_MAX = 5.0


@dataclass(frozen=True)
class Readiness:
    """What a service's `/readyz` says.

    Attributes:
        answers: the service answered at all.
        away: what it needs and cannot reach.
        waits_for: the outside parties that messages wait for.
    """

    service: str
    answers: bool
    is_ready: bool = False
    away: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()


def ask(client: httpx.Client, service: str, ports: Ports) -> Readiness:
    """Ask one service."""
    try:
        answer = client.get(f"{ports.url(service)}/readyz", timeout=ANSWER_SECONDS_MAX)
        body = answer.json()
    except (httpx.TransportError, ValueError):
        return Readiness(service, answers=False)
    if not isinstance(body, dict):
        return Readiness(service, answers=False)
    return Readiness(
        service,
        answers=True,
        is_ready=answer.status_code == httpx.codes.OK,
        away=tuple(body.get("away", ())),
        waits_for=tuple(body.get("messages_wait_for", ())),
    )


def ask_all(services: Iterable[str], ports: Ports) -> list[Readiness]:
    """Ask every service, one after the other."""
    with httpx.Client(trust_env=False) as client:
        return [ask(client, service, ports) for service in services]

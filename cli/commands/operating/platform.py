"""Commands that start, look at and stop the local platform, and show it at work."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import demo as demonstration
from cli.errors import ExitCode, UnreachableError, UsageProblemError
from cli.options import DEFAULT_BUS, AsJson, BusOption, DataOption, check_bus, environ, folder_of
from cli.showing.output import Table, emit, reporting, say, show
from local.folder import choose_folder
from local.keys.tokens import person_token
from local.lifetime import detach, hold_until_interrupted, kept, stop
from local.ports import SERVICES, Ports, base_of
from local.readiness import Readiness, ask_all
from local.running import Running, find_running
from local.supervision.supervisor import ProcessState, Supervisor
from shared.facts.streams import EVERY_COLLECTIVITE
from shared.facts.values import SIREN_SHAPE
from shared.web.auth import Role

_ROLES = ", ".join(role.value for role in Role)
_HELD_ROLE = re.compile(
    rf"(?P<role>{'|'.join(Role)})@(?P<collectivite>{re.escape(EVERY_COLLECTIVITE)}|{SIREN_SHAPE})"
)
STAYS_UP = "La plateforme reste lancée : Ctrl-C pour l’arrêter."
_STATES = {
    "RUNNING": "lancé",
    "STARTING": "démarre",
    "BACKOFF": "redémarre",
    "STOPPING": "s’arrête",
    "STOPPED": "arrêté",
    "EXITED": "arrêté",
    "FATAL": "en panne",
}


def up(
    *,
    detached: Annotated[
        bool, typer.Option("--detach", help="Rend la main une fois la plateforme prête ; `down` l’arrête.")
    ] = False,
    bus: BusOption = None,
    data: DataOption = None,
    as_json: AsJson = False,
) -> None:
    """Lance la plateforme sur cette machine, avec un Hélios simulé ; Ctrl-C l’arrête."""
    with reporting(as_json=as_json):
        folder = folder_of(data)
        ports = Ports(base_of(environ()))
        kind = bus or DEFAULT_BUS
        if running := find_running(folder):
            check_bus(bus, running.bus)
            say(f"La plateforme est déjà lancée, depuis le {running.started_at}.")
            _show_running(running, as_json=as_json)
        elif detached:
            running = detach(folder, ports, kind, say, environ())
            check_bus(bus, running.bus)
            _show_running(running, as_json=as_json)
        else:
            with _quiet_end(), kept(folder, ports, kind, say, environ()) as (platform, running):
                _show_running(running, as_json=as_json)
                say(STAYS_UP)
                hold_until_interrupted(platform)


def down(*, data: DataOption = None, as_json: AsJson = False) -> None:
    """Arrête la plateforme de cette machine ; les données sont gardées."""
    with reporting(as_json=as_json):
        folder = folder_of(data)
        is_stopped = stop(folder)
        say("Plateforme arrêtée ; les données sont gardées." if is_stopped else "Aucune plateforme n’était lancée.")
        if as_json:
            emit({"stopped": is_stopped, "data": str(folder.root)})


def status(*, data: DataOption = None, as_json: AsJson = False) -> None:
    """Dit ce qui tourne, ce qui est prêt, et ce qui attend. Rend 1 si un service n’est pas prêt ou attend."""
    with reporting(as_json=as_json):
        folder = choose_folder(data, environ())
        running = find_running(folder)
        if running is None:
            raise UnreachableError("Aucune plateforme lancée", f"Rien ne tourne pour {folder.root} : `make up`.")
        states = Supervisor(folder).states() or []
        answers = {answer.service: answer for answer in ask_all(SERVICES, running.ports)}
        is_well = all(answer.is_ready and not answer.waits_for for answer in answers.values())
        if as_json:
            emit(
                {
                    "bus": running.bus,
                    "started_at": running.started_at,
                    "data": str(folder.root),
                    "is_well": is_well,
                    "programs": [_program_shown(state, answers.get(state.name)) for state in states],
                }
            )
        else:
            show(_status_table(states, answers), f"Bus : {running.bus}. Données : {folder.root}.")
        if not is_well:
            raise typer.Exit(ExitCode.REFUSED)


def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="S’arrête ensuite : 0 si le flux est acquitté, 1 sinon.")
    ] = False,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="PES", help="Votre propre fichier PES, au lieu d’un exemple.")
    ] = None,
    bus: BusOption = None,
    data: DataOption = None,
    as_json: AsJson = False,
) -> None:
    """Montre un flux de bout en bout : import, contrôle, signature, envoi, réponse."""
    with reporting(as_json=as_json):
        if file is not None:
            demonstration.check_readable(file)
        folder = folder_of(data)
        if running := find_running(folder):
            check_bus(bus, running.bus)
            raise typer.Exit(demonstration.play(folder, file, environ(), as_json=as_json))
        kind = bus or DEFAULT_BUS
        with _quiet_end(), kept(folder, Ports(base_of(environ())), kind, say, environ()) as (platform, running):
            code = demonstration.play(folder, file, environ(), as_json=as_json)
            if not once:
                _show_running(running, as_json=False)
                say(STAYS_UP)
                hold_until_interrupted(platform)
                code = ExitCode.DONE
        raise typer.Exit(code)


class _quiet_end:  # noqa: N801  # reads as what it is: a context
    """Ends a command that Ctrl-C interrupted while it was starting, once everything is stopped."""

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Turn the interruption into an exit code."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            raise typer.Exit(ExitCode.REFUSED)


def _show_running(running: Running, *, as_json: bool) -> None:
    urls = {service: running.ports.url(service) for service in SERVICES}
    if as_json:
        emit({"bus": running.bus, "started_at": running.started_at, "urls": urls})
        return
    say("Plateforme prête :")
    for service, url in urls.items():
        say(f"  {service:<11} {url}")
    say("À essayer : heliotrope flux list ; heliotrope flux import FICHIER ; heliotrope status")


def _program_shown(state: ProcessState, answer: Readiness | None) -> dict[str, object]:
    shown: dict[str, object] = {"name": state.name, "state": state.state.lower(), "pid": state.pid}
    if answer is not None:
        shown |= {"is_ready": answer.is_ready, "away": answer.away, "messages_wait_for": answer.waits_for}
    return shown


def _status_table(states: list[ProcessState], answers: dict[str, Readiness]) -> Table:
    table = Table()
    for column in ("Programme", "État", "Processus", "Prêt", "Attend"):
        table.add_column(column, overflow="fold")
    for state in states:
        answer = answers.get(state.name)
        ready = "" if answer is None else "oui" if answer.is_ready else "non"
        waits = sorted({*answer.away, *answer.waits_for}) if answer else []
        table.add_row(
            state.name, _STATES.get(state.state, state.state), str(state.pid or ""), ready, ", ".join(waits)
        )
    return table


def token(
    subject: Annotated[str, typer.Argument(metavar="COMPTE", help="Qui : camille.")],
    role: Annotated[
        list[str],
        typer.Option(
            metavar="RÔLE@SIREN",
            help=f"Un rôle dans une collectivité, ou dans toutes (RÔLE@*) ; se répète. Rôles : {_ROLES}.",
        ),
    ],
    days: Annotated[int, typer.Option(min=1, max=365, metavar="JOURS", help="Durée de validité.")] = 1,
    data: DataOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Donne le jeton d’une personne sur la plateforme de cette machine, pour essayer ce qu’elle peut faire."""
    with reporting(as_json=as_json):
        made = person_token(folder_of(data), subject, _roles_of(role), datetime.now(UTC), days=days)
        if as_json:
            emit({"subject": subject, "token": made})
        else:
            show(made)


def _roles_of(given: Iterable[str]) -> Mapping[str, list[Role]]:
    """Return roles by collectivité, from `RÔLE@SIREN` each."""
    roles: dict[str, list[Role]] = {}
    for one in given:
        held = _HELD_ROLE.fullmatch(one)
        if held is None:
            raise UsageProblemError(
                "Rôle mal écrit",
                f"« {one} » : écrivez un rôle ({_ROLES}), @, puis le SIREN de la collectivité ou * ; par exemple "
                "gestionnaire@213499908.",
            )
        roles.setdefault(held["collectivite"], []).append(Role(held["role"]))
    return roles

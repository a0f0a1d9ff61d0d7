"""What runs, with which settings: the one place where the local platform's policy values are.

Each service gets its own environment and nothing else: no variable of the terminal that started the platform reaches
it, except the few that say where programs, temporary files and certificates are, and where traces go.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from local.folder import PROJECT, DataFolder
from local.kafka.node import ENVIRONMENT, Node
from local.keys.passwords import Credentials
from local.keys.pki import DemoPki
from local.keys.tokens import ISSUER
from local.ports import KAFKA, SERVICES, SFTP, Ports
from local.postgres.database import dsn_of
from local.postgres.server import STOP_SIGNAL, LocalPostgres
from local.supervision.program import Program

BusKind = Literal["postgres", "kafka"]

MARKER = "HELIOTROPE_PLATFORM"  # every process of a platform has it, with the data folder as its value

# Groups, and the rank in which they stop: the highest first.
SERVICES_GROUP, DGFIP_GROUP, BUS_GROUP, DATABASE_GROUP = "services", "dgfip", "bus", "database"
SERVICES_RANK, DGFIP_RANK, BUS_RANK, DATABASE_RANK = 40, 30, 20, 10

_KEPT = ("PATH", "HOME", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "OTLP_ENDPOINT")

ACK_POLL_SECONDS = 0.05  # the local Hélios answers at once
IN_DOUBT_SECONDS = 3
SFTP_OPERATION_SECONDS_MAX = 5  # also how long an incomplete file must have stopped growing
SERVICE_STOP_SECONDS = 10
KAFKA_STOP_SECONDS = 20
POSTGRES_STOP_SECONDS = 30


@dataclass(frozen=True)
class Setting:
    """Everything that the environments follow from.

    Attributes:
        simulator: how to enter the local Hélios.
    """

    folder: DataFolder
    ports: Ports
    bus: BusKind
    postgres: LocalPostgres
    pki: DemoPki
    simulator: Credentials

    @property
    def known_hosts(self) -> Path:
        """Where the local Hélios writes its host key, for those who connect to it."""
        return self.folder.simulator / "known_hosts"

    @property
    def kafka_bootstrap(self) -> str:
        """The address of the broker."""
        return f"127.0.0.1:{self.ports.of(KAFKA)}"


def inherited(environ: Mapping[str, str], folder: DataFolder) -> dict[str, str]:
    """Return what every process of the platform has in its environment, whatever else ours holds."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", MARKER: str(folder.root)}


def environment_of(service: str, setting: Setting) -> dict[str, str]:
    """Return the settings of one service."""
    common = {
        "JWKS_FILE": str(setting.folder.jwks_file),
        "TOKEN_ISSUER": ISSUER,
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(setting.ports.of(service)),
    }
    if service == "simulator":
        return common | _simulator(setting)
    common |= {
        "DATABASE_URL": dsn_of(service, setting.postgres),
        "DOCUMENTS_URL": f"file://{setting.folder.documents}",
        "BUS": setting.bus,
    }
    if setting.bus == "kafka":
        common |= {"KAFKA_BOOTSTRAP": setting.kafka_bootstrap}
    match service:
        case "ingest":
            return common | {"HISTORY_URL": setting.ports.url("history")}
        case "signature":
            return common | {
                "TRUST_FOLDER": str(setting.pki.trust),
                "SEAL_KEY_FILE": str(setting.pki.signer_key),
                "SEAL_CERTIFICATE_FILE": str(setting.pki.signer_certificate),
            }
        case "gateway":
            policy = {
                "IN_DOUBT_SECONDS": str(IN_DOUBT_SECONDS),
                "IN_DOUBT_POLICY": "resend",
                "OPERATION_SECONDS_MAX": str(SFTP_OPERATION_SECONDS_MAX),
            }
            return common | _sftp_client(setting) | policy
        case "ack":
            return common | _sftp_client(setting) | {"POLL_SECONDS": str(ACK_POLL_SECONDS)}
        case _:
            return common


def service_programs(setting: Setting) -> list[Program]:
    """Return the services, each as a program; the local Hélios is there before those that connect to it."""
    return [
        Program(
            name=service,
            argv=[sys.executable, "-m", f"services.{service}"],
            directory=PROJECT,
            environment=environment_of(service, setting),
            group=DGFIP_GROUP if service == "simulator" else SERVICES_GROUP,
            rank=DGFIP_RANK if service == "simulator" else SERVICES_RANK,
            is_started=service == "simulator",
            stop_seconds=SERVICE_STOP_SECONDS,
        )
        for service in SERVICES
    ]


def postgres_program(postgres: LocalPostgres) -> Program:
    """Return PostgreSQL, prepared, as a program. Only its first process gets signals: it stops the others."""
    return Program(
        name="postgres",
        argv=postgres.argv,
        directory=Path("/"),
        group=DATABASE_GROUP,
        rank=DATABASE_RANK,
        is_started=True,
        user=postgres.user,
        stop_signal=STOP_SIGNAL,
        stop_seconds=POSTGRES_STOP_SECONDS,
        is_stopped_whole=False,
    )


def kafka_program(node: Node) -> Program:
    """Return the broker, prepared, as a program."""
    return Program(
        name="kafka",
        argv=node.argv,
        directory=node.folder,
        environment=ENVIRONMENT,
        group=BUS_GROUP,
        rank=BUS_RANK,
        is_started=True,
        stop_seconds=KAFKA_STOP_SECONDS,
    )


def _simulator(setting: Setting) -> dict[str, str]:
    return {
        "SIMULATOR_FOLDER": str(setting.folder.simulator),
        "SFTP_HOST": "127.0.0.1",
        "SFTP_PORT": str(setting.ports.of(SFTP)),
        "SFTP_LOGIN": setting.simulator.username,
        "SFTP_PASSWORD": setting.simulator.password,
    }


def _sftp_client(setting: Setting) -> dict[str, str]:
    return {
        "SFTP_HOST": "127.0.0.1",
        "SFTP_PORT": str(setting.ports.of(SFTP)),
        "SFTP_LOGIN": setting.simulator.username,
        "SFTP_PASSWORD": setting.simulator.password,
        "KNOWN_HOSTS_FILE": str(setting.known_hosts),
    }

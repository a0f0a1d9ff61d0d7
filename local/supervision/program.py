"""One program to keep running, and several as supervisord's configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.folder import DataFolder

LOG_BYTES_MAX = 10_000_000
LOG_BACKUPS = 3
RETRIES = 1_000_000


@dataclass(frozen=True)
class Program:
    """One program to keep running.

    Attributes:
        argv: runs it in the foreground.
        environment: what it needs beyond the few variables that all programs share.
        group: programs of one group start and stop together.
        rank: groups stop from the highest rank to the lowest.
        is_started: started with supervisord; otherwise when it is asked for.
        user: the system account to run it as, when we are root.
        stop_signal: asks it to stop.
        stop_seconds: how long it may take before it is killed.
        is_stopped_whole: signals go to its whole process group (not to be used for PostgreSQL).
    """

    name: str
    argv: Sequence[str]
    group: str
    rank: int
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    is_started: bool = False
    user: str | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    is_stopped_whole: bool = True


def configuration(folder: DataFolder, programs: Sequence[Program]) -> str:
    """Write the configuration of supervisord."""
    sections: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": folder.supervisor_socket, "chmod": "0700"},
        "supervisord": {
            "logfile": folder.logs / "supervisord.log",
            "logfile_maxbytes": LOG_BYTES_MAX,
            "logfile_backups": LOG_BACKUPS,
            "pidfile": folder.supervisor_pid,
            "directory": folder.root,
            "identifier": "heliotrope",
            "nocleanup": "true",
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    for program in programs:
        sections[f"program:{program.name}"] = _program_section(folder, program)
    for group, rank in {program.group: program.rank for program in programs}.items():
        names = ",".join(program.name for program in programs if program.group == group)
        sections[f"group:{group}"] = {"programs": names, "priority": rank}
    return "\n".join(
        f"[{title}]\n" + "".join(f"{key}={_escaped(value)}\n" for key, value in section.items())
        for title, section in sections.items()
    )


def _program_section(folder: DataFolder, program: Program) -> dict[str, object]:
    whole = "true" if program.is_stopped_whole else "false"
    section: dict[str, object] = {
        "command": " ".join(_quoted(word) for word in program.argv),
        "directory": program.directory,
        "environment": ",".join(f"{name}={_quoted(value)}" for name, value in program.environment.items()),
        "autostart": "true" if program.is_started else "false",
        "autorestart": "true",
        "startsecs": 1,
        "startretries": RETRIES,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.stop_seconds,
        "stopasgroup": whole,
        "killasgroup": whole,
        "redirect_stderr": "true",
        "stdout_logfile": folder.logs / f"{program.name}.log",
        "stdout_logfile_maxbytes": LOG_BYTES_MAX,
        "stdout_logfile_backups": LOG_BACKUPS,
    }
    if program.user:
        section["user"] = program.user
    return section


def _quoted(word: str) -> str:
    """Quote a word of a command line or of an environment; supervisor knows no way to escape a quote."""
    if '"' not in word:
        return f'"{word}"'
    if "'" not in word:
        return f"'{word}'"
    raise ValueError(f"supervisor cannot be given {word!r}: it has both kinds of quotes")


def _escaped(value: object) -> str:
    text = str(value)
    if "\n" in text or " ;" in text or " #" in text:
        raise ValueError(f"supervisor cannot be given {text!r}")
    return text.replace("%", "%%")

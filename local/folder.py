"""The one folder that holds everything the local platform writes. It can be moved, kept, or removed as a whole."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.errors import PlatformError
from shared.runtime.files import write_whole

PROJECT = Path(__file__).resolve().parents[1]
NAME = ".heliotrope"
DATA_VARIABLE = "HELIOTROPE_DATA"

# A UNIX socket's path has a bound (104 bytes on macOS); supervisord first binds a longer name beside the final one.
SOCKET_PATH_BYTES_MAX = 90
SHORT_PARENT = Path("/tmp")  # noqa: S108  # what we make in it is checked to be ours


@dataclass(frozen=True)
class DataFolder:
    """Where each thing is."""

    root: Path

    @property
    def postgres(self) -> Path:
        """PostgreSQL's own folder."""
        return self.root / "postgres"

    @property
    def documents(self) -> Path:
        """The documents, by digest."""
        return self.root / "documents"

    @property
    def keys(self) -> Path:
        """Keys, the operator's token and passwords; closed to others."""
        return self.root / "keys"

    @property
    def token_file(self) -> Path:
        """The token that the command line uses."""
        return self.keys / "operator.token"

    @property
    def jwks_file(self) -> Path:
        """The public keys that tokens are checked with."""
        return self.keys / "jwks.json"

    @property
    def pki(self) -> Path:
        """The demonstration's certificates."""
        return self.root / "pki"

    @property
    def simulator(self) -> Path:
        """What the local Hélios receives and answers."""
        return self.root / "simulator"

    @property
    def kafka(self) -> Path:
        """The broker's own folder (its programs are elsewhere: several platforms share them)."""
        return self.root / "kafka" / "cluster"

    @property
    def logs(self) -> Path:
        """One file for each program."""
        return self.root / "logs"

    @property
    def samples(self) -> Path:
        """The PES that demonstrations have made."""
        return self.root / "samples"

    @property
    def run(self) -> Path:
        """What only means something while the platform runs."""
        return self.root / "run"

    @property
    def client_file(self) -> Path:
        """Where the platform is, for the command line."""
        return self.root / "client.json"

    @property
    def lock_file(self) -> Path:
        """Held by the process that starts, holds or stops the platform."""
        return self.run / "lock"

    @property
    def platform_file(self) -> Path:
        """How the platform was started."""
        return self.run / "platform.json"

    @property
    def supervisor_conf(self) -> Path:
        """What supervisord runs."""
        return self.run / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        """The process id of supervisord."""
        return self.run / "supervisord.pid"

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisord is asked: in the folder, or where its path is short enough for the system."""
        inside = self.run / "supervisor.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES_MAX:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return SHORT_PARENT / f"heliotrope-run-{digest}" / "supervisor.sock"

    def make(self) -> None:
        """Make the folders that are missing.

        Raises:
            PlatformError: the system does not let us, or the path cannot be given to supervisord.
        """
        if unusable := sorted(set(str(self.root)) & set("\"'%;#\n")):
            raise PlatformError(
                "Dossier de données inutilisable",
                f"Le chemin {self.root} contient {' '.join(unusable)} : choisissez-en un autre (--data).",
            )
        try:
            for folder in (self.documents, self.simulator, self.logs, self.samples):
                folder.mkdir(parents=True, exist_ok=True)
            for private in (self.keys, self.run, self.supervisor_socket.parent):
                _make_private(private)
        except OSError as error:
            raise PlatformError(
                "Dossier de données inutilisable",
                f"Le système répond « {error.strerror or error} » : {error.filename}. Corrigez les droits, "
                "ou choisissez un autre dossier (--data).",
            ) from error

    def write(self, path: Path, text: str, *, mode: int = 0o644) -> None:
        """Write a file so that nobody ever reads half of it, and that only whom `mode` says reads it."""
        write_whole(path, text.encode(), mode=mode)


def candidate_folders(environ: Mapping[str, str]) -> Iterator[DataFolder]:
    """Yield the folders where a platform may be: as the environment says, else here, else beside the project."""
    if named := environ.get(DATA_VARIABLE, ""):
        yield DataFolder(Path(named).resolve())
        return
    yield DataFolder(Path.cwd() / NAME)
    if (PROJECT / "pyproject.toml").exists():  # otherwise we are installed among other packages
        yield DataFolder(PROJECT / NAME)


def choose_folder(asked: Path | None, environ: Mapping[str, str]) -> DataFolder:
    """Return the data folder of the platform to start, look at or stop."""
    if asked is not None:
        return DataFolder(asked.resolve())
    candidates = list(candidate_folders(environ))
    return next((folder for folder in candidates if folder.client_file.exists()), candidates[-1])


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise OSError(0, "ce dossier appartient à quelqu’un d’autre", str(folder))
    folder.chmod(0o700)

"""The system account that runs PostgreSQL, and the folders that it may enter."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from local.errors import PostgresUnavailableError
from local.progress import Say


@dataclass(frozen=True)
class Account:
    """The system account that runs PostgreSQL when we are root."""

    name: str
    uid: int
    gid: int


def account_of(data: Path) -> Account | None:
    """Choose who runs PostgreSQL: the owner of the data, ``nobody`` for root, otherwise us.

    Raises:
        PostgresUnavailableError: see `owner_of`; or there is no such account.
    """
    owner = owner_of(data)
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    except KeyError as e:
        raise PostgresUnavailableError(
            f"PostgreSQL does not run as root, and there is no account {owner or 'nobody'} to run it "
            f"in {data.parent}. Create that account, or work as an ordinary user."
        ) from e
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def owner_of(data: Path) -> int | None:
    """Say whose the data are.

    Raises:
        PostgresUnavailableError: another account's, which we could neither read nor stop.
    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() not in {0, owner} and owner is not None:
        raise PostgresUnavailableError(
            f"The data in {data} belongs to another account (number {owner}), probably because "
            "PostgreSQL was first started as root. Start it as root again, or remove the folder."
        )
    return owner


def open_the_way(path: Path, account: Account, say: Say) -> None:
    """Let the account pass through the directories above a path: pass, not list or read."""
    for directory in path.parents:
        status = directory.stat()
        # For the group too: a supervisor may give the account other groups than ours.
        pass_through = stat.S_IXUSR if status.st_uid == account.uid else stat.S_IXGRP | stat.S_IXOTH
        if status.st_mode & pass_through != pass_through:
            say(f"PostgreSQL tourne sous le compte {account.name} : il reçoit le droit de traverser {directory}.")
            directory.chmod(stat.S_IMODE(status.st_mode) | pass_through)


def make_private(path: Path, account: Account | None) -> None:
    """Make a directory that only the server's account may enter, or check that this one is.

    Raises:
        PostgresUnavailableError: someone else made it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    uid = account.uid if account else os.geteuid()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {uid, os.geteuid()}:
        raise PostgresUnavailableError(
            f"{path} is not ours: someone else made it. Remove it, or choose another folder for PostgreSQL."
        )
    path.chmod(0o700)
    if account:
        os.chown(path, account.uid, account.gid)

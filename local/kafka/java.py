"""Finds what Kafka needs on the machine: Java to run, Maven to be fetched."""

import re
import shutil
import subprocess

from local.errors import KafkaUnavailableError

JAVA_VERSION_MIN = 17


def find_java() -> str:
    """Find the ``java`` command.

    Raises:
        KafkaUnavailableError: there is none on the PATH, or it is older than the broker accepts.
    """
    java = find_command("java")
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - found on the user's own PATH
    version = java_version(answer.stderr)
    if version is None or version < JAVA_VERSION_MIN:
        found = "does not say its version" if version is None else f"is version {version}"
        raise KafkaUnavailableError(
            f"Kafka needs Java {JAVA_VERSION_MIN} or later and Maven: `{java}` {found}. "
            f"Install Java {JAVA_VERSION_MIN}, or run without BUS=kafka."
        )
    return java


def java_version(text: str) -> int | None:
    """Read the major version in what ``java -version`` prints; ``None`` when it holds none."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else None


def find_command(command: str) -> str:
    """Find a command on the PATH.

    Raises:
        KafkaUnavailableError: there is none.
    """
    path = shutil.which(command)
    if path is None:
        raise KafkaUnavailableError(
            f"Kafka needs Java {JAVA_VERSION_MIN} or later and Maven: `{command}` was not found. "
            "Install them, or run without BUS=kafka."
        )
    return path

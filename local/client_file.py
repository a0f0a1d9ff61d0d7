"""Writes down where the local platform is, for the commands to come (`client.json` in its folder)."""

import json

from local.folder import DataFolder
from local.ports import APIS, Ports


def write_client_config(folder: DataFolder, ports: Ports, *, collectivite: str) -> None:
    """Write down where the local platform is, for the commands to come."""
    folder.write(
        folder.client_file,
        json.dumps(
            {
                "urls": {name: ports.url(name) for name in APIS},
                "token_file": str(folder.token_file),
                "collectivite": collectivite,
            },
            indent=2,
        ),
    )

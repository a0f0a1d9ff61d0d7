"""Wires `simulator` and runs it."""

import time

from services.simulator.adapters.folder import Folder
from services.simulator.adapters.sftp import open_server
from services.simulator.api import routes
from services.simulator.handler import Guichet
from services.simulator.settings import Settings
from shared.runtime.service import read_settings, run, run_service
from shared.web.app import caller_dependency, service_app
from shared.web.keys import token_checker


async def serve(settings: Settings) -> None:
    """Open the folder and the SFTP server, and run until asked to stop."""
    folder = Folder(settings.simulator_folder)
    guichet = Guichet(folder)
    async with open_server(
        folder,
        guichet.take,
        host=settings.sftp_host,
        port=settings.sftp_port,
        login=settings.sftp_login,
        password=settings.sftp_password.get_secret_value(),
        keys=settings.simulator_folder,
        file_bytes_max=settings.file_bytes_max,
    ) as server:
        app = service_app("simulator", "Joue le rôle de la DGFiP.", checks={"sftp": server.check})
        tokens = token_checker(settings.jwks_file, settings.token_issuer, time.monotonic)
        app.include_router(routes(guichet, folder, caller=caller_dependency(tokens)))
        await run_service(app, settings, [guichet.run()])


if __name__ == "__main__":
    run(serve(read_settings(Settings, "simulator")))

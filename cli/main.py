"""The command line, `heliotrope`: what it is made of."""

import typer

from cli.commands import bus, checks, flux, installation, platform, validation
from cli.errors import EXIT_CODES_HELP
from cli.french import FrenchCommand, FrenchGroup

app = typer.Typer(
    cls=FrenchGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they may hold a token or a document
    help="Heliotrope porte les flux PES des collectivités à la DGFiP.",
    epilog=EXIT_CODES_HELP,
)
for command in (platform.up, platform.down, platform.status, platform.demo):
    app.command(cls=FrenchCommand)(command)
app.command("check", cls=FrenchCommand)(checks.check)
app.command("synthese", cls=FrenchCommand)(checks.synthese)
app.command("diff", cls=FrenchCommand)(checks.diff)
app.add_typer(flux.app, name="flux")
app.add_typer(checks.schemas, name="schemas")
app.add_typer(validation.controls, name="controls")
app.add_typer(bus.app, name="bus")
app.add_typer(installation.database, name="db")
app.add_typer(installation.topics, name="topics")

if __name__ == "__main__":
    app()

"""The command line, `heliotrope`: what it is made of."""

import typer

from cli.commands.administering import collectivites, registries
from cli.commands.operating import bus, installation, platform, trust, validation
from cli.commands.sending import (
    agent,
    checks,
    events,
    flux,
    parapheur,
    replies,
    sample,
    signature,
    signing,
    verification,
)
from cli.errors import EXIT_CODES_HELP
from cli.showing.french import FrenchCommand, FrenchGroup

app = typer.Typer(
    cls=FrenchGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they may hold a token or a document
    help="Heliotrope porte les flux PES des collectivités à la DGFiP.",
    epilog=EXIT_CODES_HELP,
)
for command in (platform.up, platform.down, platform.status, platform.demo, platform.token):
    app.command(cls=FrenchCommand)(command)
app.command("check", cls=FrenchCommand)(checks.check)
app.command("sample", cls=FrenchCommand)(sample.sample)
app.command("synthese", cls=FrenchCommand)(checks.synthese)
app.command("diff", cls=FrenchCommand)(checks.diff)
app.command("events", cls=FrenchCommand)(events.events)
app.add_typer(flux.app, name="flux")
app.add_typer(collectivites.app, name="collectivites")
app.add_typer(replies.app, name="replies")
app.add_typer(checks.schemas, name="schemas")
app.add_typer(validation.controls, name="controls")
app.add_typer(registries.mandates, name="mandates")
app.add_typer(registries.circuits, name="circuits")
app.add_typer(registries.delegations, name="delegations")
app.add_typer(registries.seal, name="seal")
app.add_typer(signature.app, name="signature")
signature.app.command("verify", cls=FrenchCommand)(verification.verify)
signature.app.command("pending", cls=FrenchCommand)(parapheur.pending)
signature.app.command("certificates", cls=FrenchCommand)(parapheur.certificates)
flux.app.command("circuit", cls=FrenchCommand)(parapheur.circuit)
flux.app.command("sign", cls=FrenchCommand)(signing.sign)
flux.app.command("document", cls=FrenchCommand)(signing.save_document)
flux.app.command("refuse", cls=FrenchCommand)(parapheur.refuse)
flux.app.command("restart", cls=FrenchCommand)(parapheur.restart)
flux.app.command("visa", cls=FrenchCommand)(parapheur.give_visa)
app.command("agent", cls=FrenchCommand)(agent.agent)
app.add_typer(trust.trust, name="trust")
app.add_typer(bus.app, name="bus")
app.add_typer(installation.database, name="db")
app.add_typer(installation.projections, name="projections")
app.add_typer(installation.topics, name="topics")

if __name__ == "__main__":
    app()

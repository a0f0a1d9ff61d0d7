"""The command line, `heliotrope`: what it is made of."""

import typer

from cli.commands.administering import collectivites, registries
from cli.commands.operating import bus, installation, logs, platform, simulator, trust, validation
from cli.commands.sending import (
    agent,
    checks,
    documents,
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
app.command("logs", cls=FrenchCommand)(logs.logs)
for name, group in {
    "flux": flux.app,
    "collectivites": collectivites.app,
    "replies": replies.app,
    "schemas": checks.schemas,
    "controls": validation.controls,
    "mandates": registries.mandates,
    "circuits": registries.circuits,
    "delegations": registries.delegations,
    "seal": registries.seal,
    "signature": signature.app,
    "simulator": simulator.simulator,
    "trust": trust.trust,
    "bus": bus.app,
    "db": installation.database,
    "projections": installation.projections,
    "topics": installation.topics,
}.items():
    app.add_typer(group, name=name)
signature.app.command("verify", cls=FrenchCommand)(verification.verify)
signature.app.command("pending", cls=FrenchCommand)(parapheur.pending)
signature.app.command("certificates", cls=FrenchCommand)(parapheur.certificates)
flux.app.command("circuit", cls=FrenchCommand)(parapheur.circuit)
flux.app.command("sign", cls=FrenchCommand)(signing.sign)
flux.app.command("document", cls=FrenchCommand)(documents.save_document)
flux.app.command("documents", cls=FrenchCommand)(documents.list_documents)
flux.app.command("refuse", cls=FrenchCommand)(parapheur.refuse)
flux.app.command("restart", cls=FrenchCommand)(parapheur.restart)
flux.app.command("visa", cls=FrenchCommand)(parapheur.give_visa)
app.command("agent", cls=FrenchCommand)(agent.agent)

if __name__ == "__main__":
    app()

"""Signs flux of a platform with a key that stays here: what is shown is read here, and is what is signed."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, TypeVar

import typer
from cryptography.hazmat.primitives.serialization import Encoding

from agent.reading import AskedItem, Item, Line, read_item, sum_of, told
from cli.api import Api
from cli.client_config import read_client_config
from cli.commands.sending import signature as keys
from cli.commands.sending.parapheur import tell
from cli.errors import CommandRefusedError, UsageProblemError, problem
from cli.options import AsJson, environ, ids_of
from cli.showing.output import Table, confirmed, reporting, say, show
from cli.showing.timeline import members_of
from shared.wording import euros
from signing.keys import KeyUnusableError, SigningKey
from signing.xades import Stated

# A card takes its time: few enough flux that what was prepared comes back while it is still good.
SLICE: Final = 20

SomeFluxIds = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Identifiants des flux.")]
Refused = dict[str, object]
One = TypeVar("One")


def sign(
    city: Annotated[str, typer.Option(metavar="VILLE", help="Ville où vous signez.")],
    postal_code: Annotated[str, typer.Option(metavar="CODE", help="Code postal de la ville.")],
    flux_ids: SomeFluxIds = None,
    p12: keys.P12Option = None,
    password_file: keys.PasswordFileOption = None,
    module: keys.Pkcs11Option = None,
    token: keys.TokenOption = "",
    pin_file: keys.PinFileOption = None,
    certificate: keys.CertificateOption = "",
    role: Annotated[str, typer.Option("--role", metavar="RÔLE", help="À quel titre vous signez.")] = "Ordonnateur",
    *,
    every: Annotated[bool, typer.Option("--all", help="Tout ce qui attend votre signature.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ne demande pas confirmation ; nécessaire avec --json.")] = False,
    as_json: AsJson = False,
) -> None:
    """Signe des flux de la plateforme avec votre clé, qui reste chez vous : chacun est traité, quoi qu’il arrive."""
    with reporting(as_json=as_json):
        keys.check_key_options(p12, password_file, module, token, pin_file, certificate)
        if as_json and not yes:
            raise UsageProblemError("Confirmation nécessaire", "--json ne demande rien : ajoutez --yes pour signer.")
        with (
            Api(read_client_config(environ())) as api,
            closing(keys.open_key(p12, password_file, module, token, pin_file, certificate)) as key,
        ):
            signer = _Signer(api, key, Stated(role, city, postal_code))
            shown, refused = signer.read(_wanted(api, flux_ids or [], every=every))
            if shown and not as_json:
                _show(shown)
            if shown and not yes and not confirmed("Signer ?"):
                raise CommandRefusedError("Rien n’est signé", "Vous n’avez pas confirmé.")
            keys.warn_of_expiry(key.certificate, datetime.now(UTC))
            tell({"items": [*refused, *signer.sign(shown)]}, as_json=as_json)


@dataclass(frozen=True)
class _Signer:
    """Reads, then signs, flux of a platform."""

    api: Api
    key: SigningKey
    stated: Stated

    def read(self, flux_ids: Sequence[str]) -> tuple[list[Item], list[Refused]]:
        """Return what would be signed, as it is read here, and what cannot be, with the reason."""
        shown: list[Item] = []
        refused: list[Refused] = []
        for asked in _slices(list(dict.fromkeys(flux_ids))):
            prepared, said = self._prepare(asked)
            shown += prepared.values()
            refused += said
        return shown, refused

    def sign(self, shown: Sequence[Item]) -> Iterator[Mapping[str, object]]:
        """Sign what was shown, and yield what became of each; one that changed meanwhile is not signed."""
        for part in _slices(shown):
            known = {one.flux_id: one.summary.sha256 for one in part if one.summary}
            prepared, refused = self._prepare(list(known), known)
            yield from refused
            signed, stopped = self._values(prepared.values())
            if signed:
                at = next(iter(prepared.values())).summary
                body = self._stated() | {
                    "signing_time": f"{at.signing_time:%Y-%m-%dT%H:%M:%SZ}" if at else "",
                    "items": signed,
                }
                yield from members_of(self._post("complete", body), "items")
            yield from stopped

    def _prepare(
        self, flux_ids: Sequence[str], known: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Item], list[Refused]]:
        """Have flux prepared by the platform, and prepare them here; the two must be the same."""
        answer = self._post("prepare", self._stated() | {"flux": list(flux_ids)})
        prepared: dict[str, Item] = {}
        refused: list[Refused] = []
        for one in members_of(answer, "items"):
            flux_id = str(one["flux_id"])
            if one.get("status") != "prepared":
                refused.append(dict(one))
                continue
            try:
                prepared[flux_id] = self._read(one, str(answer["signing_time"]), (known or {}).get(flux_id))
            except CommandRefusedError as error:  # told in its place
                refused.append(_refused(flux_id, error))
        return prepared, refused

    def _read(self, one: Mapping[str, object], signing_time: str, sha256: str | None) -> Item:
        """Read a flux, and refuse what is not the same here and on the platform, or not what was shown.

        Raises:
            CommandRefusedError: it cannot be signed.
        """
        flux_id = str(one["flux_id"])
        wanted = {str(element["element_id"]): str(element["to_sign"]) for element in members_of(one, "elements")}
        asked = AskedItem(
            flux_id=flux_id,
            filename="",
            document=b64encode(self.api.download("signature", f"/v1/flux/{flux_id}/document")).decode(),
            signing_time=signing_time,
            role=self.stated.role,
            city=self.stated.city,
            postal_code=self.stated.postal_code,
            elements=tuple(wanted),
        )
        item = read_item(asked, self.key.certificate, datetime.now(UTC))
        if item.summary is None:
            raise CommandRefusedError("Ce flux ne peut pas être signé", item.reason or "")
        if dict(item.to_sign) != {name: b64decode(to_sign) for name, to_sign in wanted.items()}:
            raise CommandRefusedError(
                "Rien n’est signé",
                "Ce que la plateforme demande de signer n’est pas ce que contient le flux. Prévenez votre hébergeur.",
            )
        if sha256 not in (None, item.summary.sha256):
            raise CommandRefusedError(
                "Rien n’est signé", "Le flux a changé depuis qu’il vous a été montré. Relisez-le, puis recommencez."
            )
        return item

    def _values(self, items: Iterable[Item]) -> tuple[list[Refused], list[Refused]]:
        """Sign what was read; when the card stops, the rest is told, and what it signed is not lost."""
        signed: list[Refused] = []
        stopped: list[Refused] = []
        for item in items:
            try:
                values = [
                    {"element_id": name, "value": b64encode(self.key.sign(to_sign)).decode()}
                    for name, to_sign in item.to_sign
                ]
            except KeyUnusableError as error:
                stopped.append(_refused(item.flux_id, CommandRefusedError("Clé inutilisable", str(error))))
            else:
                signed.append({"flux_id": item.flux_id, "values": values})
        return signed, stopped

    def _stated(self) -> dict[str, object]:
        der = b64encode(self.key.certificate.public_bytes(Encoding.DER)).decode()
        stated = self.stated
        return {"certificate": der, "role": stated.role, "city": stated.city, "postal_code": stated.postal_code}

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        url = f"{self.api.url('signature')}/v1/signatures/{path}"
        return self.api.send("signature", lambda client: client.post(url, json=dict(body)))


def _wanted(api: Api, flux_ids: Sequence[str], *, every: bool) -> list[str]:
    if bool(flux_ids) == every:
        raise UsageProblemError("Que signer ?", "Donnez des identifiants de flux, ou --all pour tout ce qui attend.")
    if not every:
        return ids_of(flux_ids)
    url = f"{api.url('signature')}/v1/signatures/pending"
    answer = api.send("signature", lambda client: client.get(url))
    found = [str(one["flux_id"]) for one in members_of(answer, "flux") if one["kind"] == "signature"]
    if not found:
        raise CommandRefusedError("Rien à signer", "Aucun flux n’attend votre signature.")
    if answer.get("more"):
        say("D’autres flux attendent encore : recommencez ensuite.")
    return found


def _slices(items: Sequence[One]) -> Iterator[Sequence[One]]:
    for begin in range(0, len(items), SLICE):
        yield items[begin : begin + SLICE]


def _refused(flux_id: str, error: CommandRefusedError) -> Refused:
    return {"flux_id": flux_id, "status": "refused", "problem": problem("not-signed", error.title, error.detail)}


def _show(items: Sequence[Item]) -> None:
    """Show what is about to be signed, as it was read in the documents themselves."""
    table = Table()
    for number, column in enumerate(("Flux", "Collectivité", "Bordereaux", "Pièces", "Dépenses", "Recettes")):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    every: list[Line] = []
    for item in items:
        if item.summary is None:
            continue
        lines = item.summary.lines
        every += lines
        pieces = str(sum(line.pieces for line in lines))
        table.add_row(item.flux_id, item.summary.collectivite, _numbers(lines), pieces, *_totals(lines))
    table.add_section()
    table.add_row("En tout", "", told(every), "", *_totals(every))
    show(table)


def _totals(lines: Sequence[Line]) -> tuple[str, str]:
    """Return what the lines of each domain come to: adding the two would mean nothing."""
    return _total(lines, lambda line: line.domain == "depense"), _total(lines, lambda line: line.domain == "recette")


def _total(lines: Sequence[Line], is_of: Callable[[Line], bool]) -> str:
    chosen = [line for line in lines if is_of(line)]
    return _amount(sum_of(line.came_to for line in chosen)) if chosen else ""


def _amount(amount: Decimal | None) -> str:
    return "inconnu" if amount is None else euros(amount)


def _numbers(lines: Sequence[Line]) -> str:
    words = {"depense": "dépense", "recette": "recette"}
    return ", ".join(f"{words[line.domain]} {line.number}" for line in lines)

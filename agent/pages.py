"""The agent's own pages, in which the signatory sees what they sign, and agrees or refuses.

Plain HTML without any script: it shows in any browser, and nothing that a flux contains can run in it.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Final

from cryptography import x509

from agent.reading import SHOWN_CHARACTERS_MAX, Item, Line, Summary, sum_of, told
from agent.requests import SigningRequest
from pes.text import PARIS
from shared.wording import count
from signing.certificates import name_of, whole_name

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    # The page that opened this one keeps no hold on it: it cannot move it under the signatory's mouse.
    "Cross-Origin-Opener-Policy": "same-origin",
}
REFRESH_SECONDS: Final = 2
TOLD_CHARACTERS_MAX: Final = 1000
_DOMAINS: Final = {"depense": "Dépense", "recette": "Recette"}
_STYLE: Final = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; font: 1rem/1.5 system-ui, sans-serif;
  color: #161616; background: #fff; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
section { border: 1px solid #929292; border-radius: .25rem; padding: 1rem; margin: 1rem 0; }
section p, section dl { margin: .25rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { color: #3a3a3a; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { border-bottom: 1px solid #929292; padding: .3rem .5rem; text-align: left; vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; }
.notice { border-left: .3rem solid #b34000; padding: .5rem 1rem; background: #fff4f0; }
.choice { display: flex; gap: .6rem; align-items: baseline; font-weight: 600; padding: .3rem 0; }
.choice input { width: 1.2rem; height: 1.2rem; flex: none; align-self: center; }
.decision { display: flex; flex-wrap: wrap; gap: 1rem; justify-content: flex-end; margin: 1.5rem 0; }
button { font: inherit; font-weight: 600; padding: .6rem 2rem; border: 2px solid #000091; border-radius: .25rem;
  background: #fff; color: #000091; cursor: pointer; min-height: 2.75rem; }
button.main { background: #000091; color: #fff; }
a { color: #000091; }
:focus-visible { outline: 3px solid #0a76f6; outline-offset: 2px; }
"""


def confirmation(request: SigningRequest, certificate: x509.Certificate, *, until: datetime, notice: str = "") -> str:
    """Return the page in which the signatory answers.

    Args:
        request: what waits.
        certificate: theirs.
        until: when the request expires.
        notice: what was wrong with the answer they just gave.
    """
    lines = [line for item in request.prepared if item.summary for line in item.summary.lines]
    flux = count(len(request.prepared), "flux", "flux")
    refused = [item for item in request.items if item.status == "refused"]
    body = (
        f"<h1>Signer {_text(flux)} ?</h1>"
        f"<p>Le portail <strong>{_text(request.origin)}</strong> demande votre signature. "
        f"Répondez avant {until.astimezone(PARIS):%H:%M} ; ensuite la demande expire, et rien n’est signé.</p>"
        f"{_notice(notice)}{_certificate(certificate)}{_totals(request.prepared, lines)}"
        '<p><a href="#decision">Aller à la décision</a></p>'
        '<form method="post">'
        f'<input type="hidden" name="form_token" value="{_text(request.form_token)}">'
        f"{''.join(_item(position, item) for position, item in enumerate(request.items))}"
        f"{_left_out(refused)}"
        '<div class="decision" id="decision">'
        # The first button is what the Enter key presses: nobody signs by accident.
        '<button name="decision" value="refuse">Refuser</button>'
        '<button class="main" name="decision" value="sign">Signer</button>'
        "</div></form>"
    )
    return _page(f"Signer {flux} ?", body)


def progress(request: SigningRequest) -> str:
    """Return the page shown while the key works; it comes again by itself."""
    done = sum(item.status == "signed" for item in request.items)
    total = done + len(request.prepared)
    body = (
        "<h1>Signature en cours</h1>"
        f'<p role="status">{done} sur {_text(count(total, "flux signé", "flux signés"))}. '
        "Laissez votre carte en place et l’agent ouvert.</p>"
        '<p><a href="">Actualiser</a></p>'
    )
    return _page("Signature en cours", body, head=f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">')


def ended(request: SigningRequest) -> str:
    """Return the page of a request that nobody needs to answer any more."""
    signed = [item for item in request.items if item.status == "signed"]
    refused = [item for item in request.items if item.status == "refused"]
    title = count(len(signed), "flux signé", "flux signés") if signed else "Rien n’a été signé"
    names = "".join(f"<li>{_text(_plain(item.filename))}</li>" for item in signed)
    body = (
        f"<h1>{_text(title)}</h1>"
        f"{f'<p>Le portail reçoit vos signatures.</p><ul>{names}</ul>' if signed else ''}"
        f"{_left_out(refused)}"
        "<p>Vous pouvez fermer cette page et revenir au portail.</p>"
    )
    return _page(title, body)


def unknown() -> str:
    """Return the page of an address that leads to no request."""
    body = (
        "<h1>Aucune demande ici</h1><p>Cette demande de signature n’existe pas, ou plus. "
        "Revenez au portail, et demandez à nouveau la signature.</p>"
    )
    return _page("Aucune demande ici", body)


def _page(title: str, body: str, *, head: str = "") -> str:
    return (
        '<!DOCTYPE html><html lang="fr"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{head}'
        f"<title>{_text(title)} - Agent de signature Heliotrope</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )


def _notice(sentence: str) -> str:
    return f'<p class="notice" role="alert">{_text(sentence)}</p>' if sentence else ""


def _certificate(certificate: x509.Certificate) -> str:
    until = certificate.not_valid_after_utc.astimezone(PARIS)
    return (
        "<section><h2>Votre certificat</h2>"
        + _described(
            (
                ("Titulaire", name_of(certificate)),
                ("Identité complète", whole_name(certificate.subject)),
                ("Délivré par", whole_name(certificate.issuer)),
                ("Valable jusqu’au", f"{until:%d/%m/%Y}"),
            )
        )
        + "</section>"
    )


def _totals(items: Sequence[Item], lines: Sequence[Line]) -> str:
    rows = [
        _total_row(name, [line for line in lines if line.domain == domain])
        for domain, name in _DOMAINS.items()
        if any(line.domain == domain for line in lines)
    ]
    return (
        f'<div class="scroll"><table><caption>Ce qui peut être signé : '
        f"{_text(count(len(items), 'flux', 'flux'))}, "
        f"{_text(told(lines))}</caption><thead><tr>"
        '<th scope="col">Domaine</th><th scope="col" class="number">Bordereaux</th>'
        '<th scope="col" class="number">Pièces</th><th scope="col" class="number">Montant annoncé (HT)</th>'
        '<th scope="col" class="number">Somme des lignes (HT)</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _total_row(name: str, lines: Sequence[Line]) -> str:
    pieces = sum(line.pieces for line in lines)
    declared = sum_of(line.declared for line in lines)
    came_to = sum_of(line.came_to for line in lines)
    cells = (str(len(lines)), str(pieces), _euros(declared), _euros(came_to))
    return f'<tr><th scope="row">{_text(name)}</th>{_numbers(cells)}</tr>'


def _item(position: int, item: Item) -> str:
    if item.status != "prepared" or item.summary is None:
        return ""
    summary = item.summary
    rows = "".join(_row(line) for line in summary.lines)
    what = "Le flux entier est signé ; il contient" if summary.is_global else "Bordereaux signés :"
    filename = _text(_plain(item.filename))
    return (
        f'<section aria-labelledby="flux-{position}"><h2 id="flux-{position}">{filename}</h2>'
        f'<label class="choice"><input type="checkbox" name="item" value="{position}" checked>'
        f"<span>Signer {filename}</span></label>"
        f"{_described(_facts(summary))}"
        f'<div class="scroll"><table><caption>{_text(what)} {_text(told(summary.lines))}</caption><thead><tr>'
        '<th scope="col">Bordereau</th><th scope="col">Exercice</th><th scope="col">Domaine</th>'
        '<th scope="col" class="number">Pièces</th><th scope="col" class="number">Montant annoncé (HT)</th>'
        '<th scope="col" class="number">Somme des lignes (HT)</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _facts(summary: Summary) -> tuple[tuple[str, str], ...]:
    stated = summary.stated
    place = " ".join(one for one in (stated.city, stated.postal_code) if one)
    at = summary.signing_time.astimezone(PARIS)
    return (
        ("Collectivité", summary.collectivite or "non indiquée dans le fichier"),
        ("NomFic", summary.nomfic or "non indiqué dans le fichier"),
        ("Signé en qualité de", stated.role + (f", à {place}" if place else "")),
        ("Date de signature", f"{at:%d/%m/%Y à %H:%M:%S}"),
        ("Empreinte SHA-256", summary.sha256),
    )


def _row(line: Line) -> str:
    number = _text(_plain(line.number) or "sans numéro")
    cells = (str(line.pieces), _euros(line.declared), _euros(line.came_to))
    return (
        f'<tr><th scope="row">{number}</th><td>{_text(_plain(line.exercice))}</td>'
        f"<td>{_DOMAINS[line.domain]}</td>{_numbers(cells)}</tr>"
    )


def _left_out(items: Sequence[Item]) -> str:
    if not items:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_text(_plain(item.filename))}</th>'
        f"<td>{_text(_plain(item.reason or '', TOLD_CHARACTERS_MAX))}</td></tr>"
        for item in items
    )
    return (
        '<div class="scroll"><table><caption>Flux non signés</caption><thead><tr><th scope="col">Fichier</th>'
        f'<th scope="col">Pourquoi</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _described(facts: Iterable[tuple[str, str]]) -> str:
    return (
        "<dl>" + "".join(f"<dt>{_text(name)}</dt><dd>{_text(_plain(value))}</dd>" for name, value in facts) + "</dl>"
    )


def _numbers(cells: Iterable[str]) -> str:
    return "".join(f'<td class="number">{_text(cell)}</td>' for cell in cells)


def _euros(amount: Decimal | None) -> str:
    """Write an amount as accountants do: 1 234,56 €. What is smaller than a cent is shown, never rounded away."""
    if amount is None:
        return "inconnu"
    exact = amount.quantize(Decimal("0.01")) if amount == round(amount, 2) else amount
    return f"{exact:,f} €".replace(",", "\N{NARROW NO-BREAK SPACE}").replace(".", ",")


def _plain(text: str, characters_max: int = SHOWN_CHARACTERS_MAX) -> str:
    """Leave out what changes how the rest is read: control characters, and those that turn the writing around."""
    kept = "".join(one for one in text if unicodedata.category(one) not in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
    return kept if len(kept) <= characters_max else kept[: characters_max - 1] + "…"


def _text(value: str) -> str:
    return escape(value, quote=True)

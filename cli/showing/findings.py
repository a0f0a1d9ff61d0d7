"""Shows findings and rejections in full: what, where, who can act, what to do next, and the technical code.

They come as the services wrote them (`shared.facts.flux.Finding`, `ReplyError`), as JSON.
"""

from collections.abc import Iterable, Iterator, Mapping

from rich.console import Console

from pes.text import printable

_SEVERITIES = {"blocking": "Anomalie bloquante", "warning": "Avertissement"}


def finding_lines(finding: Mapping[str, object]) -> Iterator[str]:
    """Yield the lines that tell one finding."""
    severity = _SEVERITIES.get(str(finding.get("severity")), "Anomalie")
    yield f"{severity} : {finding.get('message', '')}"
    if where := place_of(finding.get("where")):
        yield f"  Où : {where}"
    if finding.get("who"):
        yield f"  Qui peut agir : {finding['who']}"
    if finding.get("next"):
        yield f"  À faire : {finding['next']}"
    if finding.get("code"):
        yield f"  Code : {finding['code']}"
    if finding.get("technical"):
        yield f"  Message technique : {finding['technical']}"


def place_of(where: object) -> str:
    """Say where a finding is, from the bordereau down to the column; empty when it is nowhere in particular."""
    if not isinstance(where, Mapping):
        return ""
    labels = {
        "domain": "domaine",
        "bordereau": "bordereau",
        "piece": "pièce",
        "ligne": "ligne de pièce",
        "attachment": "PJ",
        "element": "élément",
        "line": "ligne",
        "column": "colonne",
        "xpath": "XPath",
    }
    words = {"depense": "dépense", "marche": "marché"}
    said = {name: words.get(str(where[name]), where[name]) for name in labels if where.get(name)}
    return ", ".join(f"{labels[name]} {value}" for name, value in said.items())


def rejection_lines(error: Mapping[str, object]) -> Iterator[str]:
    """Yield the lines that tell one anomaly stated by DGFiP."""
    yield f"Rejet {error.get('code', '')} : {error.get('label', '')}"
    labels = {
        "domain": "domaine",
        "exercice": "exercice",
        "bordereau": "bordereau",
        "piece": "pièce",
        "ligne": "ligne",
        "id_unique": "PJ",
    }
    if where := ", ".join(f"{label} {error[name]}" for name, label in labels.items() if error.get(name)):
        yield f"  Où : {where}"


def fault_lines(fault: Mapping[str, object]) -> Iterator[str]:
    """Yield the line that tells what of a request has not the expected shape."""
    yield f"{fault.get('where') or 'demande'} : {fault.get('what', '')}"


def show_findings(console: Console, findings: object) -> None:
    """Show a list of findings, as the API gives it."""
    _show(console, (finding_lines(finding) for finding in _mappings(findings)))


def show_rejections(console: Console, errors: object) -> None:
    """Show a list of anomalies stated by DGFiP, as the API gives it."""
    _show(console, (rejection_lines(error) for error in _mappings(errors)))


def show_problem(console: Console, document: Mapping[str, object]) -> None:
    """Show a problem document (RFC 9457): its title and detail, then what it lists."""
    lines = [f"Erreur : {document.get('title') or 'demande refusée'}"]
    if detail := document.get("detail"):
        lines.append(str(detail))
    _show(console, [iter(lines)])
    show_findings(console, document.get("findings"))
    show_rejections(console, document.get("rejections"))
    _show(console, (fault_lines(fault) for fault in _mappings(document.get("errors"))))


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []


def _show(console: Console, items: Iterable[Iterator[str]]) -> None:
    for lines in items:
        for line in lines:
            console.print(printable(line), markup=False, soft_wrap=True)

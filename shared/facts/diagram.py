"""Prints the lifecycle of a flux, as a Mermaid diagram and as a table, from the one place that defines it.

`docs/life-of-a-flux.md` holds exactly this text: `python -m shared.facts.diagram`.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping

from pes.vocabulary import Header
from shared.facts.fact import Fact
from shared.facts.flux import FluxCancelled, FluxValidated
from shared.facts.lifecycles.flux import AT_A_VISA_ON_SCREEN, TRANSITIONS, Flux, State

START = "[*]"
_UNSIGNED = FluxValidated(
    header=Header(nomfic="", typfic="", id_post="", id_coll="", cod_col="", cod_bud=""),
    bordereaux=(),
    attachments=0,
    signature_required=False,
)

Edges = Mapping[tuple[State | None, State], list[str]]


def document() -> str:
    """Return the diagram and the table."""
    edges = _edges()
    return "\n".join([*_diagram(edges), "", *_table(edges)]) + "\n"


def _edges() -> Edges:
    """Return the names of the facts that lead from one state to another."""
    edges: dict[tuple[State | None, State], list[str]] = defaultdict(list)
    for source, facts in TRANSITIONS.items():
        for fact in facts:
            for target, name in _targets(source, fact):
                edges[source, target].append(name)
    return edges


def _targets(source: State | None, fact: type[Fact]) -> Iterator[tuple[State, str]]:
    target = TRANSITIONS[source][fact]
    is_bounded = fact is FluxCancelled and source is State.SENDING
    yield target, f"{fact.__name__}{' (before the first attempt)' * is_bounded}"
    if fact is FluxValidated:
        exception = Flux(state=source).evolve(_UNSIGNED).state
        if exception is not None and exception is not target:
            yield exception, f"{fact.__name__} (no signature required)"


def _diagram(edges: Edges) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    for (source, target), facts in edges.items():
        yield f"    {source or START} --> {target}: {', '.join(facts)}"
    for state, following in TRANSITIONS.items():
        if state is not None and all(target is state for target in following.values()):
            yield f"    {state} --> {START}"
    yield "```"


def _table(edges: Edges) -> Iterator[str]:
    yield "| state | on screen | what may follow, and the state it leads to |"
    yield "|---|---|---|"
    for state in TRANSITIONS:
        steps = [f"{', '.join(facts)} → `{target}`" for (source, target), facts in edges.items() if source is state]
        name, screen = (f"`{state}`", _on_screen(state)) if state else ("(nothing)", "")
        yield f"| {name} | {screen} | {'<br>'.join(steps) or 'nothing: the flux ends here'} |"


def _on_screen(state: State) -> str:
    at_a_visa = AT_A_VISA_ON_SCREEN.get(state)
    return f"{state.on_screen}, or {at_a_visa} at a visa" if at_a_visa else state.on_screen


if __name__ == "__main__":
    sys.stdout.write(document())

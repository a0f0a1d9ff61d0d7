"""The dialect of a version: which facts it can read, and where each may stand.

What one version could not take in, a version of another dialect tries again (`shared.bus.consumer`).
"""

import json
from collections.abc import Mapping
from hashlib import sha256

from shared.facts.envelope import Event
from shared.facts.fact import Fact, kind_of
from shared.facts.lifecycles import collectivite, flux, platform, reply
from shared.facts.lifecycles.playing import State
from shared.facts.streams import BY_KIND, FACTS_OF, StreamKind


def own_dialect() -> str:
    """Return the digest of what this version reads: the same for all of its processes, another for most others.

    It follows from the schemas of the facts and from the tables of their streams, not from code that reads further.
    """
    spoken = {
        "envelope": Event.model_json_schema(),
        "facts": {kind: fact.model_json_schema() for kind, fact in BY_KIND.items()},
        "streams": {kind: [kind_of(fact) for fact in facts] for kind, facts in FACTS_OF.items()},
        "tables": {
            StreamKind.FLUX: _rows_of(flux.TRANSITIONS),
            StreamKind.REPLY: _rows_of(reply.TRANSITIONS),
            StreamKind.COLLECTIVITE: _rows_of(collectivite.TRANSITIONS),
            StreamKind.PLATFORM: _rows_of(platform.TRANSITIONS),
        },
    }
    return sha256(json.dumps(spoken, sort_keys=True).encode()).hexdigest()[:16]


def _rows_of(table: Mapping[State | None, Mapping[type[Fact], State]]) -> list[tuple[State | None, str, State]]:
    return [(state, kind_of(fact), after) for state, steps in table.items() for fact, after in steps.items()]

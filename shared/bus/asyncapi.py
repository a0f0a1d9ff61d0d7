"""The AsyncAPI 3 description of the topics, generated: `python -m shared.bus.asyncapi > docs/asyncapi.json`.

Whoever consumes our topics with another tool reads what to expect there; a test keeps the file and the code equal.
"""

import json
import sys

from shared.bus.kafka import EVENT_SOURCE
from shared.bus.topics import topic_of
from shared.facts.envelope import Event
from shared.facts.fact import Fact, kind_of
from shared.facts.streams import ALL_FACTS

_SCHEMA = "#/components/schemas/{model}"


def describe() -> dict[str, object]:
    """Return the AsyncAPI document: one channel per topic, one message per kind of fact."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Heliotrope facts",
            "version": "1",
            "description": "Every fact recorded about a flux, as CloudEvents 1.0 in Kafka's binary mode. "
            "The key is the flux id; delivery is at least once.",
        },
        "defaultContentType": "application/json",
        "channels": {topic_of(kind_of(fact)): _channel(fact) for fact in ALL_FACTS},
        "operations": {
            f"receive_{fact.__name__}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{topic_of(kind_of(fact))}"},
            }
            for fact in ALL_FACTS
        },
        "components": {"schemas": _schemas()},
    }


def _channel(fact: type[Fact]) -> dict[str, object]:
    return {
        "address": topic_of(kind_of(fact)),
        "description": (fact.__doc__ or "").strip(),
        "messages": {fact.__name__: _message(fact)},
    }


def _message(fact: type[Fact]) -> dict[str, object]:
    return {
        "name": kind_of(fact),
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {
                "ce_specversion": {"const": "1.0"},
                "ce_id": {"type": "string", "format": "uuid"},
                "ce_source": {"const": EVENT_SOURCE},
                "ce_type": {"const": kind_of(fact)},
                "ce_subject": {"type": "string", "format": "uuid", "description": "the flux id"},
                "ce_time": {"type": "string", "format": "date-time"},
                "traceparent": {"type": "string"},
            },
        },
        "payload": _payload(fact),
    }


def _payload(fact: type[Fact]) -> dict[str, object]:
    """Return the JSON schema of an event holding this fact: `kind` stands in the envelope."""
    envelope = Event.model_json_schema(mode="serialization", ref_template=_SCHEMA)
    data = fact.model_json_schema(mode="serialization", ref_template=_SCHEMA)
    data.pop("$defs", None)
    data["properties"].pop("kind")
    properties = {name: value for name, value in envelope["properties"].items() if name != "data"}
    properties |= {"kind": {"const": kind_of(fact)}, "data": data}
    return {"type": "object", "properties": properties, "required": [*envelope["required"], "kind"]}


def _schemas() -> dict[str, object]:
    """Return what facts are made of, named once."""
    schemas: dict[str, object] = {}
    for fact in ALL_FACTS:
        schemas |= fact.model_json_schema(mode="serialization", ref_template=_SCHEMA).get("$defs", {})
    return schemas


if __name__ == "__main__":
    sys.stdout.write(json.dumps(describe(), indent=2, ensure_ascii=False) + "\n")

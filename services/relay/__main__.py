"""Wires `relay` and runs it."""

from collections.abc import Callable
from functools import partial
from typing import NoReturn

from services.relay.adapters.journal import PostgresCursor, sole_order
from services.relay.loops import Ordering, Publishing
from services.relay.settings import Settings
from shared.bus.kafka import KafkaPublisher, create_topics
from shared.bus.topics import TOPICS
from shared.journal.order import JOURNAL_CHANNEL
from shared.journal.postgres import Listener
from shared.retrying import until_it_answers
from shared.runtime.service import Parts, open_parts, read_settings, run, run_service
from shared.web.app import service_app


async def serve(settings: Settings) -> None:
    """Open what the service needs, and run until it is asked to stop."""
    async with open_parts(settings) as parts:
        ordering = Ordering(
            partial(sole_order, parts.database),
            parts.database,
            Listener(settings.database_url.get_secret_value(), JOURNAL_CHANNEL),
            limit=settings.batch_facts_max,
            poll_seconds=settings.poll_seconds,
        )
        tasks = [ordering.run()]
        waits_for: Callable[[], list[str]] = list
        if settings.bus == "kafka":
            publishing = _publishing(parts, ordering, settings)
            waits_for = publishing.waits_for
            tasks.append(_publish(publishing, settings))
        checks = {"postgresql": parts.database.check, "bus": parts.bus.check}
        app = service_app("relay", "Ordonne et publie les faits.", checks=checks, waits_for=waits_for)
        await run_service(app, settings, tasks)


def _publishing(parts: Parts, ordering: Ordering, settings: Settings) -> Publishing:
    return Publishing(
        PostgresCursor(parts.database, "kafka"),
        KafkaPublisher(settings.kafka_bootstrap),
        ordering.has_grown,
        limit=settings.batch_facts_max,
        poll_seconds=settings.poll_seconds,
    )


async def _publish(publishing: Publishing, settings: Settings) -> NoReturn:
    create = partial(create_topics, settings.kafka_bootstrap, TOPICS, replication=settings.topics_replication)
    await until_it_answers(create, outage="relay.no_topics")
    await publishing.run()


if __name__ == "__main__":
    run(serve(read_settings(Settings, "relay")))

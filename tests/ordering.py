"""Puts all that was appended in order, as `relay` does for ever."""

from services.relay.adapters.journal import sole_order
from shared.journal.postgres import Database


async def order_all(database: Database) -> None:
    """Give every committed fact its index; a transaction under way anywhere on the server makes facts wait."""
    async with sole_order(database) as order:
        while await order.extend(1000) or await order.oldest_without_index_seconds():
            pass

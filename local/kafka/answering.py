"""Asks a broker whether it is there."""

import asyncio

from local.kafka.node import Node
from shared.bus.kafka import admin, in_our_words
from shared.errors import UnavailableError


async def is_up(node: Node, *, nodes: int = 1) -> bool:
    """Say whether the node answers, and at least as many nodes of its cluster are up.

    The cluster id is compared because another broker may hold the port.
    """
    port = node.ports.client
    try:
        with in_our_words():
            _, knocking = await asyncio.open_connection("127.0.0.1", port)  # aiokafka would log an error each time
            knocking.close()
            async with admin(f"127.0.0.1:{port}") as client:
                cluster = await client.describe_cluster()
    except UnavailableError:
        return False
    return cluster["cluster_id"] == node.cluster_id and len(cluster["brokers"]) >= nodes

"""The real Apache Kafka on this machine, without a container.

A broker that only resembles Kafka would prove nothing about redelivery, rebalancing or a leader that dies, so
what runs here is the published broker, fetched by Maven at the version pinned in ``deploy/kafka/pom.xml``.

Theory of operation, in the order in which things happen:

1. `jars.ensure_jars` fetches the broker, once.
2. `node` says, as pure functions, what one broker is and how it is run.
3. `storage.prepare` writes that down and formats its storage; a supervisor runs and stops the result.
4. `answering.is_up` asks the broker whether it is there.

A node is both controller and broker, and listens on the loopback interface only.
"""

"""RabbitMQ behind the broker port."""

from __future__ import annotations

from longshore.brokers.rabbitmq.broker import RabbitMQBroker

__all__ = ["RabbitMQBroker", "open"]


def open(url: str) -> RabbitMQBroker:  # noqa: A001 - the registry's name for it
    """Return the broker at ``amqp://``, ``amqps://`` or ``pyamqp://``; nothing is connected yet."""
    return RabbitMQBroker(url)

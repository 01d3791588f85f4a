"""RabbitMQ behind the broker port."""

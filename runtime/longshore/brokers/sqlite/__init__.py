"""The embedded broker: one SQLite file behind the broker port."""

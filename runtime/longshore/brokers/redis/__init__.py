"""Redis behind the broker port."""

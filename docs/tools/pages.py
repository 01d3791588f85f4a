"""The generated pages by name."""

from collections.abc import Callable, Mapping

from docs.tools.commands import commands_page
from docs.tools.public_api import python_page
from docs.tools.tables import brokers_page, celery_settings_page, metrics_page, settings_page

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/celery-settings.md": celery_settings_page,
    "reference/brokers.md": brokers_page,
    "reference/metrics.md": metrics_page,
    "reference/python.md": python_page,
}

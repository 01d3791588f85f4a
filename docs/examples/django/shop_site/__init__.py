"""The project. Its app is imported with it, so that tasks of `shared_task` find it."""

from shop_site.tasks_app import app

__all__ = ["app"]

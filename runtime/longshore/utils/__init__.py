"""Helpers under the names that Celery users import."""

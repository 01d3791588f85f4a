"""The base class of tasks in a Django project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from longshore.task import Task


class DjangoTask(Task):
    """A task that can be sent when the transaction commits: a worker never looks for a row that is not there yet."""

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Send when the current transaction commits, at once outside one; a rollback sends nothing.

        There is no result to return, because nothing is sent yet. Wrong arguments raise here.
        """
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        using: str | None = None,
        **options: Any,
    ) -> None:
        """Send with options when the transaction of the database `using` (the default one) commits."""
        from django.db import transaction

        self.check_arguments(args or (), kwargs or {})
        transaction.on_commit(partial(self.apply_async, args, kwargs, **options), using=using)

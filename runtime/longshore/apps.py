"""The apps of this process: which one is current, and which exist. Knows nothing of what an app is."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from longshore.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from longshore.app import Longshore
    from longshore.task import Task


class Apps:
    """The apps of this process, and the tasks that belong to every one of them."""

    def __init__(self) -> None:
        self.live: weakref.WeakSet[Longshore] = weakref.WeakSet()
        self.shared: list[Callable[[Longshore], Task]] = []
        self.current: Longshore | None = None

    def add(self, app: Longshore) -> None:
        """Declare the shared tasks in a new app; those to come will be declared there as well."""
        for declare in self.shared:
            declare(app)
        self.live.add(app)

    def share(self, declare: Callable[[Longshore], Task]) -> None:
        """Declare a task in every app, those to come included."""
        self.shared.append(declare)
        for app in list(self.live):
            declare(app)

    def require(self) -> Longshore:
        """Return the current app; an error says what to do where there is none."""
        if self.current is None:
            raise ImproperlyConfigured("no app was made yet: write app = Longshore(…) first, or pass app=")
        return self.current


apps = Apps()

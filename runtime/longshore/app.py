"""The app: settings, the registry of tasks, and the way to the broker.

One object serves clients and workers. Connections open when they are first needed and anew after a fork; importing an
app connects to nothing.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from longshore import signals
from longshore.brokers.port import Outgoing
from longshore.builtin_tasks import builtin_tasks
from longshore.canvases import Canvases
from longshore.connections import Connections
from longshore.exceptions import ImproperlyConfigured
from longshore.manifests import PeriodicTask, default_name, entry_of, periodic_task
from longshore.publishing import Publishing, call_options, published, utc_now
from longshore.registry import TaskRegistry, apps, make_task
from longshore.request import Request
from longshore.result import AsyncResult, GroupResult, result_from_tuple
from longshore.results.port import ResultMeta
from longshore.settings import Settings
from longshore.signatures import Signature, signature
from longshore.task import Task as BaseTask
from longshore.utils.imports import import_object, import_related

if TYPE_CHECKING:
    from longshore.control import Control
    from longshore.events import Events


class Longshore(Connections):
    """An application: ``app = Longshore("shop", broker="redis://…")``. Arguments and settings are Celery's."""

    Task: type[BaseTask] = BaseTask
    """The class of tasks whose decorator names no `base`."""

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | None = None,
        backend: str | None = None,
        include: Iterable[str] = (),
        set_as_current: bool = True,
        task_cls: str | type[BaseTask] | None = None,
        config_source: Any = None,
        **settings: Any,
    ) -> None:
        self.main = main
        given = {"broker_url": broker, "result_backend": backend, "include": tuple(include)}
        super().__init__(Settings({**{key: value for key, value in given.items() if value}, **settings}))
        self.tasks = TaskRegistry(builtin_tasks(self))
        self._publishing = Publishing(self.conf, self.tasks, self.reply_to)
        self.canvases = Canvases(self, self._publishing)
        """Carries out canvases."""
        self.on_after_configure = signals.Signal("on_after_configure")
        self.on_after_finalize = signals.Signal("on_after_finalize")
        self._periodic: dict[str, PeriodicTask] = {}
        self._finalized = False
        self.before_imports: list[Callable[[], None]] = []
        self.installed_packages: Callable[[], Iterable[str]] = tuple
        self._discoveries: list[Callable[[], None]] = []
        if task_cls is not None:
            self.Task = import_object(task_cls) if isinstance(task_cls, str) else task_cls
        if config_source is not None:
            self.config_from_object(config_source)
        if os.environ.get("DJANGO_SETTINGS_MODULE"):
            import_object("longshore.contrib.django.fixup:install")(self)
        apps.add(self)
        if set_as_current:
            self.set_current()

    def __repr__(self) -> str:
        return f"<Longshore {self.main or '__main__'}>"

    def set_current(self) -> None:
        """Make this the app of `current_app`."""
        apps.current = self

    # -- settings ----------------------------------------------------------------------------------------------------

    def config_from_object(self, source: Any, namespace: str | None = None) -> None:
        """Take settings from a module or object (or its dotted name); with `namespace`, those with that prefix."""
        source = import_object(source) if isinstance(source, str) else source
        prefix = f"{namespace}_".lower() if namespace else ""
        items = source.items() if isinstance(source, Mapping) else ((n, getattr(source, n)) for n in dir(source))
        for name, value in items:
            if not name.startswith("_") and name.lower().startswith(prefix) and _is_setting(name, value, prefix):
                self.conf[name.lower().removeprefix(prefix)] = value

    # -- tasks -------------------------------------------------------------------------------------------------------

    @overload
    def task(self, function: Callable[..., Any], /) -> BaseTask: ...
    @overload
    def task(self, /, **options: Any) -> Callable[[Callable[..., Any]], BaseTask]: ...
    def task(self, function: Any = None, /, **options: Any) -> Any:
        """Make a function a task: ``@app.task`` or ``@app.task(bind=True, acks_late=True, …)``."""
        if function is not None:
            if not callable(function):
                raise TypeError(f"@app.task takes a function or keyword options, not {function!r}; write name=")
            return self._register(function, options)
        return lambda f: self._register(f, options)

    def _register(self, function: Callable[..., Any], options: Mapping[str, Any]) -> BaseTask:
        return self.tasks.register(make_task(self, function, **options))

    def gen_task_name(self, name: str, module: str) -> str:
        """Return the automatic name of a function: module + name; override it for another rule."""
        if module == "__main__":
            module = self.main or module
        return f"{module}.{name}" if module else name

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import ``PACKAGE.tasks`` of each package that has one, when a worker starts, or at once with `force`.

        Without `packages`, those of Django's INSTALLED_APPS.
        """

        def discover() -> None:
            found = self.installed_packages if packages is None else packages
            import_related(found() if callable(found) else found, related_name)

        if force:
            discover()
        else:
            self._discoveries.append(discover)

    def import_includes(self) -> None:
        """Import the modules of `include` and `imports`, so that their tasks are registered."""
        for module in (*self.conf.include, *self.conf.imports):
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                raise ImproperlyConfigured(f"setting include names the module {module!r}: {error}") from error

    def finalize(self) -> None:
        """Import what the settings name, then tell `on_after_configure` and `on_after_finalize`, once."""
        if self._finalized:
            return
        self._finalized = True
        for step in self.before_imports:
            step()
        signals.import_modules.send(self)
        self.import_includes()
        for discover in self._discoveries:
            discover()
        self.on_after_configure.send(self)
        self.on_after_finalize.send(self)

    # -- schedules ---------------------------------------------------------------------------------------------------

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Declare a schedule: seconds, a `timedelta` or `crontab(…)`, and a signature, a task or a task's name.

        It is sent by the operator: `longshore manifests` writes the CronSchedule. Returns the schedule's name.
        """
        entry = entry_of(sig, args, kwargs or {}, options)
        found = periodic_task(name or default_name(entry), {**entry, "schedule": schedule})
        if found.name in self._periodic:
            raise ImproperlyConfigured(f"two schedules are named {found.name!r}: give one a name=")
        self._periodic[found.name] = found
        return found.name

    def periodic_tasks(self) -> list[PeriodicTask]:
        """Return the schedules of `add_periodic_task` and of the setting `beat_schedule`."""
        declared = {name: periodic_task(name, entry) for name, entry in self.conf.beat_schedule.items()}
        if twice := sorted(declared.keys() & self._periodic.keys()):
            raise ImproperlyConfigured(f"schedule {twice[0]!r} is in beat_schedule and added with add_periodic_task")
        return [*declared.values(), *self._periodic.values()]

    # -- sending -----------------------------------------------------------------------------------------------------

    def send_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Send a task by name, without importing it.

        Options: queue, countdown (s), eta, expires (s or datetime), priority (0 to 9), task_id, headers,
        ignore_result, shadow, argsrepr, kwargsrepr, time_limit and soft_time_limit (s). Returns when the broker has the
        message; raises `BrokerError` within the deadline (5 s) otherwise. Never touches the result backend.
        """
        if self.conf.task_always_eager:
            result: AsyncResult = self.signature(name, args, kwargs).apply(**options)
            return result
        outgoing = self.outgoing(name, args or (), kwargs or {}, **options)
        self.publish([outgoing])
        return self._sent(outgoing, options)

    def _sent(self, outgoing: Outgoing, options: Mapping[str, Any]) -> AsyncResult:
        sent = AsyncResult(outgoing.message.headers["id"], app=self)
        if options.get("add_to_parent", True):
            self.canvases.note_child(sent)
        return sent

    def signature(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature of this app; arguments as of `longshore.signature`."""
        return signature(*args, **{**kwargs, "app": self})

    def send_many(
        self, calls: Iterable[Signature | tuple[BaseTask | str, Sequence[Any]]], **options: Any
    ) -> list[AsyncResult]:
        """Send many calls, signatures or ``(task, args)``, in few round trips and return their results' handles.

        On an error some may be in the queue already.
        """
        calls = list(calls)
        if any(isinstance(call, Signature) for call in calls):
            sigs = [call if isinstance(call, Signature) else self.signature(call[0], call[1]) for call in calls]
            return self.canvases.send_many(sigs, options)
        plain = [call for call in calls if not isinstance(call, Signature)]
        chosen, now, outgoing = call_options("of send_many", options), utc_now(), self._publishing.outgoing
        batch = [outgoing(task if isinstance(task, str) else task.name, args, {}, chosen, now) for task, args in plain]
        self.publish(batch)
        return [AsyncResult(outgoing.message.headers["id"], app=self) for outgoing in batch]

    def outgoing(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], **options: Any) -> Outgoing:
        """Return the message of a call and the queue for it; sends nothing. Options as of `send_task`."""
        return self._publishing.outgoing(name, args, kwargs, call_options(name, options), utc_now())

    def publish(self, batch: Sequence[Outgoing]) -> None:
        """Send messages, with the signals before and after; each may change the headers."""
        for outgoing in batch if signals.before_task_publish.receivers else ():
            signals.before_task_publish.send(outgoing.message.headers.get("task"), **published(outgoing))
        self.broker.send(batch, deadline=self.conf.task_publish_timeout)
        for outgoing in batch if signals.after_task_publish.receivers else ():
            signals.after_task_publish.send(outgoing.message.headers.get("task"), **published(outgoing))
        for outgoing in batch if self.conf.task_send_sent_event else ():
            self.events.sent.tell(outgoing)

    async def asend_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Do what `send_task` does, without blocking the event loop; coroutines that send at once share round trips."""
        if self.conf.task_always_eager:
            result: AsyncResult = self.signature(name, args, kwargs).apply(**options)
            return result
        outgoing = self.outgoing(name, args or (), kwargs or {}, **options)
        await self._apublish(outgoing)
        return self._sent(outgoing, options)

    async def _apublish(self, outgoing: Outgoing) -> None:
        from longshore.brokers.landing import arrival  # it loads asyncio, which who calls has loaded

        name = outgoing.message.headers.get("task")
        if signals.before_task_publish.receivers:
            signals.before_task_publish.send(name, **published(outgoing))
        await arrival(self.broker.submit(outgoing, deadline=self.conf.task_publish_timeout))
        if signals.after_task_publish.receivers:
            signals.after_task_publish.send(name, **published(outgoing))
        if self.conf.task_send_sent_event:
            self.events.sent.tell(outgoing)

    def queue_for(self, name: str) -> str:
        """Return the queue of a task: its own, then `task_routes` (exact name, then patterns), then the default."""
        return self._publishing.queue_for(name)

    # -- workers -----------------------------------------------------------------------------------------------------

    @property
    def control(self) -> Control:
        """Remote control of the workers: ``app.control.inspect().active()``, ``app.control.revoke(…)``, etc."""
        from longshore.control import Control  # a client that only sends never needs it

        return Control(self)

    @cached_property
    def events(self) -> Events:
        """Events of workers and tasks: ``app.events.Receiver(handlers={…}).capture()``, ``app.events.State()``."""
        from longshore.events import Events

        return Events(self)

    # -- results -----------------------------------------------------------------------------------------------------

    def AsyncResult(self, task_id: str) -> AsyncResult:  # noqa: N802 - Celery's name
        """Return the handle of a call, by its id."""
        return AsyncResult(task_id, app=self)

    def GroupResult(self, id: str | None = None, results: Iterable[Any] = ()) -> GroupResult:  # noqa: A002, N802
        """Return the handle of a group."""
        return GroupResult(id, results, app=self)

    def result_from_tuple(self, stored: Any) -> Any:
        """Return the handle of a result that Celery or a group wrote as a tuple."""
        return result_from_tuple(stored, self)

    def store_state(self, task_id: str | None, state: str | None, meta: Any, request: Request) -> None:
        """Store a task's own state; see `BaseTask.update_state`."""
        if task_id is None or state is None:
            raise ImproperlyConfigured("update_state needs a state, and outside a run a task_id")
        self.backend.store(
            [ResultMeta(task_id=task_id, status=state, result=meta, parent_id=request.parent_id)],
            expires=self.conf.result_expires,
        )

    def close(self) -> None:
        """Close this process's connections; they open again when they are needed."""
        if "events" in vars(self):
            self.events.close()
        super().close()


def _is_setting(name: str, value: Any, prefix: str) -> bool:
    """A module also holds imports and helpers; without a prefix only lower-case names that are no code are settings."""
    return bool(prefix) or (name.islower() and not callable(value) and not isinstance(value, type(os)))

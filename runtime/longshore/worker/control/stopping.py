"""Commands that stop tasks: what is revoked does not run, what is terminated is ended where it runs.

A revoked task's state is stored at once, so that whoever waits for it need not wait for its turn in the queue; a task
that has begun, here or elsewhere, keeps its state until it ends.
"""

from __future__ import annotations

import logging
import signal as signals
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from longshore.core.settle import PENDING, RETRY, REVOKED, Failure
from longshore.exceptions import LongshoreError
from longshore.results.port import ResultMeta
from longshore.worker.control.panel import command, ok, refused
from longshore.worker.control.site import Site

logger = logging.getLogger("longshore.worker")

_NOT_BEGUN = frozenset({PENDING, RETRY, "RECEIVED", "REJECTED"})
_TERM = "SIGTERM"


@command()
def revoke(site: Site, task_id: str | Sequence[str], terminate: bool = False, signal: Any = None, **_: Any) -> Any:
    """Do not run these tasks; with `terminate`, end them where they run."""
    ids = [task_id] if isinstance(task_id, str) else [str(each) for each in task_id or ()]
    if terminate:
        return _terminate(site, ids, signal)
    site.revocations.add(ids)
    _store(site, ids)
    logger.info("revoked: %s", ", ".join(ids))
    return ok(f"tasks {', '.join(ids)} flagged as revoked")


@command()
def terminate(site: Site, signal: Any, task_id: str | Sequence[str], **_: Any) -> Any:
    """Revoke these tasks, and end them where they run."""
    return revoke(site, task_id, terminate=True, signal=signal)


def _terminate(site: Site, ids: list[str], signal: Any) -> Any:
    name = _signal_name(signal)
    if name is None:
        return refused(f"unknown signal {signal!r}")
    running = site.running()
    site.revocations.terminate(ids, name)
    _store(site, ids)
    here = [task for task in ids if task in running]
    logger.info("to be terminated: %s", ", ".join(ids))
    return ok(f"terminate: {', '.join(here)}" if here else "terminate: tasks unknown")


def _signal_name(signal: Any) -> str | None:
    """Return the name of a signal that is given by name, with or without SIG, or by number."""
    if signal is None:
        return _TERM
    text = str(signal).upper()
    if text.isdecimal():
        return signals.Signals(int(text)).name if int(text) in set(signals.Signals) else None
    name = text if text.startswith("SIG") else f"SIG{text}"
    return name if name in signals.Signals.__members__ else None


@command()
def revoke_by_stamped_headers(
    site: Site, headers: Mapping[str, Any] | Iterable[str], terminate: bool = False, signal: Any = None, **_: Any
) -> Any:
    """Do not run the tasks that carry one of these stamps: name → value or values, or ``name=value`` texts."""
    stamps = headers if isinstance(headers, Mapping) else dict(each.split("=", 1) for each in headers)
    site.revocations.add_stamps(stamps)
    if not terminate:
        return ok(f"headers {dict(stamps)} flagged as revoked, but not terminated")
    found = [task for task, about in site.stamps_of_running() if _is_stamped(about, stamps)]
    if not found:
        return ok(f"headers {dict(stamps)} were not terminated")
    site.revocations.terminate(found, _signal_name(signal) or _TERM)
    return ok(f"headers {dict(stamps)} revoked")


def _is_stamped(own: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return any(set(_several(own.get(name))) & set(_several(value)) for name, value in wanted.items())


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | set) else [value]


@command(also="dump_revoked")
def revoked(site: Site, **_: Any) -> Any:
    """List the ids that are revoked."""
    return site.revocations.ids()


@command()
def hello(site: Site, from_node: str, revoked: Any = None, **_: Any) -> Any:
    """Greet a Celery worker that has just started: each learns what the other knows to be revoked."""
    if from_node == site.name:
        return None
    if revoked:
        site.revocations.add([str(each) for each in revoked])
    return {"revoked": site.revocations.ids(), "clock": site.board.tick()}


def _store(site: Site, ids: list[str]) -> None:
    """Store REVOKED for those that nobody has begun; that it fails is no reason not to revoke."""
    if not site.app.has_backend or not ids:
        return
    running = site.running()
    try:
        known = site.app.backend.fetch(ids)
        open_ids = [
            task
            for task, meta in zip(ids, known, strict=True)
            if task not in running and (meta is None or meta.status in _NOT_BEGUN)
        ]
        if open_ids:
            site.app.backend.store([_meta(task) for task in open_ids], expires=site.app.conf.result_expires)
    except LongshoreError as error:
        logger.warning("the state REVOKED is not stored: %s", error)


def _meta(task_id: str) -> ResultMeta:
    failure = Failure("TaskRevokedError", "celery.exceptions", ["revoked"], "revoked")
    now = datetime.now(UTC).isoformat()
    return ResultMeta(task_id=task_id, status=REVOKED, result=failure.as_result(), date_done=now)

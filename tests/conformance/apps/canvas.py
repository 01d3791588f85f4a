"""Canvases, written once for both: the app of a fleet of Celery's and Longshore's workers. Effects as in `fleet`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from fleet import FLEET, app, effect  # type: ignore[import-not-found]  # beside this file, in both environments

if FLEET == "celery":
    from celery import chain, chord, group
else:
    from longshore import chain, chord, group


@app.task(name="canvas.add")
def add(x: Any, y: Any) -> Any:
    """Add."""
    return x + y


@app.task(name="canvas.total")
def total(numbers: list[Any]) -> Any:
    """Sum."""
    return sum(numbers)


@app.task(name="canvas.pack")
def pack(*values: Any) -> list[Any]:
    """Return the arguments."""
    return list(values)


@app.task(name="canvas.boom")
def boom(*_: Any) -> None:
    """Fail."""
    raise ValueError("boom")


@app.task(name="canvas.body")
def body(numbers: list[Any], number: int) -> Any:
    """Note that the body of this chord ran, and sum."""
    effect(f"{number} {FLEET} 0")
    return sum(numbers)


@app.task(name="canvas.failed")
def failed(task_id: str) -> None:
    """Note that an error callback ran."""
    effect(f"1 {FLEET} {task_id}")


@app.task(name="canvas.becomes", bind=True)
def becomes(self: Any, x: Any) -> Any:
    """Be replaced by a chain."""
    raise self.replace(chain(add.s(x, 1), add.s(10)))


@app.task(name="canvas.fans", bind=True)
def fans(self: Any, x: Any) -> Any:
    """Be replaced by a group."""
    raise self.replace(group(add.s(x, 1), add.s(x, 2)))


CANVASES: dict[str, tuple[Callable[[], Any], Any]] = {
    "chain": (lambda: chain(add.s(1, 2), add.s(3), add.s(4)), 10),
    "immutable": (lambda: chain(add.s(1, 2), add.si(3, 4)), 7),
    "group": (lambda: group(add.s(n, n) for n in range(4)), [0, 2, 4, 6]),
    "chord": (lambda: chord([add.s(n, n) for n in range(4)], total.s()), 12),
    "chord in a chain": (lambda: chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s(), add.s(10)), 17),
    "chains in a chord": (lambda: chord([chain(add.s(1, 1), add.s(1)), add.s(2, 2)], total.s()), 7),
    "chord in a chord": (
        lambda: chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(1, 1)], total.s()),
        8,
    ),
    "a group at the end": (lambda: chain(add.s(1, 1), group(add.s(1), add.s(2))), [3, 4]),
    "two groups": (lambda: chain(group(add.s(1, 1), add.s(2, 2)), group(total.s(), pack.s("x"))), [6, [[2, 4], "x"]]),
    "a chord's body is a chain": (lambda: chord([add.s(1, 1), add.s(2, 2)], chain(total.s(), add.s(1))), 7),
    "a group at the end of a part": (
        lambda: chord([chain(add.s(1, 1), group(add.s(1), add.s(2))), add.s(2, 2)], pack.s()),
        [[[3, 4], 4]],
    ),
    "replaced": (lambda: chain(becomes.s(1), add.s(100)), 112),
    "replaced in a chord": (lambda: chord([becomes.s(1), add.s(1, 1)], total.s()), 14),
    "replaced by a group": (lambda: chain(fans.s(1), total.s()), 5),
    "starmap": (lambda: add.starmap([(1, 2), (3, 4)]), [3, 7]),
}
"""name → (how to make it, what comes out)."""
EXPECTED = {name: value for name, (_, value) in CANVASES.items()}


def send_all() -> dict[str, Any]:
    """Send every canvas and return its values."""
    sent = {name: make().apply_async() for name, (make, _) in CANVASES.items()}
    return {name: result.get(timeout=60) for name, result in sent.items()}


def send_chords(first: int, last: int) -> list[Any]:
    """Send numbered chords and return the values of their bodies."""
    sent = [chord([add.s(n, 1) for n in range(6)], body.s(number)).apply_async() for number in range(first, last)]
    return [result.get(timeout=60) for result in sent]


def send_broken() -> list[str]:
    """Send what fails: a chain, and a chord with an error callback; return what their ends are."""
    broken = chord([add.s(1, 1), chain(boom.s(), add.s(1))], body.s(1).on_error(failed.s())).apply_async()
    chained = chain(boom.s(), add.s(1)).apply_async()
    return [type(one.get(timeout=60, propagate=False)).__name__ for one in (broken, chained)]


__all__ = ["EXPECTED", "send_all", "send_broken", "send_chords"]

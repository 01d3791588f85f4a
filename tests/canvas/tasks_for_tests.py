"""The app of the canvas tests. Effects are lines in a file named by the environment."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from longshore import Longshore, chain, chord, group
from longshore.exceptions import Reject
from tests.worker.tasks_for_tests import note

app = Longshore("canvas", broker="sqlite:///unused.db", task_default_queue=os.environ.get("CANVAS_QUEUE", "q"))


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def pack(*values):
    return list(values)


@app.task
def record(*values):
    note(f"record {values}")
    return values[0] if values else None


@app.task(bind=True)
def who(self, *_):
    request = self.request
    return {
        "id": request.id,
        "root": request.root_id,
        "parent": request.parent_id,
        "group": request.group,
        "index": request.group_index,
        "stamps": request.stamps,
        "nesting": request.replaced_task_nesting,
    }


@app.task
def boom(*_):
    raise ValueError("boom")


@app.task
def refuse():
    raise Reject("no", requeue=False)


@app.task
def new_style(task_id):
    note(f"new {task_id}")


@app.task
def old_style(request, exc, traceback):
    note(f"old {request.id} {exc!r} {'Traceback' in (traceback or '')}")


@app.task(bind=True)
def becomes_chain(self, x):
    raise self.replace(add.s(x, 1) | add.s(10))


@app.task(bind=True)
def becomes_group(self, x):
    return self.replace(group(add.s(x, 1), add.s(x, 2)))


@app.task(bind=True)
def becomes_chord(self, x):
    raise self.replace(chord([add.s(x, 1), add.s(x, 2)], total.s()))


@app.task(bind=True)
def becomes_who(self, times):
    raise self.replace(who.s() if times <= 1 else becomes_who.s(times - 1))


@app.task(bind=True)
def adds_to_chord(self, x):
    self.add_to_chord(add.s(x, 100))
    return x


@app.task(bind=True)
def has_children(self):
    add.delay(1, 1)
    (add.s(1, 1) | add.s(2)).delay()


@app.task
def waits_for_another():
    return add.delay(1, 1).get(timeout=5)


@app.task
def waits_all_the_same():
    return add.delay(1, 1).get(timeout=20, disable_sync_subtasks=False)


@app.task(acks_late=True)
def part(number, folder):
    """Runs once without harm, or dies the first time it is asked to."""
    trap = Path(folder) / f"die-{number}"
    if trap.exists():
        trap.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return number


@app.task(bind=True, acks_late=True)
def body(self, numbers):
    """Says how often it was started before: what was killed while it ran may run again, a copy may not."""
    note(f"body {sorted(numbers)} {self.request.deliveries}")
    return len(numbers)


@app.task(acks_late=True)
def lasting(name, until):
    note(f"start {name}")
    while not Path(until).exists():
        time.sleep(0.01)
    return name


CANVASES = {
    "chain": (chain(add.s(1, 2), add.s(3), add.s(4)), 10),
    "pipe": (add.s(1, 2) | add.s(3), 6),
    "immutable": (chain(add.s(1, 2), add.si(3, 4)), 7),
    "group": (group(add.s(n, n) for n in range(5)), [0, 2, 4, 6, 8]),
    "chord": (chord([add.s(n, n) for n in range(5)], total.s()), 20),
    "empty chord": (chord([], total.s()), 0),
    "group then task": (group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(10), 16),
    "task then group": (add.s(1, 1) | group(add.s(1), add.s(2)), [3, 4]),
    "task, group, task": (add.s(1, 1) | group(add.s(1), add.s(2)) | total.s(), 7),
    "groups": (
        group(add.s(1, 1), add.s(2, 2)) | group(total.s(), pack.s("x")) | pack.s("y"),
        [[6, [[2, 4], "x"]], "y"],
    ),
    "chains in chord": (chord([add.s(1, 1) | add.s(1), add.s(2, 2)], total.s()), 7),
    "chord in chord": (chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(1, 1)], total.s()), 8),
    "group at a chain's end in a chord": (
        chord([add.s(1, 1) | group(add.s(1), add.s(2)), add.s(2, 2)], pack.s()),
        [[[3, 4], 4]],
    ),
    "chord body is a chain": (chord([add.s(1, 1), add.s(2, 2)], total.s() | add.s(1)), 7),
    "chord body is a group": (chord([add.s(1, 1), add.s(2, 2)], group(total.s(), total.s())), [6, 6]),
    "chord body is a chord": (
        chord([add.s(1, 1)], chord([pack.s("a"), pack.s("b")], pack.s())),
        [[[[2], "a"], [[2], "b"]]],
    ),
    "map": (add.map([]) | pack.s(), [[]]),
    "starmap": (add.starmap([(1, 2), (3, 4)]), [3, 7]),
    "chunks": (add.chunks(zip(range(5), range(5), strict=True), 2), [[0, 2], [4, 6], [8]]),
    "replaced by a chain": (becomes_chain.s(1) | add.s(100), 112),
    "replaced by a group": (becomes_group.s(1) | total.s(), 5),
    "replaced by a chord": (chord([becomes_chord.s(1), becomes_chain.s(1)], total.s()), 17),
    "replaced in a group": (group(becomes_group.s(1), becomes_chain.s(1)), [[2, 3], 12]),
}
"""name → (canvas, what comes out)."""

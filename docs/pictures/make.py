"""Draw the live table of `longshore dev` from a real run of the example: `python docs/pictures/make.py`.

The run is the one of `make demo`; the frame that is kept is the one with the most busy slots, with dead letters in it.
"""

import io
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from longshore_operator.local import run as local_run
from longshore_operator.local.command import dev
from longshore_operator.local.snapshot import Snapshot
from longshore_operator.local.table import render

DOCS = Path(__file__).resolve().parent.parent
EXAMPLE = DOCS / "examples/codestats"
PICTURE = DOCS / "images/live-table.svg"
COLUMNS = 88


class Camera:
    """A display that keeps one frame."""

    def __init__(self) -> None:
        self.best: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Keep the frame that shows most."""
        if self.best is None or _worth(snapshot) > _worth(self.best):
            self.best = snapshot

    def say(self, text: str) -> None:
        print(text, file=sys.stderr)

    def close(self) -> None:
        """Nothing is left to do."""


def _worth(snapshot: Snapshot) -> tuple[int, int, int]:
    busy = sum(pool.busy or 0 for pool in snapshot.pools)
    known = sum(pool.rate is not None for pool in snapshot.pools)
    return known, busy, sum(queue.dead or 0 for queue in snapshot.queues if queue.ready)


def draw(snapshot: Snapshot) -> None:
    """Write the picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(render(snapshot))
    svg = console.export_svg(title="longshore dev", clear=True, code_format=_without_web_fonts())
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


def _without_web_fonts() -> str:
    """Rich's own frame loads fonts from a host; a reader's own will do."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    head, _, rest = CONSOLE_SVG_FORMAT.partition("@font-face")
    rest = rest[rest.index(".{unique_id}-matrix") :]
    return (
        (head + rest)
        .replace("Fira Code", "ui-monospace")
        .replace("<!-- Generated with Rich https://www.textualize.io -->", "")
    )


def main() -> None:
    """Run the example and draw."""
    camera = Camera()
    local_run.choose_display = lambda *_: camera
    os.chdir(EXAMPLE)
    sys.path.insert(0, str(EXAMPLE))
    with tempfile.TemporaryDirectory() as state:
        os.environ["LONGSHORE_BROKER_URL"] = f"sqlite:///{state}/broker.db"
        os.environ["CODESTATS_DATABASE"] = f"{state}/codestats.db"
        from codestats.tasks import app, scan

        scan.delay()
        app.close()
        words = ["manifests", "--state", state, "--until-idle", "--timeout", "600"]
        code = dev.main(words, standalone_mode=False)
    if code or camera.best is None:
        sys.exit(f"the run ended with {code}")
    draw(camera.best)
    print(PICTURE)


if __name__ == "__main__":
    main()

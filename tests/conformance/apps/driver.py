"""Run by Celery's Python: one function body from standard input, its value as JSON on the last line of the output."""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
from typing import Any


def main() -> None:
    """Read {app, code, values}, run, print."""
    job = json.load(sys.stdin)
    module = importlib.import_module(job["app"])
    names: dict[str, Any] = {}
    exec("from celery import *\nfrom celery.result import *", names)
    names.update(vars(module), **job["values"])
    exec("def body():\n" + textwrap.indent(textwrap.dedent(job["code"]), "    "), names)
    print(json.dumps(names["body"]()))


if __name__ == "__main__":
    main()

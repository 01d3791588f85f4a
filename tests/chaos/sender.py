"""``python -m tests.chaos.sender URL QUEUE FILE FIRST``: send until killed, and note what was confirmed."""

from __future__ import annotations

import itertools
import os
import sys

from longshore import Longshore
from tests.chaos.tasks import PREFIX

BATCH = 100


def main(url: str, queue: str, told: str, first: int) -> None:
    """Send one by one, and every tenth time a hundred at once."""
    app = Longshore("chaos-sender", broker=url)
    file = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    number = first
    for turn in itertools.count(1):
        count = BATCH if turn % 10 == 0 else 1
        app.send_many([(PREFIX + "quick", (one,)) for one in range(number, number + count)], queue=queue)
        os.write(file, f"{number} {count}\n".encode())
        number += count


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))

"""How much longer anything takes because others use the machine: time limits are stretched by that, and it is reported.

Pure but for `stretch`. On a machine without other work the factor is 1 and every limit is what was promised.
"""

from __future__ import annotations

import os

OWN_LOAD = 4.0
"""What a scenario itself makes: two or three processes of a worker, the sender, the broker."""


def factor(load: float, cpus: int) -> float:
    """Return what to multiply a limit with, at least 1: how many processes of others want each processor, plus ours."""
    return max(1.0, 1.0 + (load - OWN_LOAD) / cpus)


def stretch() -> float:
    """Return the factor of now, from the load of the last minute."""
    return factor(os.getloadavg()[0], os.cpu_count() or 1)

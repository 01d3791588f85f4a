"""The tutorial's app: orders are charged, parcels are packed, a report is written every few seconds.

Nothing in it knows where it runs. On a laptop `longshore dev manifests/` gives it an embedded broker; in a cluster the
operator hands it the address of the real one.
"""

from __future__ import annotations

import time

from longshore import Longshore
from longshore.utils.log import get_task_logger

app = Longshore("shop", task_default_queue="orders")
logger = get_task_logger(__name__)


class CardDeclined(Exception):
    """The customer's bank says no; trying again would not help."""


class BankUnavailable(Exception):
    """The bank does not answer; trying again helps."""


@app.task(autoretry_for=(BankUnavailable,), retry_backoff=True, max_retries=5)
def charge(order: int, cents: int) -> dict[str, int]:
    """Charge an order; a declined card ends in the dead letters, where a person looks at it."""
    if cents < 0:
        raise CardDeclined(f"order {order}: {cents} cents cannot be charged")
    return {"order": order, "charged": cents}


@app.task(bind=True, acks_late=True)
def pack(self, order: int, seconds: float = 1.0) -> dict[str, object]:
    """Pack a parcel: some work that takes a while, and must be done again if the worker dies in the middle."""
    logger.info("packing order %s, try %d", order, self.request.deliveries + 1)
    time.sleep(seconds)
    return {"order": order, "deliveries": self.request.deliveries, "by": self.request.hostname}


@app.task
def report(title: str = "orders") -> str:
    """Write the report that the CronSchedule asks for."""
    return f"{title}: all is well"

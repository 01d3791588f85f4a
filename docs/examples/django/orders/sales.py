"""What a view does."""

from django.db import transaction

from orders.models import Order
from orders.tasks import ship


@transaction.atomic
def buy(article, in_stock=True):
    """Take an order down; it is shipped when, and only when, the transaction commits."""
    order = Order.objects.create(article=article)
    ship.delay_on_commit(order.id)
    if not in_stock:
        raise LookupError(f"{article} is sold out")
    return order

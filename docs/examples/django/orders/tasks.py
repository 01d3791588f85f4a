"""What happens to an order after the page has answered."""

from longshore import shared_task
from orders.models import Order


@shared_task
def ship(order_id):
    """Ship an order; it is in the database, because `delay_on_commit` waited for it."""
    order = Order.objects.get(id=order_id)
    order.state = "shipped"
    order.save()
    return str(order)

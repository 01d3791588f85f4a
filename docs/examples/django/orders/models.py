"""One table."""

from django.db import models


class Order(models.Model):
    """What somebody bought."""

    article = models.CharField(max_length=100)
    state = models.CharField(max_length=20, default="new")

    def __str__(self):
        return f"{self.article} ({self.state})"

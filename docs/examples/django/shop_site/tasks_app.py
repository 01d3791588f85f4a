"""The Longshore app of the project: settings from Django's, tasks from every installed app."""

import os

from longshore import Longshore

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_site.settings")

app = Longshore("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

"""Settings of the example: SQLite for rows, and for tasks a file beside it."""

import os
from pathlib import Path

BASE_DIR = Path(os.environ.get("SHOP_DATA", Path(__file__).parents[1]))
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "only for the example")
INSTALLED_APPS = ["orders"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "shop.db"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

CELERY_BROKER_URL = f"sqlite:///{BASE_DIR}/tasks.db"
CELERY_RESULT_BACKEND = CELERY_BROKER_URL
CELERY_TASK_DEFAULT_QUEUE = "orders"

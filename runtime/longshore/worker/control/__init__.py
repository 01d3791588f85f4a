"""Remote control of a worker: one thread of the supervisor that answers Celery's commands and tells that it lives."""

"""A real Celery beside Longshore, as client and as worker, on the same Redis and RabbitMQ queues.

How to add a test: take the fixture `celery`, once for each version in `requirements/` (a new file there is a new
version; the environments are built once, under `.bench-cache/conformance`, and skipped with the reason where no package
index can be reached), and a broker's address from `broker_url`, once for Redis and once for RabbitMQ.

    def test_group(celery, broker_url, fleet):
        with fleet.longshore_worker(), fleet.celery_worker():
            assert fleet.celery_client("return app.signature('fleet.add', (n, 2)).delay().get(9)", n=1) == 3

`fleet` knows one app, `apps/fleet.py`, which runs under either: add tasks there (or give ``app="module"`` of another
module in `apps/`; it must import nothing but itself, Celery and the standard library). `fleet.celery_client` runs the
body of a function in a process of Celery's environment, with `app`, everything of `celery` and the keyword arguments as
names, and returns what it returns, through JSON. `fleet.longshore` is the same app on our side, in the test's process.
"""

"""RQ: SimpleWorker, which does not fork for each job, JSON, and its batch call for sending."""

from __future__ import annotations

import rq_tasks
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from settings import BROKER, QUEUE, RESULTS

connection = Redis.from_url(BROKER)
queue = Queue(QUEUE, connection=connection, serializer=JSONSerializer)
KEPT_SECONDS = 3600 if RESULTS else 0
BATCH = 100


def send_one(kind, *args):
    queue.enqueue_call(getattr(rq_tasks, kind), args, result_ttl=KEPT_SECONDS)


def send_many(kind, count):
    function = getattr(rq_tasks, kind)
    for start in range(0, count, BATCH):
        jobs = [Queue.prepare_data(function, result_ttl=KEPT_SECONDS) for _ in range(min(BATCH, count - start))]
        queue.enqueue_many(jobs)


def depth():
    return len(queue) + len(queue.started_job_registry) + len(queue.failed_job_registry)


def stored():
    return sum(1 for _ in connection.scan_iter("rq:results:*", count=1000))

"""What becomes of Celery's settings that have no place in `longshore.settings`: accepted or refused, with the reason.

Accepted are those whose purpose holds without them. The others are refused, since code that was written for them would
do something else: the reason says what to use.
"""

from __future__ import annotations

_ALWAYS_RETRIES = "a worker always tries again"
_DEADLINES = "every call has a deadline, and is tried again by itself"
_NO_BEAT = "the operator sends the ticks; there is no beat"
_ONE_CONNECTION = "a process keeps one connection"
_BY_NAME = "a message goes to its queue by the queue's name"
_READ_AHEAD = "read-ahead follows the tasks' measured durations"
_LOGS = "logs are JSON lines, or readable on a terminal; the signals setup_logging and after_setup_logger change them"
_IN_ADDRESS = "say it in the address: broker_url"
_NO_SUCH_PART = "a worker has no such part"
_NO_BACKEND = "there is no such result backend: results are kept in Redis, SQL, SQLite, or sent by RPC"

ACCEPTED = {
    "beat_cron_starting_deadline": "a CronSchedule says it: startingDeadlineSeconds",
    "beat_enable_remote_control": _NO_BEAT,
    "beat_max_loop_interval": _NO_BEAT,
    "beat_remote_control_max_tick_age": _NO_BEAT,
    "beat_schedule_filename": _NO_BEAT,
    "beat_sync_every": _NO_BEAT,
    "broker_channel_error_retry": _ALWAYS_RETRIES,
    "broker_connection_max_retries": _ALWAYS_RETRIES,
    "broker_connection_retry": _ALWAYS_RETRIES,
    "broker_connection_retry_on_startup": _ALWAYS_RETRIES,
    "broker_connection_timeout": _DEADLINES,
    "broker_heartbeat": "liveness is the lease's, or the broker's own heartbeat",
    "broker_heartbeat_checkrate": "liveness is the lease's, or the broker's own heartbeat",
    "broker_native_delayed_delivery_queue_type": "delays have a ladder of their own",
    "broker_pool_acquire_timeout": _ONE_CONNECTION,
    "broker_pool_limit": _ONE_CONNECTION,
    "control_queue_durable": "queues of control live as long as their listener",
    "control_queue_exclusive": "queues of control live as long as their listener",
    "enable_utc": "times on the wire are always UTC",
    "event_queue_durable": "queues of events live as long as their listener",
    "event_queue_exclusive": "queues of events live as long as their listener",
    "redis_max_connections": _ONE_CONNECTION,
    "redis_retry_on_timeout": _DEADLINES,
    "redis_socket_connect_timeout": _DEADLINES,
    "redis_socket_keepalive": _DEADLINES,
    "redis_socket_timeout": _DEADLINES,
    "result_backend_always_retry": _ALWAYS_RETRIES,
    "result_backend_base_sleep_between_retries_ms": _ALWAYS_RETRIES,
    "result_backend_max_retries": _ALWAYS_RETRIES,
    "result_backend_max_sleep_between_retries_ms": _ALWAYS_RETRIES,
    "result_cache_max": "results are not cached",
    "task_create_missing_queues": "a worker declares its queues; a send to a missing one raises QueueNotFound",
    "task_default_delivery_mode": "messages are always persistent",
    "task_default_exchange": _BY_NAME,
    "task_default_exchange_type": _BY_NAME,
    "task_default_routing_key": _BY_NAME,
    "task_create_missing_queue_exchange_type": _BY_NAME,
    "task_publish_retry": _DEADLINES,
    "task_publish_retry_policy": _DEADLINES,
    "task_repr_maxlevels": "argsrepr and kwargsrepr end after 1,024 characters",
    "worker_detect_quorum_queues": "a queue is taken as it is",
    "worker_disable_prefetch": _READ_AHEAD,
    "worker_enable_prefetch_count_reduction": _READ_AHEAD,
    "worker_enable_soft_shutdown_on_idle": "SIGTERM always drains",
    "worker_eta_task_limit": "ETA and countdown wait in the broker",
    "worker_hijack_root_logger": _LOGS,
    "worker_log_color": _LOGS,
    "worker_log_datefmt": _LOGS,
    "worker_log_format": _LOGS,
    "worker_lost_wait": "what a dead process held goes back at once",
    "worker_pool_putlocks": "a process claims for itself",
    "worker_prefetch_multiplier": _READ_AHEAD,
    "worker_proc_alive_timeout": "a process that does not come up is started again",
    "worker_redirect_stdouts": "what a task prints goes to standard output as it is",
    "worker_redirect_stdouts_level": "what a task prints goes to standard output as it is",
    "worker_state_db": "revoked ids are kept in the store",
    "worker_task_log_datefmt": _LOGS,
    "worker_task_log_format": _LOGS,
    "worker_timer_precision": "nothing waits in a worker's memory",
}
"""Set without an effect: why none is needed."""

REFUSED = {
    "beat_scheduler": "schedules are CronSchedules; `longshore manifests` writes those of code",
    "broker_failover_strategy": "an address names one broker, or its sentinels",
    "broker_host": _IN_ADDRESS,
    "broker_login_method": _IN_ADDRESS,
    "broker_password": _IN_ADDRESS,
    "broker_port": _IN_ADDRESS,
    "broker_read_url": "there is one address for both directions: broker_url",
    "broker_transport": _IN_ADDRESS,
    "broker_use_ssl": "say it in the address: rediss:// or amqps://, with its options",
    "broker_user": _IN_ADDRESS,
    "broker_vhost": _IN_ADDRESS,
    "broker_write_url": "there is one address for both directions: broker_url",
    "event_serializer": "events are JSON",
    "redis_backend_use_ssl": "say it in the address: rediss://, with its options",
    "redis_db": "say it in the address: result_backend",
    "redis_host": "say it in the address: result_backend",
    "redis_password": "say it in the address: result_backend",
    "redis_port": "say it in the address: result_backend",
    "redis_username": "say it in the address: result_backend",
    "result_accept_content": "results are JSON",
    "result_backend_transport_options": "say it in the address: result_backend",
    "result_compression": "results are not compressed",
    "result_exchange": "results are sent to the caller's queue by its name",
    "result_exchange_type": "results are sent to the caller's queue by its name",
    "result_failure_expires": "all results expire after result_expires",
    "task_acks_on_failure": "use task_acks_on_failure_or_timeout",
    "task_acks_on_timeout": "use task_acks_on_failure_or_timeout",
    "task_annotations": "set the options at the task",
    "task_create_missing_queue_type": "a TaskQueue says it: type",
    "task_default_queue_type": "a TaskQueue says it: type",
    "task_inherit_parent_priority": "set priority at the task or the call",
    "task_queue_max_priority": "a TaskQueue says it: maxPriority",
    "task_remote_tracebacks": "the remote traceback is the result's `traceback`",
    "task_retry_on_worker_lost": "use task_reject_on_worker_lost",
    "task_store_eager_result": "an eager result is with its caller",
    "task_store_errors_even_if_ignored": "failed tasks are kept by a queue's deadLetter.keepFailures",
    "worker_agent": _NO_SUCH_PART,
    "worker_autoscaler": "a WorkerPool scales itself: autoscaling",
    "worker_cancel_long_running_tasks_on_connection_loss": "running tasks go on, and are settled afterwards",
    "worker_consumer": _NO_SUCH_PART,
    "worker_deduplicate_successful_tasks": "use an idempotency key",
    "worker_direct": "name a queue that one pool works on",
    "worker_disable_rate_limits": "leave rate_limit away",
    "worker_pool": "longshore worker says it: --execution",
    "worker_pool_restarts": "restart the pool: kubectl rollout restart",
    "worker_pool_start_method": "processes are forked from one that has imported the app",
    "worker_soft_shutdown_timeout": "a WorkerPool says it: drainTimeoutSeconds; a worker: --drain-timeout",
    "worker_timer": _NO_SUCH_PART,
}
"""An error when it is set: what to use."""

REFUSED_PREFIXES = {
    **dict.fromkeys(
        ("arangodb_", "azureblockblob_", "cache_", "cassandra_", "cosmosdbsql_", "couchbase_", "elasticsearch_", "gcs_",
         "mongodb_", "s3_"),
        _NO_BACKEND,
    ),
    "security_": "messages are not signed; let the broker's permissions say who may send",
}  # fmt: skip


def refusal_of(name: str) -> str | None:
    """Return why one of Celery's settings is refused; `None` for any other name."""
    prefixed = next((reason for prefix, reason in REFUSED_PREFIXES.items() if name.startswith(prefix)), None)
    return REFUSED.get(name) or prefixed

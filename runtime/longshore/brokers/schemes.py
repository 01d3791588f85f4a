"""The schemes of addresses that are Redis, or Valkey, which speaks the same: for brokers, results and stores alike."""

from __future__ import annotations

SECURE = frozenset({"rediss", "valkeys", "sentinels", "rediss+cluster", "valkeys+cluster"})
SOCKETS = frozenset({"redis+socket", "valkey+socket"})
SENTINELS = frozenset({"sentinel", "sentinels"})
CLUSTERS = frozenset({"redis+cluster", "rediss+cluster", "valkey+cluster", "valkeys+cluster", "rediscluster"})
REDIS = frozenset({"redis", "valkey"}) | SECURE | SOCKETS | SENTINELS | CLUSTERS

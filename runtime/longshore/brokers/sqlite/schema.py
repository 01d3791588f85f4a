"""The tables, and the statements that the hot path runs again and again (SQLite keeps them prepared by their text).

A message's `owner` says where it is: 0 ready; -1 ready, to be claimed alone; above 0 held by that owner. With a
`due_at` above 0 it is delayed. Times are whole milliseconds since the epoch, `rank` is minus the priority: small
integers take no room in a row, and the indexes are read forward. Each index is partial, so that a claim never walks
over delayed or held messages, however many there are.
"""

from __future__ import annotations

APPLICATION_ID = 0x4C534852
"""In the file's header: LSHR."""
VERSION = 1

TABLES = """
CREATE TABLE queues(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  declared INTEGER NOT NULL DEFAULT 0);
CREATE TABLE owners(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  worker TEXT NOT NULL,
  slot INTEGER NOT NULL,
  pid INTEGER NOT NULL);
CREATE TABLE messages(
  id INTEGER PRIMARY KEY,
  queue INTEGER NOT NULL,
  rank INTEGER NOT NULL,
  owner INTEGER NOT NULL DEFAULT 0,
  due_at INTEGER NOT NULL,
  ready_at INTEGER NOT NULL,
  deliveries INTEGER NOT NULL DEFAULT 0,
  redelivered INTEGER NOT NULL DEFAULT 0,
  solo INTEGER NOT NULL DEFAULT 0,
  suspicions INTEGER NOT NULL DEFAULT 0,
  body BLOB NOT NULL);
CREATE INDEX ready ON messages(queue, rank, id) WHERE owner = 0 AND due_at = 0;
CREATE INDEX alone ON messages(queue, rank, id) WHERE owner < 0;
CREATE INDEX owned ON messages(owner) WHERE owner > 0;
CREATE INDEX due ON messages(queue, due_at) WHERE due_at > 0;
CREATE TABLE workers(worker TEXT PRIMARY KEY, at INTEGER NOT NULL, report BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE results(
  task_id TEXT PRIMARY KEY,
  status TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX results_expiry ON results(expires_at) WHERE expires_at > 0;
CREATE TABLE marks(key TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX marks_expiry ON marks(expires_at);
"""

PUT = "INSERT INTO messages(queue, rank, due_at, ready_at, body) VALUES (?, ?, ?, ?, ?)"

NAME_QUEUE = "INSERT OR IGNORE INTO queues(name) VALUES (?)"
PUT_BY_NAME = """
INSERT INTO messages(queue, rank, due_at, ready_at, body) VALUES ((SELECT id FROM queues WHERE name = ?), ?, ?, ?, ?)
"""

CLAIM = """
UPDATE messages SET owner = (SELECT id FROM owners WHERE id = ?), solo = ?
WHERE id IN (SELECT id FROM messages WHERE queue = ? AND owner = 0 AND due_at = 0 ORDER BY rank, id LIMIT ?)
RETURNING id, rank, deliveries, redelivered, body
"""
"""An owner that was declared dead has no row any more: NULL breaks the constraint, and it claims nothing."""

CLAIM_ALONE = """
UPDATE messages SET owner = (SELECT id FROM owners WHERE id = ?), solo = ? WHERE id = ? AND owner = -1
RETURNING id, rank, deliveries, redelivered, body
"""

FIRST_READY = "SELECT rank, id FROM messages WHERE queue = ? AND owner = 0 AND due_at = 0 ORDER BY rank, id LIMIT 1"
FIRST_ALONE = "SELECT rank, id, suspicions FROM messages WHERE queue = ? AND owner < 0 ORDER BY rank, id LIMIT 1"

SETTLE = "DELETE FROM messages WHERE id = ? AND owner = ?"
"""Ids are used again, owners' never: the pair is the fence."""

GIVE_BACK = """
UPDATE messages SET deliveries = deliveries + ?1, redelivered = 1, solo = 0,
  owner = CASE WHEN ?1 + deliveries + suspicions > 0 THEN -1 ELSE 0 END
WHERE id = ?2 AND owner = ?3
"""

GIVE_BACK_ALL = """
UPDATE messages SET redelivered = 1, solo = 0, owner = CASE WHEN deliveries + suspicions > 0 THEN -1 ELSE 0 END
WHERE owner = ?
"""

SUSPECT_ALL = """
UPDATE messages SET redelivered = 1, solo = 0, suspicions = suspicions + 1, owner = -1 WHERE owner = ?
"""

DUE = "SELECT id FROM messages WHERE queue = ? AND due_at > 0 AND due_at <= ? ORDER BY due_at LIMIT ?"
NEXT_DUE = "SELECT due_at FROM messages WHERE queue = ? AND due_at > 0 ORDER BY due_at LIMIT 1"
PROMOTE = """
UPDATE messages SET id = (SELECT max(id) + 1 FROM messages), ready_at = due_at, due_at = 0 WHERE id = ? AND due_at > 0
"""
"""With a new id: a message that becomes ready stands behind those that were ready before it."""

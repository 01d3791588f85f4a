"""What is told of a task whose message is gone, because it was acknowledged before its start, and whose process ended.

Called by the keeper, again and again until it works. Knows the app's broker and results; decides nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

from longshore.app import Longshore
from longshore.core.sentences import Sentence, Terminated, failure_of
from longshore.core.settle import FAILURE, REVOKED
from longshore.results.port import ResultMeta
from longshore.worker.copies import sentenced


class Aftermath:
    """For one worker."""

    def __init__(self, app: Longshore) -> None:
        self._app = app

    def tell(self, task_id: str, sentence: Sentence, copy: bytes | None) -> None:
        """Send the message with its sentence, where a copy was kept: then all that follows a failure follows.

        Otherwise only the state can be stored.
        """
        if copy is not None:
            self._app.broker.send([sentenced(copy, sentence)])
        elif self._app.has_backend and not self._app.conf.task_ignore_result:
            self._app.backend.store([_meta(task_id, sentence)], expires=self._app.conf.result_expires)


def _meta(task_id: str, sentence: Sentence) -> ResultMeta:
    status = REVOKED if isinstance(sentence, Terminated) else FAILURE
    now = datetime.now(UTC).isoformat()
    return ResultMeta(task_id=task_id, status=status, result=failure_of(sentence).as_result(), date_done=now)

"""Values as Celery's database backend keeps them: JSON since Celery 5.7, pickled before. Pure.

Which of the two is written follows from the table: one that an older Celery made is read by older clients. A pickle can
run code in whoever reads it, and whoever may write to the database would choose that code: so reading takes plain
values alone (what JSON holds, and dates, decimals, UUIDs), and refuses every other class.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from longshore.exceptions import BackendError
from longshore.message import dump_body, load_text

_PICKLED = b"\x80"
_PLAIN = frozenset(
    {
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
        ("uuid", "UUID"),
        ("uuid", "SafeUUID"),
        ("collections", "OrderedDict"),
    }
)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"it holds an object of the class {module}.{name}, which is not read")
        return super().find_class(module, name)


def dump(value: Any, *, as_pickle: bool) -> bytes:
    """Return a value as it is kept; raises `BackendError` for what is not JSON-able."""
    try:
        text = dump_body(value)
        return pickle.dumps(load_text(text)) if as_pickle else text
    except (TypeError, ValueError, RecursionError) as error:
        raise BackendError(f"a result cannot be stored: {error}") from error


def load(data: bytes | None, what: str) -> Any:
    """Return a kept value; raises `BackendError` for an object of any class that is not plain."""
    if data is None:
        return None
    try:
        if not data.startswith(_PICKLED):
            return load_text(data)
        return load_text(dump_body(_Reader(io.BytesIO(data)).load()))  # a tuple is a list, as in JSON
    except Exception as error:  # garbage raises whatever it likes
        raise BackendError(f"the stored {what} cannot be read: {error}") from error

"""From ``module:attribute`` to an app, with an error for a person where that fails."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

from longshore.app import Longshore
from longshore.exceptions import ImproperlyConfigured, LongshoreError


def load_app(path: str) -> Longshore:
    """Import the app; the current folder is on the path, as with ``python -m``."""
    module_name, _, attribute = path.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module = _import(module_name, path)
    names = (attribute,) if attribute else ("app", "longshore", "celery")
    for name in names:
        found = getattr(module, name, None)
        if isinstance(found, Longshore):
            return found
        if found is not None and attribute:
            raise ImproperlyConfigured(f"app {path!r}: {attribute!r} is a {type(found).__name__}, not a Longshore app")
    apps = [name for name, value in vars(module).items() if isinstance(value, Longshore)]
    hint = f"; it has {', '.join(f'{module_name}:{name}' for name in apps)}" if apps else ""
    raise ImproperlyConfigured(f"app {path!r}: module {module_name!r} has no app named {' or '.join(names)}{hint}")


def _import(module_name: str, path: str) -> object:
    if not module_name:
        raise ImproperlyConfigured(f"app {path!r} is not MODULE:ATTRIBUTE, such as shop.tasks:app")
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        where = f"; looked in {Path.cwd()} and PYTHONPATH" if error.name and module_name.startswith(error.name) else ""
        raise ImproperlyConfigured(f"app {path!r} does not import: {error}{where}") from None
    except LongshoreError:
        raise
    except BaseException as error:  # noqa: BLE001 - the module is the user's and may raise anything
        last = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error}"
        raise ImproperlyConfigured(f"app {path!r} does not import: {what} ({last.filename}:{last.lineno})") from None

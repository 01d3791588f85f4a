"""From the options of a command to an app with a broker."""

from __future__ import annotations

import os

from longshore.app import Longshore
from longshore.cli.loading import load_app


def app_for(app: str | None, broker: str | None) -> Longshore:
    """Return the named app, or one without tasks; `broker` wins over the environment and the code."""
    if broker:
        os.environ["LONGSHORE_BROKER_URL"] = broker
    loaded = load_app(app) if app else Longshore("cli", set_as_current=False)
    loaded.require_broker()
    return loaded

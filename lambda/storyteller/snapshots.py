"""SnapStart: the model is loaded before the snapshot is taken, and what copies must not share is made again after.

Knows how Lambda says that a snapshot is coming (`AWS_LAMBDA_INITIALIZATION_TYPE`) and its runtime's hooks;
knows no sessions.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping

from storyteller.model_loader import ModelLoader


def is_coming(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this environment is being prepared for a snapshot."""
    return environment.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def prepare(loader: ModelLoader, reconnect: Callable[[], None]) -> None:
    """Waits for the model and has `reconnect` called in every copy. Raises what loading raised: the init fails.

    Such an init may take as long as the function's timeout, so nothing is thrown away after ten seconds.
    """
    from snapshot_restore_py import register_after_restore

    while not loader.wait(60):
        pass
    loader.engine  # noqa: B018  raises what loading raised
    register_after_restore(renew, reconnect)


def renew(reconnect: Callable[[], None]) -> None:
    """In a copy: random numbers of its own (the engine draws its seeds from the system anyway), and connections."""
    random.seed()
    reconnect()

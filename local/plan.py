"""What a local stack is made of: functions, routes, limits. Data only, nothing here acts.

Every limit defaults to what AWS documents; tests set shorter ones. Times are in seconds, sizes in
bytes unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"
API_ID = "local0play"
STAGE = "local"


class LocalError(Exception):
    """Something that keeps the stack from running; the message is one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda function.

    `concurrency` is its reserved concurrency (None: as many environments as there are events); AWS refuses
    what exceeds it, here an event first waits `queue_s` for its turn. `prestart` is how many environments are
    started, and kept, before the first event. `on_success` and `on_failure` name the functions that get the
    record of an asynchronous event. `retries` and `event_age_s` are AWS's MaximumRetryAttempts and MaximumEventAge.
    """

    name: str
    handler: str
    timeout_s: float = 3.0
    memory_mb: int = 128
    concurrency: int | None = None
    queue_s: float = 0.0
    prestart: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    retries: int = 0
    event_age_s: float = 6 * 3600
    on_success: str | None = None
    on_failure: str | None = None

    @property
    def arn(self) -> str:
        """The unqualified ARN."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"


@dataclass(frozen=True, slots=True)
class LambdaLimits:
    """How the Lambda service behaves.

    `init_s`: an init that takes longer is thrown away and run again under the function's timeout.
    `idle_s`: how long an environment stays frozen before it is reaped. `throttled_s`: the first
    pause before a throttled asynchronous event is tried again; it doubles up to `throttled_most_s`.
    `retry_s`: the pauses before the first and the second retry of an event that failed.
    """

    init_s: float = 10.0
    idle_s: float = 600.0
    throttled_s: float = 1.0
    throttled_most_s: float = 300.0
    retry_s: tuple[float, float] = (60.0, 120.0)
    payload_bytes: int = 6 * 1024 * 1024
    event_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """API Gateway's limits on WebSockets.

    `posts_per_s` throttles `POST /@connections` over all connections (None: never); with it come
    bursts of as many posts. `client_buffer_bytes`: what may wait for a slow client before posts to
    it get 429. `deliver_disconnect` False never sends `$disconnect`, which AWS calls best effort.
    """

    frame_bytes: int = 32 * 1024
    message_bytes: int = 128 * 1024
    idle_s: float = 600.0
    duration_s: float = 7200.0
    integration_s: float = 29.0
    posts_per_s: float | None = None
    client_buffer_bytes: int = 1024 * 1024
    deliver_disconnect: bool = True


@dataclass(frozen=True, slots=True)
class Schedule:
    """An event that a function gets every so often, as from EventBridge Scheduler."""

    function: str
    every_s: float
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole stack: what `infra/` deploys, in as far as it matters on one machine.

    `routes` maps WebSocket route keys (`$connect`, `$disconnect`, `$default`, or a value of
    `action`) to function names, `http` maps `"POST /ticket"` and the like. `identity` names the
    query parameters without which the `authorizer` is not even asked (401). `pages` is the folder
    served at `/`. `origins` may call the HTTP routes from elsewhere (CORS). The functions get
    `environment` beside their own and what every Lambda environment has.
    """

    functions: tuple[Function, ...]
    routes: Mapping[str, str] = field(default_factory=dict)
    authorizer: str | None = None
    identity: tuple[str, ...] = ()
    http: Mapping[str, str] = field(default_factory=dict)
    pages: Path | None = None
    table: str | None = None
    origins: tuple[str, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    lambdas: LambdaLimits = field(default_factory=LambdaLimits)
    gateway: GatewayLimits = field(default_factory=GatewayLimits)

    def __post_init__(self) -> None:
        names = {function.name for function in self.functions}
        targets = [name for one in self.functions for name in (one.on_success, one.on_failure)]
        scheduled = [schedule.function for schedule in self.schedules]
        for name in (*self.routes.values(), *self.http.values(), self.authorizer, *targets, *scheduled):
            if name is not None and name not in names:
                raise ValueError(f"The plan names a function {name!r} that it does not have.")

    def change(self, name: str, *, environment: Mapping[str, str] | None = None, **fields: Any) -> Plan:
        """This plan with fields of one function changed; `environment` adds to what it has."""
        found = {one.name: one for one in self.functions}
        old = found[name]
        found[name] = replace(old, environment={**old.environment, **(environment or {})}, **fields)
        return replace(self, functions=tuple(found.values()))

"""The stack on AWS and the one on this machine have the same functions and routes."""

from __future__ import annotations

import pytest

from infra.functions import (
    AUTHORIZER,
    FRONT,
    STORYTELLER,
    STORYTELLER_EVENT_AGE_S,
    STORYTELLER_RETRIES,
    SWEEP_EVENT,
    SWEEP_S,
    TICKET,
    TICKET_PARAMETER,
    TICKET_PATH,
    WEBSOCKET_ROUTES,
    FunctionSpec,
)
from local.play import overture

LOCAL = {one.name: one for one in overture().functions}


@pytest.mark.parametrize("spec", [FRONT, TICKET, AUTHORIZER, STORYTELLER], ids=lambda spec: spec.name)
def test_a_function_has_the_same_handler_memory_and_timeout_on_both(spec: FunctionSpec) -> None:
    local = LOCAL[spec.name]
    assert (local.handler, local.memory_mb, local.timeout_s) == (spec.handler, spec.memory_mb, spec.timeout_s)


def test_front_is_tried_again_as_often_on_both() -> None:
    assert LOCAL["front"].retries == 2, "what Lambda does with an asynchronous event unless it is told otherwise"


def test_both_have_the_same_functions_and_routes() -> None:
    plan = overture()
    assert set(LOCAL) == {spec.name for spec in (FRONT, TICKET, AUTHORIZER, STORYTELLER)}
    assert plan.routes == dict.fromkeys(WEBSOCKET_ROUTES, FRONT.name)
    assert plan.http == {f"POST {TICKET_PATH}": TICKET.name}
    assert plan.authorizer == AUTHORIZER.name
    assert plan.identity == (TICKET_PARAMETER,)


def test_both_sweep_once_a_minute_with_the_same_event() -> None:
    (schedule,) = overture().schedules
    assert (schedule.function, schedule.every_s, schedule.event) == (FRONT.name, SWEEP_S, SWEEP_EVENT)


def test_both_send_the_storytellers_records_to_front_and_retry_nothing() -> None:
    storyteller = LOCAL["storyteller"]
    assert (storyteller.retries, storyteller.event_age_s) == (STORYTELLER_RETRIES, STORYTELLER_EVENT_AGE_S)
    assert storyteller.on_success == storyteller.on_failure == FRONT.name

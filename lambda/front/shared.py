"""What Front's handlers share: settings, the table, and how they log, count and trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from overture.settings import Settings
from overture.table import Table

logger = Logger()
tracer = Tracer()
metrics = Metrics()

settings = Settings.read()
table = Table(settings.table)

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


def watched(handler: Handler) -> Handler:
    """The handler with its log, metrics and trace; what it answers, which may be a ticket, is in none of them."""
    logged = logger.inject_lambda_context(handler, clear_state=True)
    traced: Handler = tracer.capture_lambda_handler(metrics.log_metrics(logged), capture_response=False)
    return traced


def count(name: str, value: float = 1) -> None:
    """Counts something in the metrics."""
    metrics.add_metric(name, MetricUnit.Count, value)


def fault(what: str) -> None:
    """Logs and counts a fault of ours, from within an `except`."""
    logger.exception(what)
    count("Faults")

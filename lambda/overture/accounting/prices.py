"""What AWS charges while a visit runs: the prices that the functions need to tell a visitor what a reply cost.

List prices of us-east-1 on arm64, no free tier, no tax. The planner adds what a month costs with nobody there
(`planner/costs/prices.py`); `infra/deploy/prices.py` holds the stack's own table, and a test compares the two.
"""

from __future__ import annotations

from typing import NamedTuple


class Price(NamedTuple):
    """US dollars for one unit, and where and when that was read."""

    usd: float
    unit: str
    source: str
    read: str = "2026-11"


PRICES = {
    "lambda": Price(0.0000133334, "GB-second, arm64, first tier", "aws.amazon.com/lambda/pricing"),
    "lambda_request": Price(0.20e-6, "invocation", "aws.amazon.com/lambda/pricing"),
    "message": Price(1.0e-6, "WebSocket message of up to 32 KB", "aws.amazon.com/api-gateway/pricing"),
    "minute": Price(0.25e-6, "WebSocket connection minute", "aws.amazon.com/api-gateway/pricing"),
    "write": Price(0.625e-6, "DynamoDB write unit (1 KB)", "aws.amazon.com/dynamodb/pricing/on-demand"),
    "read": Price(0.125e-6, "DynamoDB read unit (4 KB, consistent)", "aws.amazon.com/dynamodb/pricing/on-demand"),
}


def usd(name: str, units: float) -> float:
    """What a number of units costs."""
    return PRICES[name].usd * units


def of_seconds(seconds: float, memory_mb: float) -> float:
    """What a function of that memory costs while it runs for this many seconds."""
    return usd("lambda", seconds * memory_mb / 1024)

"""The kill switch: an alarm on GB-seconds calls it, and no storyteller starts any more.

Running invocations finish; new events fail within a minute and Front tells the visitors.
`docs/operations.md` says how to turn the storyteller on again.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Sets the storyteller's reserved concurrency to 0 if the alarm is in state ALARM."""
    state = event.get("alarmData", {}).get("state", {}).get("value")
    if state != "ALARM":
        return {"killed": False}
    name = os.environ["STORYTELLER"]
    boto3.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    print(json.dumps({"message": "the kill switch turned the storyteller off", "function": name}))
    return {"killed": True}

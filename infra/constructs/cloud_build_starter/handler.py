"""Starts the image's build for CloudFormation, and answers it.

As a Lambda function: on CloudFormation's request it starts the build, with the address where CloudFormation waits for
the answer in the build's environment; on EventBridge's report of a build that ended without an image it answers
FAILED. As a script, the last command of a build: it answers SUCCESS with the image's digest.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: The parts of the request that an answer needs, and the environment variables in which the build has them.
_VARIABLES = {
    "ResponseURL": "RESPONSE_URL",
    "StackId": "STACK_ID",
    "RequestId": "REQUEST_ID",
    "LogicalResourceId": "LOGICAL_RESOURCE_ID",
}


def lambda_handler(event: dict[str, Any], context: object) -> None:
    if event.get("source") == "aws.codebuild":
        answer_failure(event["detail"])
    elif event["RequestType"] == "Delete":
        # The repository deletes its images itself.
        answer(event, "SUCCESS")
    else:
        start_build(event)


def start_build(event: Mapping[str, Any]) -> None:
    import boto3

    try:
        boto3.client("codebuild").start_build(
            projectName=event["ResourceProperties"]["Project"],
            environmentVariablesOverride=[
                {"name": variable, "value": event[key], "type": "PLAINTEXT"} for key, variable in _VARIABLES.items()
            ],
        )
    except Exception as error:
        # CloudFormation would otherwise wait for an hour.
        answer(event, "FAILED", reason=f"The build could not be started: {error}")
        raise


def answer_failure(detail: Mapping[str, Any]) -> None:
    """Answers for a build that failed, was stopped or timed out. Ignores builds that CloudFormation did not ask for."""
    variables = detail["additional-information"]["environment"]["environment-variables"]
    given = {one["name"]: one["value"] for one in variables}
    if "RESPONSE_URL" in given:
        event = {key: given[variable] for key, variable in _VARIABLES.items()}
        build, status = detail["build-id"].rpartition("/")[2], detail["build-status"]
        answer(event, "FAILED", reason=f"The image's build ended as {status}; its log has the reason: {build}.")


def answer(event: Mapping[str, Any], status: str, *, reason: str = "", data: Mapping[str, str] | None = None) -> None:
    body = {
        "Status": status,
        "Reason": reason or "See the build's log group.",
        "PhysicalResourceId": "image",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": dict(data or {}),
    }
    request = urllib.request.Request(  # noqa: S310  the address is CloudFormation's own
        event["ResponseURL"], data=json.dumps(body).encode(), method="PUT", headers={"content-type": ""}
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310


def main() -> int:
    """Answers with the digest in Docker's metadata file, if CloudFormation asked for the build."""
    if os.environ.get("RESPONSE_URL"):
        event = {key: os.environ[variable] for key, variable in _VARIABLES.items()}
        answer(event, "SUCCESS", data={"Digest": json.loads(Path("built.json").read_text())["containerimage.digest"]})
    return 0


if __name__ == "__main__":
    sys.exit(main())

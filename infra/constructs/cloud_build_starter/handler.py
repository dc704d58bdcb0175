"""The two ends of the image's build in CloudFormation's eyes: what starts it, and what it answers.

As a Lambda function (`lambda_handler`) it starts the build with the address that CloudFormation waits at.
The build itself, at its end, runs this file as a script and answers there: a build takes longer than a function may.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: What an answer needs of the event, and the variables by which the build gets it.
_VARIABLES = {
    "ResponseURL": "RESPONSE_URL",
    "StackId": "STACK_ID",
    "RequestId": "REQUEST_ID",
    "LogicalResourceId": "LOGICAL_RESOURCE_ID",
}


def lambda_handler(event: dict[str, Any], context: object) -> None:
    """Starts a build on Create and Update; on Delete there is nothing to do: the repository takes its images along."""
    if event["RequestType"] == "Delete":
        answer(event, "SUCCESS")
        return
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


def answer(event: Mapping[str, Any], status: str, *, reason: str = "", data: Mapping[str, str] | None = None) -> None:
    """Puts the answer where CloudFormation waits for it."""
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
    """Reads Docker's metadata file and answers with the digest, or with the failure; silent outside a deployment."""
    if not os.environ.get("RESPONSE_URL"):
        return 0
    event = {key: os.environ[variable] for key, variable in _VARIABLES.items()}
    built = Path("built.json")
    if os.environ.get("CODEBUILD_BUILD_SUCCEEDING") == "1" and built.is_file():
        answer(event, "SUCCESS", data={"Digest": json.loads(built.read_text())["containerimage.digest"]})
    else:
        build = os.environ.get("CODEBUILD_BUILD_ID", "in CodeBuild")
        answer(event, "FAILED", reason=f"The image's build failed; its log says why: {build}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

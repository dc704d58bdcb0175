"""Lambda as boto3 sees it: invocations, asynchronous events, their retries and their destinations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.plan import LambdaLimits, Plan
from tests.local.tiny_stack import TinyStack, kill, tiny, tiny_stack, until

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

ARN = "arn:aws:lambda:us-east-1:123456789012:function:"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStack]:
    ends = {"on_success": "keep", "on_failure": "keep"}
    functions = [
        tiny("keep"),
        *(tiny(name, **ends) for name in ("echo", "fail", "die")),
        tiny("nap", concurrency=1),
        tiny("hasty", "nap", timeout_s=0.3, **ends),
        tiny("again", "fail", retries=2, **ends),
        tiny("one", "nap", concurrency=1, **ends),
        tiny("none", "nap", concurrency=1, event_age_s=0.6, **ends),
    ]
    limits = LambdaLimits(throttled_s=0.05, retry_s=(0.05, 0.05), payload_bytes=50_000, event_bytes=10_000)
    with tiny_stack(tmp_path_factory.mktemp("stack"), *functions, lambdas=limits) as found:
        yield found


@pytest.fixture(scope="module")
def client(stack: TinyStack) -> Iterator[LambdaClient]:
    found = boto3.client(
        "lambda",
        region_name="us-east-1",
        endpoint_url=stack.lambda_url,
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield found
    found.close()


def invoke(client: LambdaClient, name: str, event: Any, kind: Any = "RequestResponse") -> Any:
    answer = client.invoke(FunctionName=name, InvocationType=kind, Payload=json.dumps(event).encode())
    return {**answer, "Payload": answer["Payload"].read()}


def records(stack: TinyStack, of: str) -> list[Any]:
    """The invocation records that `keep` got about a function."""
    return [one for one in stack.traces("keep") if one["requestContext"]["functionArn"] == f"{ARN}{of}:$LATEST"]


@pytest.mark.parametrize("name", ["echo", ARN + "echo", ARN + "echo:$LATEST", "123456789012:function:echo"])
def test_invoke_and_wait(client: LambdaClient, name: str) -> None:
    answer = invoke(client, name, {"a": 1})
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    said = json.loads(answer["Payload"])
    assert said["event"] == {"a": 1}
    assert said["request_id"] == answer["ResponseMetadata"]["RequestId"]


def test_error_of_the_function(client: LambdaClient) -> None:
    answer = invoke(client, "fail", {})
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.loads(answer["Payload"])["errorType"] == "ValueError"


def test_dry_run_runs_nothing(client: LambdaClient, stack: TinyStack) -> None:
    assert invoke(client, "die", {}, "DryRun")["StatusCode"] == 204
    assert stack.environments("die") == []


def test_throttled(client: LambdaClient, stack: TinyStack) -> None:
    with ThreadPoolExecutor() as threads:
        first = threads.submit(invoke, client, "nap", {"s": 1})
        until(lambda: stack.environments("nap"))
        with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
            invoke(client, "nap", {"s": 0})
        assert first.result()["StatusCode"] == 200
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    said: dict[str, Any] = {**caught.value.response}
    assert said["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_refusals(client: LambdaClient) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException, match=f"Function not found: {ARN}nobody"):
        invoke(client, "nobody", {})
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName="echo", Payload=b"{not json")
    with pytest.raises(client.exceptions.RequestTooLargeException):
        invoke(client, "echo", "x" * 60_000)
    with pytest.raises(client.exceptions.RequestTooLargeException):
        invoke(client, "echo", "x" * 20_000, "Event")
    with pytest.raises(ClientError, match="not an invocation type"):
        invoke(client, "echo", {}, "Sometimes")


# --- asynchronous events --------------------------------------------------------------------------


def test_event_is_accepted_at_once_and_its_success_recorded(client: LambdaClient, stack: TinyStack) -> None:
    answer = invoke(client, "echo", {"left": "here"}, "Event")
    assert (answer["StatusCode"], answer["Payload"]) == (202, b"")
    (record,) = until(lambda: records(stack, "echo"))
    context = record["requestContext"]
    assert set(record) == {
        "version", "timestamp", "requestContext", "requestPayload", "responseContext", "responsePayload",
    }  # fmt: skip
    assert (record["version"], record["requestPayload"]) == ("1.0", {"left": "here"})
    assert (context["condition"], context["approximateInvokeCount"]) == ("Success", 1)
    assert context["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"]["event"] == {"left": "here"}
    assert len(record["timestamp"]) == len("2019-11-14T18:16:05.568Z")


@pytest.mark.parametrize(
    ("name", "event", "kind", "said"),
    [
        ("fail", {"x": 1}, "ValueError", "no such thing"),
        ("die", {}, "Runtime.ExitError", "signal: killed"),
        ("hasty", {"s": 60}, "Sandbox.Timedout", "timed out after 0.30 seconds"),
    ],
)
def test_failure_is_recorded_after_one_try(
    client: LambdaClient, stack: TinyStack, name: str, event: Any, kind: str, said: str
) -> None:
    invoke(client, name, event, "Event")
    (record,) = until(lambda: records(stack, name))
    assert record["requestPayload"] == event
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert record["responsePayload"]["errorType"] == kind
    assert said in record["responsePayload"]["errorMessage"]


def test_retries(client: LambdaClient, stack: TinyStack) -> None:
    invoke(client, "again", {"n": "again"}, "Event")
    (record,) = until(lambda: records(stack, "again"))
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert stack.traces("fails").count({"n": "again"}) == 3


def test_throttled_event_is_kept_until_there_is_room(client: LambdaClient, stack: TinyStack) -> None:
    for _ in range(3):
        invoke(client, "one", {"s": 0.3}, "Event")
    until(lambda: len(records(stack, "one")) == 3)
    found = records(stack, "one")
    assert [one["requestContext"]["condition"] for one in found] == ["Success"] * 3
    assert len({one["responsePayload"] for one in found}) == 1, "one environment told them all"
    assert len(stack.environments("one")) == 1


def test_throttled_event_grows_too_old(client: LambdaClient, stack: TinyStack) -> None:
    with ThreadPoolExecutor() as threads:
        threads.submit(stack.invoke, "none", b'{"s": 60}')
        until(lambda: {"s": 60} in stack.traces("naps") and stack.environments("none"))
        invoke(client, "none", {"s": 0}, "Event")
        (record,) = until(lambda: records(stack, "none"))
        kill(stack.living("none")[0]["pid"])
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestPayload"] == {"s": 0}
    assert "responsePayload" not in record


def test_the_destination_gets_what_is_no_json_as_text(tmp_path: Path) -> None:
    functions = tiny("keep"), tiny("talk", on_success="keep")
    with tiny_stack(tmp_path, *functions) as stack:
        stack.call(_send(stack, "talk", b"null"))
        (record,) = until(lambda: stack.traces("keep"))
    assert (record["requestPayload"], record["responsePayload"]) == (None, None)


async def _send(stack: TinyStack, name: str, payload: bytes) -> None:
    stack.stack.service.send(name, payload)


def test_a_plan_that_names_a_function_it_lacks() -> None:
    with pytest.raises(ValueError, match="'nobody'"):
        Plan((tiny("echo", on_failure="nobody"),))

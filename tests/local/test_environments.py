"""Execution environments: one event at a time, frozen between, new ones, reaping, caps, timeouts, crashes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from local.aws.functions.environment import runtime_argv
from local.aws.functions.pool import ThrottledError
from local.plan import LambdaLimits, LocalError
from tests.local.tiny_stack import SLOW_INIT, TinyStack, is_dead, is_frozen, kill, tiny, tiny_stack, until


def our_runtime(handler: str) -> list[str]:
    return [sys.executable, "-m", "local.aws.functions.runtime_client", handler]


@pytest.fixture(scope="module", params=[runtime_argv, our_runtime], ids=["awslambdaric", "ours"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStack]:
    functions = [
        *(tiny(name) for name in ("environment", "nap", "die", "leave", "long", "unfit", "talk", "ticker", "parent")),
        tiny("echo", memory_mb=512),
        tiny("fail"),
        tiny("capped", "nap", concurrency=1),
        tiny("hasty", "nap", timeout_s=0.5),
        tiny("broken", "tests.local.handlers.broken.lambda_handler"),
        tiny("absent", "tests.local.handlers.absent.lambda_handler"),
        tiny("gone", "tests.local.handlers.gone.lambda_handler"),
    ]
    limits = LambdaLimits(payload_bytes=100_000)
    with tiny_stack(
        tmp_path_factory.mktemp("stack"), *functions, lambdas=limits, how={"runtime": request.param}
    ) as found:
        yield found


def test_the_runtime_here_is_aws_s_own() -> None:
    assert runtime_argv("a.b")[1:] == ["-m", "awslambdaric", "a.b"]


def test_event_and_context_arrive(stack: TinyStack) -> None:
    said = stack.ask("echo", {"line": "Ünïcode 🙂"})
    assert said["event"] == {"line": "Ünïcode 🙂"}
    assert 0 < said["left_ms"] <= 20_000
    assert said["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:echo"
    assert (said["name"], said["memory"]) == ("echo", "512")
    assert len(said["request_id"]) == 36
    assert said["trace"].startswith("Root=1-")


def test_one_environment_serves_one_event_after_the_other(stack: TinyStack) -> None:
    pids = {stack.ask("echo")["pid"] for _ in range(20)}
    assert len(pids) == 1
    assert len(stack.environments("echo")) == 1


def test_no_variable_of_ours_leads_to_aws(stack: TinyStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    found = stack.ask("environment")
    assert found["AWS_ACCESS_KEY_ID"] == "local"
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == "environment"
    assert found["AWS_ENDPOINT_URL_LAMBDA"] == stack.lambda_url
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert "AWS_PROFILE" not in found
    assert "HTTPS_PROXY" not in found


def test_frozen_between_events(stack: TinyStack) -> None:
    pid = stack.ask("ticker")
    until(partial(is_frozen, pid))
    count = stack.traces_in / f"ticks-{pid}"
    before = count.read_text() if count.exists() else ""
    time.sleep(0.2)
    assert (count.read_text() if count.exists() else "") == before, "a thread went on while it was frozen"
    (one,) = stack.environments("ticker")
    assert one["state"] == "idle"

    # Thawed it goes on, though a single event may be over before its thread has had a turn.
    until(lambda: stack.ask("ticker") == pid and count.exists() and count.read_text() != before)


def test_new_environment_when_all_are_busy(stack: TinyStack) -> None:
    with ThreadPoolExecutor() as threads:
        pids = set(threads.map(lambda _: stack.ask("nap", {"s": 1}), range(3)))
    assert len(pids) == 3
    assert stack.ask("nap", {"s": 0}) in pids


def test_no_more_environments_than_reserved(stack: TinyStack) -> None:
    with ThreadPoolExecutor() as threads:
        first = threads.submit(stack.ask, "capped", {"s": 1.5})
        until(lambda: len(stack.environments("capped")) == 1)
        with pytest.raises(ThrottledError):
            stack.ask("capped", {"s": 0})
        pid = first.result()
    assert stack.ask("capped", {"s": 0}) == pid
    assert len(stack.environments("capped")) == 1


def test_timeout_kills_the_environment(stack: TinyStack) -> None:
    error = stack.error("hasty", {"s": 60})
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Error: Task timed out after 0.50 seconds")
    (one,) = stack.environments("hasty")
    assert (one["state"], one["status"]) == ("ended", -9)
    assert "Task timed out after 0.50 seconds" in stack.log("hasty")
    assert is_dead(one["pid"])
    assert stack.ask("hasty", {"s": 0}) != one["pid"]


@pytest.mark.parametrize(
    ("name", "event", "said"),
    [
        ("die", {}, "Runtime exited with error: signal: killed"),
        ("die", {"signal": 11}, "Runtime exited with error: signal: segmentation fault"),
        ("leave", {"status": 7}, "Runtime exited with error: exit status 7"),
        ("leave", {"status": 0}, "Runtime exited without providing a reason"),
    ],
)
def test_crash(stack: TinyStack, name: str, event: dict[str, int], said: str) -> None:
    error = stack.error(name, event)
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith(said)
    assert not stack.living(name)


def test_killed_from_outside_while_it_works(stack: TinyStack) -> None:
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(stack.error, "nap", {"s": 60, "why": "outside"})
        until(lambda: {"s": 60, "why": "outside"} in stack.traces("naps"))
        (busy,) = (one for one in stack.living("nap") if one["state"] == "busy")
        kill(busy["pid"])
        assert asked.result()["errorType"] == "Runtime.ExitError"


def test_killed_while_frozen_does_not_lose_an_event(stack: TinyStack) -> None:
    for _ in range(5):
        stack.ask("echo")
        (one,) = stack.living("echo")
        until(partial(is_frozen, one["pid"]))
        kill(one["pid"])
        until(partial(is_dead, one["pid"]))
        assert stack.ask("echo")["pid"] != one["pid"]


def test_an_error_of_the_handler_keeps_its_environment(stack: TinyStack) -> None:
    error = stack.error("fail")
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no such thing")
    assert any("in fail" in line for line in error["stackTrace"])
    stack.error("fail")
    assert len(stack.environments("fail")) == 1


def test_an_answer_that_is_not_json(stack: TinyStack) -> None:
    assert "JSON serializable" in stack.error("unfit")["errorMessage"]


def test_an_answer_that_is_too_long(stack: TinyStack) -> None:
    assert stack.error("long", {"bytes": 200_000})["errorType"] == "Function.ResponseSizeTooLarge"
    assert len(stack.ask("long", {"bytes": 90_000})) == 90_000
    assert len(stack.environments("long")) == 1


def test_what_it_prints_is_kept_with_its_name_and_pid(stack: TinyStack) -> None:
    stack.ask("talk")
    (one,) = stack.environments("talk")
    until(lambda: f"talk[{one['pid']}] said on stderr\n" in stack.log("talk"))
    assert f"talk[{one['pid']}] said on stdout\n" in stack.log("talk")


def test_what_it_starts_ends_with_it(stack: TinyStack) -> None:
    grandchild = stack.ask("parent")
    (one,) = stack.environments("parent")
    until(partial(is_frozen, grandchild))
    kill(one["pid"])
    until(partial(is_dead, grandchild))


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("broken", "RuntimeError", "the index is not there"),
        ("absent", "Runtime.ImportModuleError", "Unable to import module 'tests.local.handlers.absent'"),
        ("gone", "Runtime.ExitError", "exit status 3"),
    ],
)
def test_init_error_is_tried_twice_and_told(stack: TinyStack, name: str, kind: str, said: str) -> None:
    error = stack.error(name)
    assert error["errorType"] == kind
    assert said in error["errorMessage"]
    assert [one["state"] for one in stack.environments(name)] == ["ended", "ended"]


# --- with limits of their own ---------------------------------------------------------------------


def test_overlong_init_is_thrown_away_and_run_again_under_the_timeout(tmp_path: Path) -> None:
    slow = tiny("slow", SLOW_INIT, timeout_s=30, environment={"SLOW_S": "1.2"})
    with tiny_stack(tmp_path, slow, lambdas=LambdaLimits(init_s=0.6)) as stack:
        said = stack.ask("slow")
        first, second = stack.environments("slow")
    assert said["pid"] == second["pid"]
    assert said["left_ms"] < 30_000 - 1200, "the second init counts as a part of the invocation"
    assert first["status"] == -9


def test_init_longer_than_the_timeout(tmp_path: Path) -> None:
    slow = tiny("slow", SLOW_INIT, timeout_s=0.5, environment={"SLOW_S": "60"})
    with tiny_stack(tmp_path, slow, lambdas=LambdaLimits(init_s=0.2)) as stack:
        assert stack.error("slow")["errorType"] == "Sandbox.Timedout"
        assert not stack.living("slow")


def test_idle_environments_are_reaped_but_not_the_prestarted(tmp_path: Path) -> None:
    functions = tiny("nap", prestart=1), tiny("echo")
    with tiny_stack(tmp_path, *functions, lambdas=LambdaLimits(idle_s=0.3)) as stack:
        (warm,) = stack.environments("nap")
        assert (warm["state"], warm["invocations"]) == ("idle", 0)
        stack.ask("echo")
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda _: stack.ask("nap", {"s": 0.5}), range(3)))
        until(lambda: len(stack.living("nap")) == 1)
        until(lambda: not stack.living("echo"))
        assert stack.ask("nap", {"s": 0}) == stack.living("nap")[0]["pid"]


def test_a_prestarted_environment_is_told_so(tmp_path: Path) -> None:
    with tiny_stack(tmp_path, tiny("environment", prestart=2)) as stack:
        assert len(stack.environments("environment")) == 2
        assert stack.ask("environment")["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"
        assert len(stack.environments("environment")) == 2


def test_a_function_that_cannot_start_is_named(tmp_path: Path) -> None:
    broken = tiny("broken", "tests.local.handlers.broken.lambda_handler", prestart=1)
    with (
        pytest.raises(LocalError, match=r"broken did not start: the index is not there\. See .*broken\.log"),
        tiny_stack(tmp_path, broken),
    ):
        pass


def test_the_end_leaves_nothing_behind(tmp_path: Path) -> None:
    before = children()
    with (
        tiny_stack(tmp_path, tiny("echo", prestart=1), tiny("nap"), table="t") as stack,
        ThreadPoolExecutor() as threads,
    ):
        threads.submit(stack.invoke, "nap", json.dumps({"s": 60}).encode())
        until(lambda: stack.traces("naps"))
        assert len(children() - before) == 3, "two environments and the keeper; the table is in memory"
        stack.stop()
    assert children() == before


def children() -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(path.parent.name))
    return found

"""Environments forked from one process that has imported the handler."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.plan import LambdaLimits
from tests.local.tiny_stack import TinyStack, is_dead, is_frozen, kill, tiny, tiny_stack, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can fork so")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStack]:
    functions = [tiny(name, snap_start=True) for name in ("environment", "nap", "die", "leave", "talk", "parent")]
    functions += [
        tiny("hasty", "nap", timeout_s=0.5, snap_start=True),
        tiny("broken", "tests.local.handlers.broken.lambda_handler", snap_start=True),
        tiny("threaded", "tests.local.handlers.threaded.lambda_handler", snap_start=True),
    ]
    with tiny_stack(tmp_path_factory.mktemp("stack"), *functions, lambdas=LambdaLimits()) as found:
        yield found


def template_of(stack: TinyStack, name: str) -> int | None:
    return stack.stack.service.template(name)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_environments_are_forked_from_one_process_and_frozen_between_events(stack: TinyStack) -> None:
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda _: stack.ask("nap", {"s": 1}), range(2)))
    first, second = stack.living("nap")
    template = template_of(stack, "nap")
    assert template is not None
    assert [parent_of(one["pid"]) for one in (first, second)] == [template, template]
    until(lambda: is_frozen(first["pid"]) and is_frozen(second["pid"]))


def test_each_has_variables_of_its_own(stack: TinyStack) -> None:
    variables = stack.ask("environment")
    (one,) = stack.living("environment")
    written = Path(f"/proc/{template_of(stack, 'environment')}/environ").read_text()
    assert "AWS_LAMBDA_RUNTIME_API" not in written
    assert variables["_HANDLER"].endswith(".environment")
    assert variables["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:")
    assert os.getpgid(one["pid"]) == one["pid"]


def test_what_it_prints_is_logged_under_its_own_name(stack: TinyStack) -> None:
    stack.ask("talk")
    (one,) = stack.living("talk")
    until(lambda: str(one["pid"]) in stack.log("talk"))


@pytest.mark.parametrize(
    ("name", "event", "said"), [("die", {}, "signal: killed"), ("leave", {"status": 3}, "status 3")]
)
def test_a_crash_is_told_with_its_status(stack: TinyStack, name: str, event: dict[str, int], said: str) -> None:
    assert said in stack.error(name, event)["errorMessage"]
    assert stack.environments(name)[0]["state"] == "ended"


def test_a_timeout_kills_it_and_not_its_template(stack: TinyStack) -> None:
    assert stack.error("hasty", {"s": 60})["errorType"] == "Sandbox.Timedout"
    assert not stack.living("hasty")
    assert stack.ask("hasty", {"s": 0}) == stack.living("hasty")[0]["pid"]


def test_what_an_environment_started_ends_with_it(stack: TinyStack) -> None:
    child = stack.ask("parent")
    (one,) = stack.living("parent")
    kill(one["pid"])
    until(lambda: is_dead(child))
    until(lambda: not stack.living("parent"))


@pytest.mark.parametrize("name", ["broken", "threaded"])
def test_what_cannot_be_forked_is_started_by_itself(stack: TinyStack, name: str) -> None:
    outcome = stack.invoke(name, json.dumps({}).encode())
    assert template_of(stack, name) is None
    assert outcome.failed == (name == "broken")
    assert ("the book is not there" if outcome.failed else "threads") in (outcome.payload.decode() + stack.log(name))


def test_without_its_template_the_next_is_started_by_itself(tmp_path: Path) -> None:
    with tiny_stack(tmp_path, tiny("nap", snap_start=True, prestart=1)) as stack:
        template = template_of(stack, "nap")
        (first,) = stack.living("nap")
        assert template is not None
        kill(template)
        until(lambda: not stack.living("nap"))
        assert is_dead(first["pid"])
        second = stack.ask("nap", {"s": 0})
        assert parent_of(second) == os.getpid()
        assert (template_of(stack, "nap"), is_dead(template)) == (template, True)


def test_a_template_that_is_not_ready_in_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.aws.template.READY_S", 0.05)
    with tiny_stack(tmp_path, tiny("nap", snap_start=True)) as stack:
        assert parent_of(stack.ask("nap", {"s": 0})) == os.getpid()
        assert template_of(stack, "nap") is None


def test_the_end_leaves_nothing_behind(tmp_path: Path) -> None:
    with tiny_stack(tmp_path, tiny("nap", snap_start=True, prestart=2)) as stack:
        pids = [one["pid"] for one in stack.living("nap")]
        template = template_of(stack, "nap")
        assert len(pids) == 2
    assert template is not None
    assert all(is_dead(pid) for pid in (*pids, template))

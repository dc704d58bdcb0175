"""Plans, the play's own among them; lines of output; ports."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

import local.__main__ as command
from local.aws.functions.logs import Lines, Logs
from local.plan import Function, LocalError, Plan
from local.play import overture
from local.stack import listen


def test_the_play() -> None:
    plan = overture(model=Path("/m"), world=Path("/w"), index=Path("/b"), wait_s=50, concurrency=3)
    storyteller = next(one for one in plan.functions if one.name == "storyteller")
    assert (storyteller.timeout_s, storyteller.memory_mb, storyteller.concurrency) == (900, 10_240, 3)
    assert (storyteller.retries, storyteller.event_age_s) == (0, 60)
    assert (storyteller.on_success, storyteller.on_failure) == ("front", "front")
    assert storyteller.environment["OVERTURE_MODEL"] == "/m"
    assert storyteller.environment["OVERTURE_LOAD_S"] == "50"
    assert plan.environment["OVERTURE_WORLD"] == "/w"
    assert plan.environment["OVERTURE_INDEX"] == "/b"
    assert plan.environment["OVERTURE_CONCURRENCY"] == "3"
    assert {one.environment["POWERTOOLS_SERVICE_NAME"] for one in plan.functions} == {
        "front", "ticket", "authorizer", "storyteller",
    }  # fmt: skip


def test_the_command_caps_the_environments(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def plan(**given: Any) -> Plan:
        capped = {one.name: one.concurrency for one in overture(**given).functions}
        raise LocalError(json.dumps(capped))

    async def find(model: Any) -> Path:
        return Path(model)

    monkeypatch.setattr(command, "overture", plan)
    monkeypatch.setattr(command, "check", lambda **_: None)
    monkeypatch.setattr(command, "find_model", find)
    assert command.main(["--environments", "7", "--concurrency", "3"]) == 1
    assert json.loads(capsys.readouterr().err) == {"front": 8, "ticket": 7, "authorizer": 7, "storyteller": 3}, (
        "a sweep may wait in one of Front's"
    )


def test_change_one_function() -> None:
    plan = Plan((Function("a", "m.a", environment={"X": "1"}), Function("b", "m.b")))
    changed = plan.change("a", timeout_s=9, environment={"Y": "2"})
    assert changed.functions[0] == Function("a", "m.a", timeout_s=9, environment={"X": "1", "Y": "2"})
    assert changed.functions[1] == plan.functions[1]
    assert plan.functions[0].timeout_s == 3


@pytest.mark.parametrize("where", ["routes", "http", "authorizer"])
def test_a_name_that_is_no_function(where: str) -> None:
    with pytest.raises(ValueError, match="'b'"):
        Plan((Function("a", "m.a"),), **{where: "b" if where == "authorizer" else {"x": "b"}})  # type: ignore[arg-type]


def test_lines() -> None:
    found: list[str] = []
    lines = Lines(found.append)
    for chunk in (b"one\ntw", b"o\n\nthr\xc3", b"\xbce\nTraceback\r  File\r\n", b"\xff", b"end"):
        lines.feed(chunk)
    assert found == ["one", "two", "", "thrüe", "Traceback", "  File"]
    lines.end()
    lines.end()
    assert found[6:] == ["\\xffend"]


def test_logs_begin_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "logs"
    Logs(folder).write("front", 7, "old")
    logs = Logs(folder, echo=True)
    assert logs.read("front") == ""
    logs.write("front", 8, "new")
    logs.write("front", 9, "newer")
    assert logs.read("front") == "front[8] new\nfront[9] newer\n"
    assert capsys.readouterr().err == "front[8] new\nfront[9] newer\n"


def test_a_port_taken_on_either_address_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LocalError, match=f"Port {port} is in use by another program; .+ PORT={port + 1}"):
            listen(port)
    try:
        six = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:  # this machine has no IPv6: there is nothing to be taken
        assert len(listen_and_close(0)) == 1
        return
    with six, pytest.raises(LocalError, match="is in use"):
        listen(six.getsockname()[1])
    assert len(listen_and_close(0)) == 2


def listen_and_close(port: int) -> list[socket.socket]:
    found = listen(port)
    for one in found:
        one.close()
    return found

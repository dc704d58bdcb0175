"""The sweep: what nobody settled is mended, and within a minute of when it was promised."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.play import SWEEP_S, overture
from overture import leases, protocol
from overture.sessions import OPEN_SHARDS, Sessions
from overture.table import Put
from tests.unit.fakes import FakeConnections, FakeLambda, MemoryClient, SteppedClock
from tests.unit.front.visitor import Play, confirm, kinds

#: A holder writes at most this long after its last renewal: a quarter of the lease, and the next save.
RENEWED_S = 6.0


@pytest.fixture(autouse=True)
def stepped(clock: SteppedClock, request: pytest.FixtureRequest) -> None:
    """No sweep here takes time."""
    if "play" in request.fixturenames:
        request.getfixturevalue("play").invoker._sleep = clock.sleep


def say(story: Play) -> int:
    """Says a line for which a storyteller is invoked; how many invocations there are now."""
    story.send("say", id="x", text="I knock.")
    return len(story.aws_lambda.sent)


def mended_after(story: Play, clock: SteppedClock, sent: int, first_sweep_s: float, since: float) -> float:
    """Sweeps as the schedule does, the first after that many seconds; when a storyteller was invoked, since then."""
    when: list[float] = []
    invoke = story.aws_lambda.invoke

    def note(**call: Any) -> dict[str, Any]:
        when.append(clock.off_s)
        return invoke(**call)

    story.aws_lambda.invoke = note  # type: ignore[method-assign]
    next_sweep = clock.off_s + first_sweep_s
    while not when:
        clock.off_s = max(clock.off_s, next_sweep)
        story.invoker.sweep()
        next_sweep += SWEEP_S
    return when[0] - since


@pytest.mark.parametrize("first_sweep_s", [0, 1, 7, 14.9, 15.1, 30, 45, 59, 59.9])
def test_a_reservation_that_nobody_confirms_is_invoked_again_within_a_minute(
    story: Play, clock: SteppedClock, first_sweep_s: float
) -> None:
    sent = say(story)
    took = mended_after(story, clock, sent, first_sweep_s, clock.off_s)
    assert took == pytest.approx(max(leases.UNCONFIRMED_S, first_sweep_s), abs=0.5)
    assert story.aws_lambda.sent[-1] == story.aws_lambda.sent[-2], "with the same token"


@pytest.mark.parametrize("renewed_s", [0, 3, RENEWED_S])
@pytest.mark.parametrize("first_sweep_s", [0, 1, 7, 13, 20, 30, 45, 59, 59.9])
def test_a_holder_that_died_without_a_record_is_replaced_within_a_minute(
    story: Play, clock: SteppedClock, first_sweep_s: float, renewed_s: float
) -> None:
    sent = say(story)
    confirm(story)
    clock.off_s += renewed_s
    took = mended_after(story, clock, sent, first_sweep_s, clock.off_s)
    assert took == pytest.approx(max(story.settings.lease_s - renewed_s, first_sweep_s), abs=0.5)
    assert story.sessions.read(story.key).inbox[0].failures == 1
    assert kinds(story.connections.take()) == ["Error", "Wake"]


def test_a_holder_that_renews_its_lease_is_left_alone_and_waited_for_no_longer(
    story: Play, clock: SteppedClock
) -> None:
    sent = say(story)
    fence = confirm(story)

    def renew() -> None:
        story.sessions.update(story.key, lambda tx: leases.renew(tx, fence, story.settings))

    clock.off_s += 2
    clock.meanwhile = renew
    assert story.invoker.sweep() == 1
    assert len(story.aws_lambda.sent) == sent
    assert sum(clock.slept) <= story.settings.lease_s * leases.LATE_RENEWALS / leases.RENEWALS


def test_a_reservation_that_is_confirmed_soon_is_not_waited_for(story: Play, clock: SteppedClock) -> None:
    sent = say(story)
    clock.meanwhile = lambda: confirm(story)
    story.invoker.sweep()
    assert len(story.aws_lambda.sent) == sent
    assert sum(clock.slept) <= leases.UNCONFIRMED_S * leases.SOON


def test_a_sweep_with_nothing_pending_waits_for_nothing(story: Play, clock: SteppedClock) -> None:
    assert story.invoker.sweep() == 0
    say(story)
    clock.off_s += leases.UNCONFIRMED_S + 1
    story.invoker.sweep()
    assert clock.slept == []


def test_a_sweep_is_over_long_before_fronts_time_is(story: Play, clock: SteppedClock) -> None:
    say(story)
    confirm(story)
    clock.off_s += 0.5
    with clock.wrong_by(2):  # its lease ends later than the sweep may wait
        story.sessions.update(story.key, lambda tx: setattr(tx.session.lease, "until", tx.now + story.settings.lease_s))
    story.invoker.sweep()
    (front,) = [function for function in overture().functions if function.name == "front"]
    assert 0 < sum(clock.slept) < front.timeout_s - 8, "the table may take eight seconds to answer"


def test_a_slot_that_comes_free_while_the_sweep_waits_goes_to_who_waits(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda, clock: SteppedClock
) -> None:
    play = Play(sessions, connections, aws_lambda, clock.sleep, concurrency=1)
    play.hello("a")
    confirm(play)
    sessions.update(play.key, lambda tx: setattr(tx.session, "connection", None))
    play.hello("b")
    connections.take("b")
    play.invoker.sweep()
    assert aws_lambda.sent[-1]["session"] == play.key
    assert connections.take("b") == [protocol.Wake("waking", progress=0.0)]


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_lease_written_by_a_clock_that_is_ahead_does_not_outlast_the_sweep(
    story: Play, clock: SteppedClock, confirmed: bool
) -> None:
    with clock.wrong_by(3600):
        sent = say(story)
        if confirmed:
            confirm(story)
    took = mended_after(story, clock, sent, 0, clock.off_s)
    longest = story.settings.lease_s if confirmed else leases.UNCONFIRMED_S
    assert took == pytest.approx(longest, abs=0.5), "until then its holder may be at work"


def test_a_holder_whose_clock_is_ahead_is_left_alone(story: Play, clock: SteppedClock) -> None:
    with clock.wrong_by(3600):
        sent = say(story)
        fence = confirm(story)

    def renew() -> None:
        with clock.wrong_by(3600):
            story.sessions.update(story.key, lambda tx: leases.renew(tx, fence, story.settings))

    clock.meanwhile = renew
    story.invoker.sweep()
    assert len(story.aws_lambda.sent) == sent
    assert len(clock.slept) == 1


def test_lines_without_a_lease_are_sent_for(story: Play) -> None:
    story.aws_lambda.refuse = ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
    story.do("say", text="On")
    story.aws_lambda.refuse = None
    sent = len(story.aws_lambda.sent)
    story.invoker.sweep()
    assert len(story.aws_lambda.sent) == sent + 1


def test_a_session_at_rest_is_not_swept(story: Play) -> None:
    assert story.invoker.sweep() == 0


@pytest.mark.parametrize("broken", ["document", "table"])
def test_a_broken_session_does_not_keep_the_sweep_from_the_next(
    play: Play, client: MemoryClient, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    keys = []
    for connection in ("a", "b"):
        play.hello(connection)
        keys.append(play.key)
    monkeypatch.setattr("overture.sessions._PATIENCE_S", 0.1)
    first = [shard for shard in range(OPEN_SHARDS) if keys[0] in play.sessions.open_keys(shard)]
    monkeypatch.setattr("random.sample", lambda shards, count: sorted(shards, key=lambda shard: shard not in first))
    if broken == "document":
        play.sessions.table.write(Put(f"S#{keys[0]}", "session", b'{"key": 7}', None, 60))
    else:  # it can be read, not invoked, and its reservation not be cancelled
        client.fail_on("PutItem", f"S#{keys[0]}")
        play.aws_lambda.refused_session = keys[0]
    sent = len(play.aws_lambda.sent)
    clock.off_s += leases.UNCONFIRMED_S + 1
    assert play.invoker.sweep() == 2
    assert [sent["session"] for sent in play.aws_lambda.sent[sent:]] == [keys[1]]


def test_a_slot_whose_record_was_lost_goes_to_who_waits(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda, clock: SteppedClock
) -> None:
    play = Play(sessions, connections, aws_lambda, clock.sleep, concurrency=1)
    play.hello("a")
    fence = confirm(play)
    sessions.update(play.key, lambda tx: leases.release(tx, fence))
    play.hello("b")
    assert aws_lambda.sent[-1]["session"] == play.key, "who comes next mends it"
    fence = confirm(play)
    waiting = play.hello("c")
    assert protocol.Wake("queued", position=1) in waiting
    sessions.update(aws_lambda.sent[-1]["session"], lambda tx: leases.release(tx, fence))
    play.invoker.sweep()
    assert aws_lambda.sent[-1]["session"] == play.key
    assert connections.take("c") == [protocol.Wake("waking", progress=0.0)]

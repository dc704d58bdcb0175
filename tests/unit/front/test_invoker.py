"""When Front invokes the storyteller, and when it does not: leases, the waiting line, the daily cap."""

from __future__ import annotations

from botocore.exceptions import ClientError

from front import actions
from overture import leases, protocol
from overture.sessions import Sessions, key_of
from tests.unit.fakes import FakeConnections, FakeLambda
from tests.unit.front.visitor import Play, error, kinds


def test_a_line_in_the_story_sends_for_the_storyteller_and_a_second_does_not(story: Play) -> None:
    before = len(story.aws_lambda.sent)
    story.do("say", text="One")
    story.do("say", text="Two")
    assert len(story.aws_lambda.sent) == before + 1


def test_a_lost_storyteller_is_told_of_and_sent_for_again(story: Play) -> None:
    story.send("say", id="x", text="On")
    sent = story.aws_lambda.sent[-1]
    record = {"requestContext": {"condition": "RetriesExhausted"}, "requestPayload": sent}
    story.invoker.settle(record)
    told = story.connections.take()
    assert kinds(told) == ["Error", "Wake"]
    assert isinstance(told[0], protocol.Error)
    assert (told[0].code, told[0].to, told[0].retryable) == ("storyteller_lost", "x", True)
    again = story.aws_lambda.sent[-1]
    assert again["token"] != sent["token"]
    story.invoker.settle(record)
    assert story.aws_lambda.sent[-1] == again, "the record came twice"
    story.invoker.settle({**record, "requestPayload": again})
    told = story.connections.take()
    assert kinds(told) == ["Error", "End"]
    assert isinstance(told[0], protocol.Error)
    assert told[0].code == "given_up"
    assert story.aws_lambda.sent[-1] == again, "given up after two tries"
    story.do("say", text="Something else")
    assert story.aws_lambda.sent[-1] != again


def test_a_storyteller_that_cannot_be_sent_for(story: Play) -> None:
    story.aws_lambda.refuse = ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
    wake, refused = story.do("say", text="On")
    assert wake == protocol.Wake("failed")
    assert isinstance(refused, protocol.Error)
    assert refused.retryable
    story.aws_lambda.refuse = None
    story.do("say", text="And on")
    assert [line.failures for line in story.sessions.read(story.key).inbox] == [0, 0], "the first line is kept"


def test_beyond_the_concurrency_the_visitor_hears_their_place(
    sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda
) -> None:
    play = Play(sessions, connections, aws_lambda, concurrency=1)
    play.hello("c1")
    first = aws_lambda.sent[-1]
    assert protocol.Wake("queued", position=1) in play.hello("c2")
    assert protocol.Wake("queued", position=2) in play.hello("c3")
    third = play.secret
    assert len(aws_lambda.sent) == 1

    fence = sessions.update(first["session"], lambda tx: leases.confirm(tx, first["token"], play.settings)) or ""
    sessions.update(first["session"], lambda tx: leases.release(tx, fence))
    play.invoker.settle({"requestContext": {"condition": "Success"}, "requestPayload": first})
    assert len(aws_lambda.sent) == 2
    assert connections.take("c2") == [protocol.Wake("waking", progress=0.0)]
    assert connections.take("c3") == [protocol.Wake("queued", position=1)]
    actions.leave(play.front, "c3")
    assert sessions.waiting_line.heads() == []
    assert sessions.read(key_of(third)).connection is None


def test_wakes_are_capped_per_address(sessions: Sessions, connections: FakeConnections, aws_lambda: FakeLambda) -> None:
    play = Play(sessions, connections, aws_lambda, wakes_per_day=2)
    for n in range(2):
        play.hello(f"c{n}")
    got = play.hello("c9")
    assert kinds(got) == ["Welcome", "Wake", "Error", "Beat"]
    assert isinstance(got[2], protocol.Error)
    assert got[2].code == "wakes_exhausted"
    assert error(play.send("skip", connection="c9", id="s")).code == "wakes_exhausted"
    assert isinstance(play.send("say", connection="c9", id="q", text="What can you do?")[1], protocol.Answer)
    assert len(aws_lambda.sent) == 2

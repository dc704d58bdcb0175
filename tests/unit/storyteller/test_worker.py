"""One invocation of the storyteller, with a stand-in for the engine: waking, telling, giving back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aws_lambda_powertools import Metrics

from overture import leases, protocol
from overture.connections import PostFailed
from overture.counters import read_ledger
from overture.sessions import Session, Sessions, SessionTransaction
from overture.settings import Settings
from overture.table import Conflict, Put
from prologue.prompt import fixed_messages
from prologue.world import load_world
from storyteller.engine import Completion, EngineError, Sampling
from storyteller.model_loader import ModelLoader
from storyteller.worker import ReplyWorker
from tests.unit.fakes import FakeConnections, MemoryClient, put_session

WORLD = load_world(Path("prologue/worlds/emerald_city"))
SETTINGS = Settings(gather_s=0.01, grace_s=0.2)


class FakeEngine:
    """Tells a fixed story, a word at a time, and remembers its prompts."""

    context = 1024

    def __init__(self, words: list[str] | None = None) -> None:
        self.defaults: dict[str, float] = {}
        self.words = words or ["You ", "stand ", "at ", "the ", "gate."]
        self.prompts: list[list[dict[str, str]]] = []
        self.went_on: list[bool] = []
        self.sampled: list[Sampling] = []
        self.between: Callable[[], None] = lambda: None
        self.error: Exception | None = None
        self.reason: Any = "stop"

    def count_chat(self, messages: list[dict[str, str]]) -> int:
        return sum(len(message["content"].split()) for message in messages)

    def encode(self, text: str) -> list[int]:
        return [0] * len(text.split())

    def encode_chat(self, messages: list[dict[str, str]], go_on: bool = False) -> list[int]:
        self.prompts.append(messages)
        self.went_on.append(go_on)
        return [0] * self.count_chat(messages)

    def generate(
        self,
        ids: list[int],
        sampling: Sampling,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
        deadline: float | None = None,
    ) -> Completion:
        self.sampled.append(sampling)
        if self.error is not None:
            raise self.error
        told = 0
        reason = self.reason
        for word in self.words:
            if cancelled():
                reason = "cancelled"
                break
            if deadline is not None and time.monotonic() > deadline:
                reason = "deadline"
                break
            emit(word)
            told += 1
            self.between()
        return Completion("".join(self.words[:told]), reason, told, len(ids), 0, 0.01, 0.02)


class Shift:
    """Invokes the storyteller for a session as Lambda would."""

    def __init__(self, sessions: Sessions, connections: FakeConnections) -> None:
        self.sessions, self.connections = sessions, connections
        self.key = put_session(sessions, in_story=True, profile={"name": "Nim"})
        self.engine = FakeEngine()
        self.remaining_s = 900.0
        self.settings = SETTINGS

    def say(self, turn_id: str, said: str = "I knock.", notes: Sequence[str] = ()) -> str | None:
        def put(tx: SessionTransaction) -> str:
            leases.append(tx, tx.add_turn(turn_id, said, notes=notes))
            return leases.reserve(tx, self.settings).token

        return self.sessions.update(self.key, put)

    def work(self, token: str | None, loader: ModelLoader | None = None) -> None:
        assert token is not None
        ReplyWorker(
            self.settings,
            self.sessions,
            self.connections,
            WORLD,
            Metrics(namespace="Test", service="storyteller"),
            key=self.key,
            token=token,
            memory_mb=10240,
            remaining_s=lambda: self.remaining_s,
        ).work(loader or ModelLoader(lambda note: self.engine))  # type: ignore[arg-type, return-value]

    def story(self) -> list[str]:
        """What the last prompt holds after the messages that are the same for everybody."""
        return [message["content"] for message in self.engine.prompts[-1][len(fixed_messages(WORLD)) :]]

    def reply(self, turn_id: str) -> tuple[str, str]:
        (turn,) = [turn for turn in self.sessions.turns(self.key) if turn.id == turn_id]
        return turn.reply, turn.state


@pytest.fixture
def shift(sessions: Sessions, connections: FakeConnections) -> Shift:
    return Shift(sessions, connections)


def ends(messages: list[protocol.ServerMessage]) -> list[protocol.End]:
    return [message for message in messages if isinstance(message, protocol.End)]


def text(messages: list[protocol.ServerMessage], turn_id: str) -> str:
    tokens = [message for message in messages if isinstance(message, protocol.Token) and message.to == turn_id]
    shown = ""
    for token in tokens:
        assert token.at <= len(shown)
        shown = shown[: token.at] + token.text
    return shown


def test_it_wakes_tells_the_line_and_gives_the_lease_back(shift: Shift) -> None:
    shift.work(shift.say("a"))
    posted = shift.connections.take()
    assert protocol.Wake("ready", progress=1.0) in posted
    assert text(posted, "a") == "You stand at the gate."
    (end,) = ends(posted)
    assert (end.to, end.take, end.reason, end.stats.tokens) == ("a", 1, "stop", 5)
    assert 0 < end.stats.used.mwh_bounds[0] < end.stats.used.mwh < end.stats.used.mwh_bounds[1]
    assert end.visit is not None
    assert end.visit.usd > end.stats.used.usd > 0, "a start and the invocation count for the visit"
    assert shift.reply("a") == ("You stand at the gate.", "done")
    session = shift.sessions.read(shift.key)
    assert (session.lease, session.inbox, session.wake.state) == (None, [], "ready")
    ledger = read_ledger(shift.sessions.table)
    assert (ledger.replies, ledger.tokens) == (1, 5)
    assert session.ledger == ledger


def test_the_prompt_has_the_profile_and_the_story_so_far_without_written_answers(shift: Shift) -> None:
    shift.work(shift.say("a", "I knock."))
    shift.sessions.update(shift.key, lambda tx: tx.add_turn("q", "What can you do?", reply="Tell.", state="answered"))
    shift.work(shift.say("b", "I go in."))
    assert shift.story() == ["My name: Nim\n\nI knock.", "You stand at the gate.", "I go in."]


def test_what_the_world_knows_stands_before_the_line_within_its_budget(shift: Shift) -> None:
    shift.settings = msgspec.structs.replace(SETTINGS, knowledge_tokens=5)
    shift.work(shift.say("a", notes=["The bell is silver.", "Nobody rings.", "It is deaf."]))
    (end,) = ends(shift.connections.take())
    assert end.notes == ["The bell is silver."], "the nearest first, the others do not fit"
    shift.settings = msgspec.structs.replace(SETTINGS, knowledge_tokens=100)
    shift.work(shift.say("b", "I go in."))
    first, second = shift.engine.prompts
    assert first[-1]["content"] == "My name: Nim\n\n(The bell is silver.)\n\nI knock."
    assert second[: len(first)] == first, "the next prompt begins with this one, whatever the budget is by then"


def test_a_long_story_keeps_within_the_context(shift: Shift) -> None:
    shift.engine.words = ["word "] * 200
    for n in range(8):
        shift.work(shift.say(f"t{n}"))
    assert all(shift.engine.count_chat(messages) <= 1024 - 320 for messages in shift.engine.prompts)
    assert len(shift.engine.prompts[-1]) > 3, "and still has some of the story"


def test_all_lines_that_wait_are_told_by_one_invocation_in_order(shift: Shift) -> None:
    token = shift.say("a")
    shift.say("b")

    def say_another() -> None:
        shift.engine.between = lambda: None
        shift.say("c")

    shift.engine.between = say_another
    shift.work(token)
    assert [end.to for end in ends(shift.connections.take())] == ["a", "b", "c"]


def test_a_doubled_or_stale_delivery_does_nothing(shift: Shift) -> None:
    token = shift.say("a")
    shift.work(token)
    before = shift.sessions.read(shift.key)
    shift.connections.take()
    shift.work(token)
    shift.work("stale")
    assert shift.connections.take() == []
    assert shift.sessions.read(shift.key) == before
    assert len(shift.engine.prompts) == 1


def test_a_session_that_changes_all_the_time_keeps_the_storyteller_waiting_but_not_out(shift: Shift) -> None:
    token = shift.say("a")
    left = 20

    def rush(sessions: Sessions, key: str) -> None:
        nonlocal left
        left -= 1
        if left > 0:
            session, version = Sessions._read(sessions, key)
            session.profile = {"name": str(left)}
            sessions.table.write(Put(f"S#{key}", "session", msgspec.json.encode(session), version, sessions.life_s))

    class Rushed(Sessions):
        """Somebody else writes between every one of our reads and the write that follows."""

        def _read(self, key: str) -> tuple[Session, int]:
            read = super()._read(key)
            rush(self, key)
            return read

    shift.sessions = Rushed(shift.sessions.table)
    shift.work(token)
    assert left <= 0
    assert [end.to for end in ends(shift.connections.take())] == ["a"]


def test_waking_goes_on_when_a_note_of_it_cannot_be_written(shift: Shift, monkeypatch: pytest.MonkeyPatch) -> None:
    token = shift.say("a")
    noted: list[str] = []
    note = ReplyWorker._note_wake

    def refuse_once(telling: ReplyWorker, state: Any) -> Session:
        noted.append(state.state)
        if len(noted) == 1:
            raise Conflict
        return note(telling, state)

    monkeypatch.setattr(ReplyWorker, "_note_wake", refuse_once)
    awake = threading.Event()
    threading.Timer(0.5, awake.set).start()

    def load(note: Callable[[int, int], None]) -> FakeEngine:
        awake.wait()
        return shift.engine

    shift.work(token, ModelLoader(load))  # type: ignore[arg-type]
    assert noted == ["waking", "ready"]
    assert shift.reply("a")[1] == "done"


def test_two_deliveries_at_once_are_told_once(shift: Shift) -> None:
    token = shift.say("a")
    shift.engine.between = lambda: time.sleep(0.02)
    threads = [threading.Thread(target=shift.work, args=(token,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    posted = shift.connections.take()
    assert len(ends(posted)) == 1
    assert len(shift.engine.prompts) == 1


def test_stop_is_heard_in_the_middle(shift: Shift) -> None:
    shift.engine.words = ["word "] * 500

    def stop() -> None:
        shift.sessions.update(shift.key, lambda tx: setattr(tx.session, "stop", "a"))
        shift.engine.between = lambda: time.sleep(0.01)

    shift.engine.between = stop
    shift.work(shift.say("a"))
    (end,) = ends(shift.connections.take())
    assert end.reason == "cancelled"
    reply, state = shift.reply("a")
    assert state == "stopped"
    assert 0 < reply.count("word") < 500
    assert shift.sessions.read(shift.key).stop is None


def test_whoever_is_fenced_says_no_more(shift: Shift) -> None:
    shift.engine.words = ["word "] * 300
    token = shift.say("a")

    def lose() -> None:
        shift.sessions.update(shift.key, lambda tx: leases.settle(tx, token or "", shift.settings, failed=True))
        shift.connections.take()
        shift.engine.between = lambda: time.sleep(0.01)

    shift.engine.between = lose
    shift.work(token)
    assert ends(shift.connections.take()) == []
    session = shift.sessions.read(shift.key)
    assert session.lease is not None, "the new reservation is untouched"
    assert [line.turn for line in session.inbox] == ["a"]
    assert shift.reply("a")[1] == "telling"


def test_nobody_listens_for_the_grace_and_the_text_is_kept(shift: Shift) -> None:
    shift.engine.words = ["word "] * 500
    shift.engine.between = lambda: time.sleep(0.01)
    shift.connections.gone.add("c1")
    token = shift.say("a")
    shift.say("b")
    shift.work(token)
    reply, state = shift.reply("a")
    assert state == "stopped"
    assert 0 < reply.count("word") < 500
    session = shift.sessions.read(shift.key)
    assert session.lease is None
    assert [line.turn for line in session.inbox] == ["b"], "kept for when the visitor is back"


def test_near_its_end_an_invocation_leaves_the_line_to_the_next(shift: Shift) -> None:
    token = shift.say("a")
    shift.remaining_s = 20
    shift.work(token)
    assert shift.engine.prompts == []
    left = shift.sessions.update(shift.key, lambda tx: leases.settle(tx, token or "", shift.settings, failed=False))
    assert left.reservation.state == "reserved"


def go_on(tx: SessionTransaction) -> Any:
    turn = tx.turn(1)
    assert turn is not None
    turn.base, turn.state = len(turn.reply), "waiting"
    tx.put(turn)
    leases.append(tx, turn)
    return leases.reserve(tx, SETTINGS).token


def test_a_reply_that_was_cut_goes_on_in_the_middle(shift: Shift) -> None:
    shift.engine.reason = "length"
    shift.work(shift.say("a"))
    shift.connections.take()
    shift.engine.words = [" It ", "opens."]
    shift.work(shift.sessions.update(shift.key, go_on))
    assert shift.engine.went_on == [False, True]
    assert shift.engine.prompts[-1][-1] == {"role": "assistant", "content": "You stand at the gate."}
    tokens = [message for message in shift.connections.take() if isinstance(message, protocol.Token)]
    assert tokens[0].at == len("You stand at the gate.")
    assert shift.reply("a") == ("You stand at the gate. It opens.", "done")


def test_every_line_is_held_to_the_form_of_the_world_from_where_it_stands(shift: Shift) -> None:
    shift.engine.reason = "length"
    shift.work(shift.say("a"))
    shift.work(shift.sessions.update(shift.key, go_on))
    first, continued = shift.engine.sampled
    assert WORLD.reply is not None
    assert first.grammar is not None
    assert first.grammar.text == WORLD.reply.first_part()
    assert (first.begun, continued.begun) == ("", "You stand at the gate.")
    assert continued.grammar is not None


def test_a_reply_is_drawn_as_the_model_says_unless_a_setting_does(shift: Shift) -> None:
    shift.work(shift.say("a"))
    shift.engine.defaults = {"temperature": 0.3, "top_k": 5, "min_p": 0.2}
    shift.settings = msgspec.structs.replace(SETTINGS, temperature=1.0)
    shift.work(shift.say("b"))
    story, told = shift.engine.sampled
    assert (story.temperature, story.top_p, story.top_k, story.min_p) == (0.7, 0.9, 0, 0.05)
    assert (told.temperature, told.top_p, told.top_k, told.min_p) == (1.0, 0.9, 5, 0.2)


def test_a_reply_that_had_ended_gets_another_paragraph(shift: Shift) -> None:
    shift.work(shift.say("a"))
    shift.engine.words = ["It ", "opens."]
    shift.work(shift.sessions.update(shift.key, go_on))
    assert shift.engine.went_on == [False, False]
    assert shift.story() == ["My name: Nim\n\nI knock.", "You stand at the gate.", "Go on."]
    assert shift.reply("a") == ("You stand at the gate.\n\nIt opens.", "done")


def test_a_line_the_engine_refuses_ends_with_its_reason(shift: Shift) -> None:
    shift.engine.error = EngineError("The prompt is too long; shorten it.")
    shift.work(shift.say("a"))
    posted = shift.connections.take()
    errors = [message for message in posted if isinstance(message, protocol.Error)]
    assert [(error.code, error.message, error.to) for error in errors] == [
        ("engine", "The prompt is too long; shorten it.", "a")
    ]
    assert [end.reason for end in ends(posted)] == ["error"]
    assert shift.reply("a") == ("", "failed")


def test_while_it_wakes_the_visitor_hears_true_progress_and_the_lease_lives(shift: Shift) -> None:
    go = threading.Event()

    def load(note: Callable[[int, int], None]) -> Any:
        note(25, 100)
        go.wait(10)
        return shift.engine

    token = shift.say("a")
    worker = threading.Thread(target=shift.work, args=(token, ModelLoader(load)))
    worker.start()
    time.sleep(1.6)
    session = shift.sessions.read(shift.key)
    assert session.lease is not None
    assert session.lease.fence is not None
    assert (session.wake.state, session.wake.progress) == ("waking", 0.25)
    go.set()
    worker.join()
    wakes = [message for message in shift.connections.take() if isinstance(message, protocol.Wake)]
    assert len(wakes) >= 3
    assert [wake.state for wake in wakes] == ["waking"] * (len(wakes) - 1) + ["ready"]
    assert wakes[0].progress == 0.25
    assert wakes[0].eta_s is not None


def test_a_start_that_no_line_followed_belongs_to_the_session_that_caused_it(shift: Shift) -> None:
    def load(note: Callable[[int, int], None]) -> Any:
        while not shift.connections.posted:  # that it wakes: so the invocation is there
            threading.Event().wait(0.01)
        return shift.engine

    token = shift.sessions.update(shift.key, lambda tx: leases.reserve(tx, shift.settings).token)
    shift.work(token, ModelLoader(load))
    ledger = shift.sessions.read(shift.key).ledger
    assert ledger.starts == 1
    assert ledger == read_ledger(shift.sessions.table)


def test_nobody_waits_for_the_waking_any_more(shift: Shift) -> None:
    token = shift.sessions.update(shift.key, lambda tx: leases.reserve(tx, shift.settings)).token
    shift.sessions.update(shift.key, lambda tx: setattr(tx.session, "connection", None))
    never = threading.Event()

    def load(note: Callable[[int, int], None]) -> Any:
        never.wait(60)
        return shift.engine

    shift.work(token, ModelLoader(load))
    never.set()
    assert shift.sessions.read(shift.key).lease is None


def test_a_model_that_cannot_be_loaded_fails_the_invocation(shift: Shift) -> None:
    def load(note: Callable[[int, int], None]) -> Any:
        raise EngineError("models/mine has no config.json; pack the model again.")

    with pytest.raises(EngineError, match=r"no config\.json"):
        shift.work(shift.say("a"), ModelLoader(load))
    assert protocol.Wake("ready", progress=1.0) not in shift.connections.take()


def test_the_estimate_never_jumps_back() -> None:
    go = threading.Event()
    steps = [(5, 0.05), (10, 0.3), (50, 0.1), (55, 0.4), (90, 0.05)]

    def load(note: Callable[[int, int], None]) -> Any:
        for done, pause in steps:
            time.sleep(pause)
            note(done, 100)
        go.wait(10)
        return object()

    loader = ModelLoader(load)
    fractions = []
    while not loader.wait(0.02):
        fractions.append(loader.progress().fraction)
        if fractions[-1] >= 0.9:
            go.set()
    assert fractions == sorted(fractions)
    assert loader.progress().fraction == 1.0


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_a_post_that_fails_ends_nothing(shift: Shift, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    posts = 0
    post = FakeConnections.try_post

    def fail_once(connections: FakeConnections, connection: str, message: protocol.ServerMessage) -> None:
        nonlocal posts
        posts += 1
        if posts == place:
            raise PostFailed("500 InternalServerError")
        post(connections, connection, message)

    monkeypatch.setattr(FakeConnections, "try_post", fail_once)
    shift.work(shift.say("a"))
    posted = shift.connections.take()
    assert text(posted, "a") == "You stand at the gate."
    assert [end.to for end in ends(posted)] == ["a"]


def test_a_gateway_in_trouble_ends_no_reply(shift: Shift) -> None:
    token = shift.say("a")
    shift.connections.failing = 10**9
    shift.work(token)
    assert shift.reply("a") == ("You stand at the gate.", "done")


def test_a_line_whose_turn_is_gone_is_dropped_with_an_error(shift: Shift) -> None:
    token = shift.say("a")
    shift.say("b")
    shift.sessions.table.take(f"S#{shift.key}", "turn#000001")
    shift.work(token)
    posted = shift.connections.take()
    errors = [(message.code, message.to) for message in posted if isinstance(message, protocol.Error)]
    assert errors == [("turn_lost", "a")]
    assert [end.to for end in ends(posted)] == ["b"]
    assert shift.sessions.read(shift.key).inbox == []


def test_a_reply_outlasts_a_table_that_is_away(
    shift: Shift, client: MemoryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overture.sessions._PATIENCE_S", 0.2)
    shift.engine.words = [f"w{n} " for n in range(60)]
    token = shift.say("a")
    told = 0

    def go_away_for_a_while() -> None:
        nonlocal told
        told += 1
        client.down = 10 < told < 40
        time.sleep(0.02)

    shift.engine.between = go_away_for_a_while
    shift.work(token)
    reply, state = shift.reply("a")
    assert state == "done"
    assert reply == "".join(shift.engine.words)
    assert text(shift.connections.take(), "a") == reply


def test_the_end_is_kept_until_the_lease_is_given_back(shift: Shift) -> None:
    kept: list[str | None] = []
    post = shift.connections.try_post

    def look(connection: str, message: protocol.ServerMessage) -> None:
        if isinstance(message, protocol.End):
            ended = shift.sessions.read(shift.key).ended
            kept.append(None if ended is None else ended.to)
        post(connection, message)

    shift.connections.try_post = look  # type: ignore[method-assign]
    shift.work(shift.say("a"))
    assert kept == ["a"]
    assert shift.sessions.read(shift.key).ended is None

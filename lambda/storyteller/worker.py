"""ReplyWorker: what one invocation of the storyteller does for one session.

It confirms its lease, tells the visitor how the waking goes, tells every line of the inbox as a
stream of tokens, and gives the lease back. Whenever the lease turns out to be another's it stops
without a word.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from overture import leases, protocol
from overture.accounting.costs import Deployment, of_reply, of_visit
from overture.accounting.grid import grid
from overture.accounting.ledger import Ledger
from overture.connections import Connections
from overture.counters import add_to_ledger
from overture.leases import Fenced, Taken
from overture.reply_stream import Heard, ReplyStream
from overture.sessions import NoSession, Session, Sessions, SessionTransaction, Turn, WakeStatus
from overture.settings import FRONT_MB, Settings
from overture.table import Conflict, Unavailable
from prologue.prompt import Told, compose_within, fit_notes
from prologue.prompt import Turn as StoryTurn
from prologue.world import World
from storyteller.model_loader import ModelLoader

if TYPE_CHECKING:
    from storyteller.engine import Completion, Engine, Grammar

logger = Logger(child=True)

#: While it wakes, the visitor hears of it this often, and the session (and its lease) this often.
_TOLD_S, _NOTED_S = 1.0, 2.0
#: A reply stops this long before the invocation's own end, so that it can still be kept.
_CLOSING_S = 10.0
#: With less time than this left no line is begun: the next invocation takes it.
_WORTHWHILE_S = 45.0
_LINGER_STEP_S = 0.25
#: What a visitor says who has nothing to say: a reply that had come to its end is continued with it.
_GO_ON = "Go on."
_PARAGRAPH = "\n\n"
_DROPPED = "This line was lost before it could be told. Say it again, or go on."
#: The oldest turns beyond this never reach the prompt; the token budget drops more.
_TURNS = 200


class ReplyWorker:
    """One invocation's work for the session `key`, under the reservation `token`."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        connections: Connections,
        world: World,
        metrics: Metrics,
        *,
        key: str,
        token: str,
        memory_mb: int,
        remaining_s: Callable[[], float],
    ) -> None:
        self._settings, self._sessions, self._connections = settings, sessions, connections
        self._world, self._metrics = world, metrics
        self._key, self._token = key, token
        self._deployment = Deployment(memory_mb, FRONT_MB, grid(settings.region))
        #: What was used since it was last written down.
        self._unwritten = Ledger()
        self._remaining_s = remaining_s
        self._fence = ""
        self._connection: str | None = None

    def work(self, loader: ModelLoader) -> None:
        """Does it all. Raises what loading raised; a lost lease ends it silently."""
        try:
            confirmed = self._confirm()
            self._metrics.add_metric("LeasesTaken" if confirmed else "StaleDeliveries", MetricUnit.Count, 1)
            if not confirmed:
                logger.info("this delivery is stale or doubled")
                return
            began = time.monotonic()
            is_cold = not loader.wait(0)
            awake = self._wake(loader)
            if is_cold:
                self._unwritten += Ledger(start_s=time.monotonic() - began, starts=1)
            if awake:
                self._tell_lines(loader.engine)
            self._write_down()
        except (Fenced, NoSession):
            logger.info("the lease is another's now")

    def _confirm(self) -> bool:
        def confirm(tx: SessionTransaction) -> tuple[str | None, str | None]:
            return leases.confirm(tx, self._token, self._settings), tx.session.connection

        fence, self._connection = self._sessions.update(self._key, confirm)
        self._fence = fence or ""
        return fence is not None

    # --- waking -----------------------------------------------------------------------

    def _wake(self, loader: ModelLoader) -> bool:
        """Waits for the engine, telling how far it is; False when nobody waits any more."""
        told_at = noted_at = float("-inf")
        alone_since: float | None = None
        while not loader.wait(0.1):
            now = time.monotonic()
            if now - told_at < _TOLD_S:
                continue
            told_at = now
            progress = loader.progress()
            fraction = round(progress.fraction, 3)
            eta_s = None if progress.eta_s is None else round(progress.eta_s, 1)
            if now - noted_at >= _NOTED_S:
                noted_at = now
                try:
                    session = self._note_wake(WakeStatus("waking", fraction, eta_s))
                except (Conflict, Unavailable):
                    # A visitor busy enough to be in the way each time, or the table away: the next note will do.
                    logger.warning("how the waking goes could not be noted")
                    continue
                alone_since = None if session.connection else alone_since or now
                if alone_since and now - alone_since > self._settings.grace_s and self._give_back():
                    logger.info("nobody waits for the storyteller any more")
                    return False
            self._post(protocol.Wake("waking", progress=fraction, eta_s=eta_s))
        loader.engine  # noqa: B018  raises what loading raised, before anybody is told "ready"
        self._note_wake(WakeStatus("ready", 1.0))
        self._post(protocol.Wake("ready", progress=1.0))
        return True

    def _note_wake(self, state: WakeStatus) -> Session:
        def note(tx: SessionTransaction) -> Session:
            leases.renew(tx, self._fence, self._settings)
            tx.session.wake = WakeStatus(
                state.state,
                state.progress,
                state.eta_s,
                failures=0 if state.state == "ready" else tx.session.wake.failures,
            )
            return tx.session

        session = self._sessions.update(self._key, note)
        self._connection = session.connection
        return session

    # --- lines ------------------------------------------------------------------------

    def _tell_lines(self, engine: Engine) -> None:
        idle_since = time.monotonic()
        while True:
            if self._remaining_s() < _WORTHWHILE_S:
                # With lines left the lease stays: the record's settling finds it, and invokes the next.
                self._give_back()
                return
            taken = self._take_line()
            for lost in taken.dropped:
                self._post(protocol.Error("turn_lost", _DROPPED, retryable=False, to=lost))
            if taken.turn is not None:
                abandoned = self._tell(engine, taken.turn)
                if abandoned:
                    self._give_back(only_if_idle=False)
                    return
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since < self._settings.linger_s:
                time.sleep(_LINGER_STEP_S)
                self._unwritten += Ledger(linger_s=_LINGER_STEP_S)
            elif self._give_back():
                return

    def _take_line(self) -> Taken:
        def take(tx: SessionTransaction) -> tuple[Taken, str | None]:
            return leases.take_line(tx, self._fence, self._settings), tx.session.connection

        taken, self._connection = self._sessions.update(self._key, take)
        return taken

    def _tell(self, engine: Engine, turn: Turn) -> bool:
        """Tells one line; True when the visitor was gone for longer than the grace."""
        from storyteller.engine import EngineError, Sampling

        settings = self._settings
        listener = _Listener(self._sessions, self._key, self._fence, turn, self._connection, settings)
        stream = ReplyStream(
            self._connections,
            listener,
            to=turn.id,
            take=turn.take,
            base=turn.reply,
            connection=self._connection,
            gather_s=settings.gather_s,
            grace_s=settings.grace_s,
            resend=turn.take > 1 and turn.base > 0,
        )
        done: Completion | None = None
        try:
            # kept, so that later prompts say the same
            turn.notes = fit_notes(turn.notes, self._settings.knowledge_tokens, lambda text: len(engine.encode(text)))
            prompt, begun = self._prompt(engine, turn)
            grammar, begun = _form(self._world, begun)
            if _had_ended(turn):
                stream.write(_PARAGRAPH)
            done = engine.generate(
                prompt,
                Sampling(
                    **settings.sampling(engine.defaults),
                    seed=None,
                    max_tokens=settings.max_tokens,
                    grammar=grammar,
                    begun=begun,
                ),
                emit=stream.write,
                cancelled=stream.cancelled.is_set,
                deadline=time.monotonic() + max(0.0, self._remaining_s() - _CLOSING_S),
            )
        except EngineError as error:
            logger.exception("the engine refused a line")
            self._post(protocol.Error("engine", str(error), retryable=False, to=turn.id))
        finally:
            stream.close()
        if stream.cut is not None:
            raise stream.cut
        self._connection = stream.connection
        self._finish(turn, stream, done)
        return stream.abandoned

    def _prompt(self, engine: Engine, turn: Turn) -> tuple[list[int], str]:
        """The prompt's ids, and the part of the reply that it ends with."""
        turns = [told for told in reversed(self._sessions.turns(self._key, limit=_TURNS)) if told.state != "answered"]
        turns = [told for told in turns if told.seq < turn.seq]
        profile = self._sessions.read(self._key).profile
        # A reply that was cut goes on in the middle of its sentence; one that ended gets a new paragraph.
        asked: list[Told] = [*turns, turn]
        if _had_ended(turn):
            asked.append(StoryTurn(_GO_ON))
        room = engine.context - self._settings.max_tokens
        messages = compose_within(self._world, profile, asked, room, engine.count_chat)
        go_on = messages[-1]["role"] == "assistant"
        return engine.encode_chat(messages, go_on=go_on), messages[-1]["content"] if go_on else ""

    def _finish(self, turn: Turn, stream: ReplyStream, done: Completion | None) -> None:
        reason: protocol.EndReason = done.reason if done is not None else "error"
        turn.reply, turn.reason = stream.reply, reason
        state = {"cancelled": "stopped", "error": "failed"}.get(reason, "done")

        ttft_s, total_s = (done.ttft_s or 0.0, done.total_s) if done else (0.0, 0.0)
        stats = of_reply(
            tokens=done.tokens if done else 0,
            prompt_tokens=done.prompt_tokens if done else 0,
            reused_tokens=done.reused_tokens if done else 0,
            ttft_s=ttft_s,
            total_s=total_s,
            deployment=self._deployment,
        )
        if done is not None and done.tokens:
            used = Ledger(prefill_s=ttft_s, decode_s=total_s - ttft_s, replies=1, tokens=done.tokens)
            self._unwritten += used

        def finish(tx: SessionTransaction) -> protocol.End:
            tx.session.ledger += self._unwritten
            visit = of_visit(tx.session.ledger, self._deployment)
            end = protocol.End(turn.id, turn.take, reason, stats, turn.notes, visit)
            leases.finish_line(tx, self._fence, turn, state, end, self._settings)  # type: ignore[arg-type]
            return end

        self._post(self._sessions.update(self._key, finish))
        self._write_down()
        if done is not None and done.tokens:
            self._metrics.add_metric("MilliwattHours", MetricUnit.NoUnit, stats.used.mwh)
            self._metrics.add_metric("MilligramsCO2e", MetricUnit.NoUnit, stats.used.gco2e * 1000)
            self._metrics.add_metric("Replies", MetricUnit.Count, 1)
            self._metrics.add_metric("Tokens", MetricUnit.Count, stats.tokens)
            self._metrics.add_metric("TimeToFirstToken", MetricUnit.Milliseconds, stats.ttft_ms)

    def _write_down(self) -> None:
        """Adds what was used to the ledger of the deployment; the session's has it already."""
        used, self._unwritten = self._unwritten, Ledger()
        if used == Ledger():
            return
        try:
            add_to_ledger(self._sessions.table, used)
        except Unavailable:
            logger.warning("what was used is not in the ledger")

    def _give_back(self, *, only_if_idle: bool = True) -> bool:
        def release(tx: SessionTransaction) -> bool:
            released = leases.release(tx, self._fence, only_if_idle=only_if_idle)
            if released:  # a start that no line followed, or what was lingered since the last one
                tx.session.ledger += self._unwritten
            return released

        return self._sessions.update(self._key, release)

    def _post(self, message: protocol.ServerMessage) -> None:
        """Posts to the connection last heard of; if it is gone, to the one the session has now."""
        if not self._connections.post(self._connection, message):
            connection = self._sessions.read(self._key).connection
            if connection != self._connection and self._connections.post(connection, message):
                self._connection = connection


def _form(world: World, begun: str) -> tuple[Grammar | None, str]:
    """The grammar of the world's replies, and the part of `begun` that it has to read."""
    from storyteller.engine import Grammar

    form = world.reply
    if form is None:
        return None, ""
    return Grammar("lark", *form.parts()), form.begun(begun)


def _had_ended(turn: Turn) -> bool:
    return bool(turn.reply) and turn.reason == "stop"


class _Listener:
    """What a reply's stream asks of its session; raises `Fenced` when that is not ours any more.

    While the table does not answer the reply goes on, for as long as the lease that was last renewed holds.
    """

    def __init__(
        self, sessions: Sessions, key: str, fence: str, turn: Turn, connection: str | None, settings: Settings
    ) -> None:
        self._sessions, self._key, self._fence = sessions, key, fence
        self._turn, self._settings = turn, settings
        self._renewed_at = time.monotonic()
        self._heard = Heard(connection, False)

    def hear(self) -> Heard:
        try:
            session = self._sessions.read(self._key)
        except Unavailable:
            self._check_lease()
            return self._heard
        if session.lease is None or session.lease.fence != self._fence:
            raise Fenced
        self._heard = Heard(session.connection, session.stop == self._turn.id)
        return self._heard

    def save(self, reply: str) -> None:
        self._turn.reply = reply
        try:
            self._sessions.save_turn(self._key, self._turn, writer=self._fence)
            if time.monotonic() - self._renewed_at > self._settings.lease_s / leases.RENEWALS:
                self._sessions.update(self._key, lambda tx: leases.renew(tx, self._fence, self._settings))
                self._renewed_at = time.monotonic()
        except Conflict:
            raise Fenced from None
        except Unavailable:
            self._check_lease()

    def _check_lease(self) -> None:
        if time.monotonic() - self._renewed_at > self._settings.lease_s:
            raise Fenced

"""The simulation: visits through sessions, leases, slots and environments, event by event.

The semantics are those of the code that runs:
- `hello` reserves the lease and wakes the storyteller; the prologue goes on meanwhile. At its end the opening line is
  put in the inbox; a storyteller that is still waking takes it once it is ready, else one is invoked
  (overture/leases.py).
- At most `cap` storytellers work; further sessions wait in line, and who frees a slot hands it to the head. A session
  whose visitor has left is passed over.
- An invocation goes to the environment that was idle last, else to a new one that must start; an environment that was
  idle for `keep_s` is gone (local/aws/functions/pool.py, and Lambda as it is observed).
- After a reply the lease is given back, after `linger_s` if no line came.
- A visitor who has left is told to for `grace_s` more.
- The kill switch turns the storyteller off at `ceiling_gb_s` in 24 hours; an operator needs `off_s` to turn it on.

It is a loop over a heap: a million visits of ten lines are 22 million events, and SimPy takes nine times as long for
each.
tests/unit/planner holds it against Erlang C, against Little's law and against a second implementation in SimPy.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush

from planner.simulation.arrivals import Visitor
from planner.simulation.entities import Environment, KillSwitch, Session
from planner.simulation.system import Outcome, System

_HELLO, _LINE, _STARTED, _REPLIED, _LINGERED, _STREAM, _LEFT, _HANDED = range(8)


def simulate(system: System, visitors: Iterable[Visitor]) -> Outcome:
    """Plays all visits to their end. Visitors come in the order of their times."""
    return _Run(system).play(visitors)


class _Run:
    def __init__(self, system: System) -> None:
        self.system = system
        self.out = Outcome()
        self.heap: list[tuple[float, int, int, Session | None, int]] = []
        self.count = 0
        self.at_work = 0
        self.queue: deque[Session] = deque()
        self.queue_changed = 0.0
        self.waiting = 0
        self.idle: deque[Environment] = deque()
        self.ready: list[Environment] = [Environment(True) for _ in range(system.provisioned)]
        self.machines = [Environment(True) for _ in range(system.machines)]
        self.cap = system.machines * system.streams if system.machines else system.cap or 1 << 60
        self.kill_switch = KillSwitch(system, self.out.kills)
        self.wakes: dict[tuple[int, int], int] = {}

    def play(self, visitors: Iterable[Visitor]) -> Outcome:
        heap, coming = self.heap, iter(visitors)
        following = next(coming, None)
        now = 0.0
        handle = (
            self._hello, self._on_line, self._started, self._replied, self._lingered, self._stream_done, self._left,
            self._handed,
        )  # fmt: skip
        while heap or following is not None:
            if following is not None and (not heap or following.at <= heap[0][0]):
                now = following.at
                self._hello(now, Session(following), 0)
                following = next(coming, None)
                continue
            now, _, kind, session, mark = heappop(heap)
            assert session is not None
            handle[kind](now, session, mark)
        return self._close(now)

    def _close(self, now: float) -> Outcome:
        out, system = self.out, self.system
        out.horizon_s = now
        self._reap(now + system.keep_s + 1)
        out.held_s = now * (system.provisioned + system.machines)
        return out

    def _push(self, at: float, kind: int, session: Session, mark: int = 0) -> None:
        self.count += 1
        heappush(self.heap, (at, self.count, kind, session, mark))

    # --- the visitor ----------------------------------------------------------------------------

    def _hello(self, now: float, session: Session, mark: int) -> None:
        out, system, visitor = self.out, self.system, session.visitor
        out.visits += 1
        if system.wakes_per_day and not self._may_wake(now, visitor.address):
            out.refused_wakes += 1
            out.connected_s += system.prologue_s
            return
        self._push(now + system.prologue_s, _LINE, session)
        if system.machines == 0:
            # Machines that are always on need no waking: the slot is taken when there is a line.
            self._reserve(now, session)

    def _may_wake(self, now: float, address: int) -> bool:
        key = (address, int(now // 86_400))
        self.wakes[key] = self.wakes.get(key, 0) + 1
        return self.wakes[key] <= self.system.wakes_per_day

    def _on_line(self, now: float, session: Session, mark: int) -> None:
        visitor, line = session.visitor, session.line
        self.out.lines += 1
        if visitor.by_index[line]:
            self.out.index_lines += 1
            self._line_over(now, session)
            return
        session.asked = now
        session.gone_at = now + visitor.patience_s
        if session.leased:
            if session.linger:
                # A storyteller lingers for this line.
                session.linger = 0
                self.out.linger_s += now - session.linger_since
                self.kill_switch.meter(now, now - session.linger_since)
                self._tell(now, session)
            return
        if session.queued_at < 0:
            self._reserve(now, session)
        if session.queued_at >= 0:
            self.out.queued_lines += 1

    def _line_over(self, now: float, session: Session) -> None:
        """The line has its reply or answer: the next comes, or the visit is over."""
        visitor = session.visitor
        session.line += 1
        session.asked = -1.0
        session.gone_at = math.inf
        if session.line < len(visitor.tokens):
            self._push(now + visitor.think_s[session.line], _LINE, session)
            return
        self.out.completed += 1
        self.out.connected_s += now - visitor.at
        session.gone_at = now

    def _leave(self, now: float, session: Session) -> None:
        session.line = len(session.visitor.tokens)
        session.asked = -1.0
        self.out.left += 1
        self.out.connected_s += now - session.visitor.at

    # --- leases, slots, the line ----------------------------------------------------------------

    def _reserve(self, now: float, session: Session) -> None:
        if now < self.kill_switch.off_until:
            self._refuse(now, session)
            return
        if session.handover:
            # The slot of its last lease is still its own.
            session.handover = 0
            self.at_work -= 1
        elif self.at_work >= self.cap:
            self._queue_area(now)
            self.waiting += 1
            self.out.longest_queue = max(self.out.longest_queue, self.waiting)
            self.out.queued += 1
            session.queued_at = now
            self.queue.append(session)
            return
        self._invoke(now, session)

    def _refuse(self, now: float, session: Session) -> None:
        if session.asked >= 0:
            self.out.refused_lines += 1
            self._leave(now, session)

    def _queue_area(self, now: float) -> None:
        self.out.queue_area += self.waiting * (now - self.queue_changed)
        self.queue_changed = now

    def _promote(self, now: float) -> None:
        queue = self.queue
        while queue and self.at_work < self.cap:
            session = queue.popleft()
            gone = min(session.gone_at, now)
            self._queue_area(now)
            self.waiting -= 1
            self.out.queue_wait_s += now - session.queued_at
            session.queued_at = -1.0
            if session.gone_at <= now:
                if session.asked >= 0:
                    self._leave(gone, session)
                continue
            if now < self.kill_switch.off_until:
                self._refuse(now, session)
                continue
            self._invoke(now, session)

    def _invoke(self, now: float, session: Session) -> None:
        out = self.out
        self.at_work += 1
        out.most_at_work = max(out.most_at_work, self.at_work)
        out.invocations += 1
        session.leased = True
        if self.machines:
            session.env = min(self.machines, key=lambda machine: len(machine.running))
            self._work(now, session)
            return
        if self.ready:
            session.env = self.ready.pop()
        else:
            self._reap(now)
            if not self.idle:
                out.starts += 1
                if not session.cold:
                    session.cold = True
                    out.visits_cold += 1
                session.env = Environment()
                out.start_s += self.system.start_s
                self._push(now + self.system.start_s, _STARTED, session)
                return
            session.env = self.idle.pop()
            out.warm_s += now - session.env.idle_since
        self._work(now, session)

    def _reap(self, now: float) -> None:
        idle, keep_s = self.idle, self.system.keep_s
        while idle and idle[0].idle_since + keep_s < now:
            idle.popleft()
            self.out.warm_s += keep_s

    def _started(self, now: float, session: Session, mark: int) -> None:
        self.kill_switch.meter(now, self.system.start_s)
        self._work(now, session)

    def _work(self, now: float, session: Session) -> None:
        """The invocation has its storyteller: it tells the line that waits, or lingers, or gives back."""
        if session.asked >= 0:
            self._tell(now, session)
        elif self.system.linger_s and session.line < len(session.visitor.tokens):
            self._linger(now, session)
        else:
            self._release(now, session)

    def _linger(self, now: float, session: Session) -> None:
        self.count += 1
        session.linger = self.count
        session.linger_since = now
        self._push(now + self.system.linger_s, _LINGERED, session, session.linger)

    def _lingered(self, now: float, session: Session, mark: int) -> None:
        if session.linger == mark:
            session.linger = 0
            self.out.linger_s += self.system.linger_s
            self.kill_switch.meter(now, self.system.linger_s)
            self._release(now, session)

    def _release(self, now: float, session: Session) -> None:
        env = session.env
        assert env is not None
        session.leased = False
        session.env = None
        if not self.machines:
            env.idle_since = now
            (self.ready if env.prepared else self.idle).append(env)
        if self.system.handover_s:
            self.count += 1
            session.handover = self.count
            self._push(now + self.system.handover_s, _HANDED, session, session.handover)
            return
        self.at_work -= 1
        if self.queue:
            self._promote(now)

    def _handed(self, now: float, session: Session, mark: int) -> None:
        """The record of the invocation has come: the slot goes to the head of the line."""
        if session.handover == mark:
            session.handover = 0
            self.at_work -= 1
            self._promote(now)

    # --- telling --------------------------------------------------------------------------------

    def _tell(self, now: float, session: Session) -> None:
        system, out, env = self.system, self.out, session.env
        assert env is not None
        visitor = session.visitor
        fresh = system.prompt_tokens
        if visitor.number in env.stories:
            env.stories.remove(visitor.number)
        else:
            fresh = min(system.context, fresh + session.line * system.turn_tokens)
        env.stories.append(visitor.number)
        if len(env.stories) > system.cache_slots:
            del env.stories[0]
        first_s = system.first_fixed_s + fresh / system.prefill_per_s
        tokens = visitor.tokens[session.line]
        decode_s = (tokens - 1) / system.tokens_per_s if tokens > 1 else 0.0
        if self.machines and system.streams > 1:
            session.work = session.first_s = first_s
            session.decode_s = decode_s
            self._join(now, env, session)
            return
        first_at, ends = now + first_s, now + first_s + decode_s
        if session.gone_at < first_at:
            # Nobody hears the first word: the reply goes on for the grace, and is kept. Who left during a start is
            # told to all the same: their line is in the inbox.
            ends = min(ends, max(now, session.gone_at) + system.grace_s)
            out.prefill_s += min(first_s, ends - now)
            out.decode_s += max(0.0, ends - first_at)
            self._push(ends, _LEFT, session)
        else:
            out.prefill_s += first_s
            out.decode_s += decode_s
            out.tokens += tokens
            self._heard(first_at, session)
            self._push(ends, _REPLIED, session)
        session.telling_s = ends - now
        out.busy_s += session.telling_s
        if env.prepared:
            out.prepared_s += session.telling_s

    def _heard(self, at: float, session: Session) -> None:
        wait = at - session.asked
        (self.out.opening if session.line == 0 else self.out.later).append(wait)

    def _replied(self, now: float, session: Session, mark: int) -> None:
        self.out.replies += 1
        self.kill_switch.meter(now, session.telling_s)
        self._line_over(now, session)
        self._after_reply(now, session)

    def _after_reply(self, now: float, session: Session) -> None:
        if self.system.linger_s and session.line < len(session.visitor.tokens):
            self._linger(now, session)
        else:
            self._release(now, session)

    def _left(self, now: float, session: Session, mark: int) -> None:
        self.kill_switch.meter(now, session.telling_s)
        self._leave(session.gone_at, session)
        self._release(now, session)

    # --- a machine whose streams share its speed ------------------------------------------------

    def _join(self, now: float, machine: Environment, session: Session) -> None:
        self._advance(now, machine)
        machine.running.append(session)
        self._next(now, machine)

    def _advance(self, now: float, machine: Environment) -> None:
        streams = len(machine.running)
        if streams:
            elapsed = now - machine.updated
            done = elapsed / (1 + (streams - 1) * self.system.batch_cost)
            for one in machine.running:
                one.work -= done
            self.out.busy_s += elapsed
        machine.updated = now

    def _next(self, now: float, machine: Environment) -> None:
        machine.version += 1
        if machine.running:
            first = min(machine.running, key=lambda one: one.work)
            slower = 1 + (len(machine.running) - 1) * self.system.batch_cost
            self._push(now + max(0.0, first.work) * slower, _STREAM, first, machine.version)

    def _stream_done(self, now: float, session: Session, mark: int) -> None:
        machine, out = session.env, self.out
        if machine is None or machine.version != mark:
            return
        self._advance(now, machine)
        if session.decode_s >= 0:
            out.prefill_s += session.first_s
            if session.gone_at < now:
                machine.running.remove(session)
                self._next(now, machine)
                self._left(now, session, 0)
                return
            self._heard(now, session)
            session.work, session.decode_s = session.decode_s, -1.0
            out.decode_s += session.work
            self._next(now, machine)
            return
        machine.running.remove(session)
        self._next(now, machine)
        out.replies += 1
        out.tokens += session.visitor.tokens[session.line]
        self._line_over(now, session)
        self._after_reply(now, session)

"""A play on a screen: what happens becomes words; what is typed becomes actions.

It counts the waiting; `prologue` paces the prologue, and the commands are in `commands`. A `Screen` shows, and the code
that reads the keyboard calls `typed` and `interrupt`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from client.session.connection import Play
from client.session.events import (
    AnswerCame,
    AsideCame,
    BeatCame,
    Connection,
    Earlier,
    Event,
    Failed,
    Forgotten,
    Welcomed,
    Woke,
)
from client.session.story import Altered, Appeared, Change, Ended, Removed, Restarted, Told, Turn
from client.terminal import commands
from client.terminal.countdown import Countdown, Reading
from client.terminal.figures import reply_in_brief, spared
from client.terminal.prologue import Prologue
from client.terminal.screen import Screen
from client.terminal.stories import Stories
from client.terminal.story_file import Entry, StoryFile, file_turns, restore_takes
from client.terminal.transcript import as_markdown, without_choices


class Controller:
    """One play on one screen. `run` gives `quit`, or `again` to play `next_session` (None: a new one) after it."""

    def __init__(
        self, play: Play, screen: Screen, stories: Stories, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.play: Play = play
        self.screen, self.stories = screen, stories
        self.next_session: str | None = None
        #: What this computer keeps of the story: the server has neither the prologue's lines nor former takes.
        self._kept = stories.story(play.session) if play.session else None
        self.prologue = Prologue(play, screen, self._kept.prologue if self._kept else (), clock)
        self._world = ""
        self._clock = clock
        self._countdown = Countdown(clock())
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._choices: list[str] = []
        self._waiting_since = self._heard_at = clock()
        self._lost: tuple[str, float] | None = None
        self._stopped: Turn | None = None
        self._last_input_over = False
        self._asked_for_memory = self._curtain = self._entered = False
        self._errands: set[asyncio.Task[None]] = set()

    async def run(self) -> str:
        """Shows events until the visitor leaves or starts over."""
        watchers = [asyncio.create_task(self._follow()), asyncio.create_task(self._tick())]
        try:
            waited: list[asyncio.Future[Any]] = [self._over, *watchers]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for watcher in watchers:
                if watcher.done():
                    watcher.result()  # raises what went wrong
            return self._over.result() if self._over.done() else "quit"
        finally:
            self.prologue.stop()
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
            self.keep()
            self.screen.status("")

    # --- what the visitor does ----------------------------------------------------------

    def typed(self, line: str) -> None:
        """A line was typed."""
        line = line.strip()
        if line.startswith("/"):
            command, _, rest = line[1:].partition(" ")
            commands.run(self, command.lower(), rest.strip())
        elif self.prologue.asked:
            self.prologue.reply(line)
        elif line:
            is_number = line.isascii() and line.isdigit() and len(line) < 3
            if is_number and self.play.story.live and not self._choices:
                self.screen.note("There are no choices yet.")
                return
            number = int(line) if is_number else 0
            self.say(self._choices[number - 1] if 0 < number <= len(self._choices) else line)

    def interrupt(self) -> None:
        """Ctrl-C: the first stops a reply, the second leaves."""
        live = self.play.story.live
        if live is None or live is self._stopped:
            self.leave("quit")
        else:
            self.stop()

    def end_of_input(self) -> None:
        """Nothing more will be typed: what is being told is told to its end."""
        self._last_input_over = True

    def say(self, line: str) -> None:
        """Says a line, as no reply to a question."""
        self._choices = []
        self.screen.say(line)
        self._waiting_since = self._clock()
        self.play.say(line)

    def stop(self) -> None:
        """Stops the reply that is being told."""
        live = self.play.story.live
        if live is None:
            self.screen.note("Nothing is being told.")
            return
        self._stopped = live
        self._errand(self.play.stop(live))

    def go_to(self, session: str | None) -> None:
        """Leaves this story for another, or for a new one."""
        self.next_session = session
        self.leave("again")

    def as_file(self) -> StoryFile:
        """The story as it can be taken elsewhere."""
        play = self.play
        name = next((story.name for story in self.stories.all() if story.session == play.session), "")
        return StoryFile(1, name, play.title, self._world, play.session, self.prologue.entries, file_turns(play.turns))

    def keep(self) -> None:
        """Keeps the story on this computer as it now is."""
        if self._entered and self.play.session:
            self.stories.keep_story(self.as_file())

    def read_aside(self, story: StoryFile) -> None:
        """Shows a story that is only to be read."""
        self.screen.note(as_markdown(story.title, [turn.as_turn() for turn in story.turns], story.prologue), style="")
        self.screen.note("That was to read only; your own story goes on.")

    def leave(self, how: str) -> None:
        """Ends `run`, which gives `how`: `quit` or `again`."""
        if not self._over.done():
            self._over.set_result(how)

    def ask_for_memory(self) -> None:
        """Shows what the storyteller knows of the visitor as soon as the server has said it."""
        self._asked_for_memory = True
        self._errand(self.play.refresh())

    def wake_reading(self) -> Reading:
        """How far the storyteller has loaded."""
        return self._countdown.read(self._clock())

    def _errand(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(what)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def _known(self) -> list[tuple[str, str]]:
        """Rows of the memory table: how a fact is called and by which key it is changed, and its value."""
        known, fields = self.play.profile, self.play.fields
        rows = [
            (f"{field.label} (/memory {key} …)", known.get(key) or f"not known; {field.default} is assumed")
            for key, field in fields.items()
        ]
        return rows + [(key, value) for key, value in known.items() if key not in fields] or [("nothing", "yet")]

    # --- what happens -------------------------------------------------------------------

    async def _follow(self) -> None:
        async for event in self.play:
            self._heard_at = self._clock()
            self._hear(event)
            if isinstance(event, Welcomed | BeatCame | AnswerCame | AsideCame | Ended):
                self.keep()

    def _hear(self, event: Event | Change) -> None:
        screen = self.screen
        match event:
            case Welcomed(again=False, resumed=resumed, world=world):
                self._world = world
                if not self._entered:
                    self._entered = True
                    if self._kept:
                        restore_takes(self.play.turns, self._kept.turns)
                    screen.note(f"{self.play.title}. /help tells what you can do.")
                if resumed:
                    self._return()
            case Welcomed(again=True) if self._asked_for_memory:
                self._asked_for_memory = False
                screen.table("What the storyteller knows of you", self._known())
            case BeatCame(beat=beat):
                self.prologue.begin(beat)
            case Woke(wake=wake):
                self._countdown.hear(wake, self._clock())
            case Forgotten(unsent=unsent):
                self.prologue.end()
                self.prologue.entries.clear()
                self._kept = None
                self._choices = []
                screen.note("The server no longer has the story you were in; this is a new one.", style="red")
                for line in unsent:
                    screen.note(f"This line was not sent: {line}")
            case AnswerCame(turn=turn):
                self.prologue.ask_again_unless_reply(turn)
                if not self.play.story.begun:
                    self.prologue.entries.append(Entry(turn=turn.id))
                if self.prologue.speaker:
                    screen.speak(turn.reply, self.prologue.speaker)
                else:
                    screen.note(turn.reply, style="cyan")
                saved = turn.answer.saved if turn.answer else None
                which = f", which saved {spared([saved])}" if saved and saved.tokens else ""
                screen.note(f"A written answer, without the storyteller{which}.")
                self.prologue.show_question()
            case AsideCame(turn=turn):
                self.prologue.ask_again_unless_reply(turn)
                self.prologue.entries.append(Entry(turn=turn.id))
                if turn.reply:
                    screen.speak(turn.reply, self.prologue.speaker)
                if turn.kept:
                    screen.note("Kept for when the storyteller wakes: the story begins with it.")
                self.prologue.show_question()
            case Appeared(turn=turn) if not turn.live or turn.reply:
                self._recall(turn)
            case Appeared(turn=turn) | Altered(turn=turn) if turn.live and self.play.story.begun:
                self.prologue.end()
                self._waiting_since = self._clock()
            case Restarted(turn=turn):
                screen.pause()
                if turn.state != "answered":
                    screen.note("Told again:")
            case Told(turn=turn, text=text, so_far=so_far):
                if turn.state == "answered":
                    screen.note(text, style="cyan")
                    return
                self.prologue.end()
                if not self._curtain:
                    self._curtain = True
                    screen.note("◆", style="green")
                screen.tell(without_choices(so_far, text))
            case Ended(turn=turn):
                self._end(turn)
            case Removed(turn=turn):
                screen.pause()
                screen.note("Taken back.")
                self._choices = self.play.story.last.choices if self.play.story.last else []
            case Earlier(turns=turns):
                for turn in turns:
                    self._recall(turn)
                    screen.tell(turn.reply)
                    screen.pause()
                screen.note("That was earlier." if turns else "Nothing came before that.")
            case Failed():
                self._refused(event)
            case Connection():
                self._connection(event)
            case _:
                pass

    def _recall(self, turn: Turn) -> None:
        """Shows a turn of an earlier visit, or one said in another window."""
        self.screen.pause()
        if turn.state != "answered":
            self.prologue.end()
        if turn.said:
            self.screen.say(turn.said)

    def _return(self) -> None:
        """The story so far stands on the screen again: what it offers, too."""
        last = self.play.story.last
        if last is None or last.live:
            return
        self.screen.pause()
        if last.choices != self._choices:
            self._choices = last.choices
            self.screen.offer(self._choices)

    def _end(self, turn: Turn) -> None:
        self.prologue.end()
        self.screen.pause()
        self._stopped = None
        match turn.state:
            case "stopped":
                self.screen.note("Stopped.")
            case "failed":
                self.screen.note(turn.error or "This could not be told to its end; /retry tries again.", style="red")
        if turn.reason in ("length", "deadline"):
            self.screen.note("It had to pause here; /continue lets it go on.")
        if turn.stats and turn.stats.tokens:
            self.screen.note(reply_in_brief(turn.stats))
        self._choices = turn.choices
        self.screen.offer(self._choices)
        self._waiting_since = self._clock()

    def _refused(self, failure: Failed) -> None:
        action = failure.action or {}
        if failure.turn is not None and failure.turn.error:
            return  # its end says so
        self.screen.note(failure.message, style="red")
        if action.get("ask"):
            self.prologue.refused(action["ask"], action["text"])

    def _connection(self, event: Connection) -> None:
        self._lost = (event.sentence, self._clock() + event.retry_s) if event.retry_s is not None else None
        match event.state:
            case "taken":
                self.screen.note("This story is open elsewhere and goes on there; /back takes it back here.")
            case "closed":
                self.screen.note(event.sentence, style="red")
                self.leave("quit")
            case "lost":
                self.screen.pause()
                self.screen.note(event.sentence)

    # --- what is being waited for -------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            self.screen.status(*self._status())
            await asyncio.sleep(0.25)
            idle = not self.play.story.live and not self.play.busy and not self._asked_for_memory
            if self._last_input_over and idle and (self.prologue.asked or self.play.story.begun):
                self.leave("quit")

    def _status(self) -> tuple[str, str, float | None]:
        now = self._clock()
        reading = self._countdown.read(now)
        live = self.play.story.live
        if self._lost:
            return f"Coming back in {max(0.0, self._lost[1] - now):.0f} s", self._lost[0], None
        if not self.play.connected:
            return ("Another window has the story", "/back", None) if self.play.taken else ("Coming in…", "", None)
        if live and live.state == "telling":
            silent = now - self._heard_at
            return (f"The storyteller looks for a word… {silent:.0f} s", "", None) if silent > 2 else ("", "", None)
        if live and reading.state == "ready":
            return f"The storyteller draws breath… {now - self._waiting_since:.0f} s", "", None
        if reading.state == "ready" and self.play.owed_s >= 1:
            return f"One moment… {self.play.owed_s:.0f} s", "", None
        if self.prologue.asked and reading.state == "ready":
            return "The storyteller is awake, and waits for your reply", "", None
        if live or not self.play.story.begun:
            return reading.words, reading.figures, reading.progress
        return "", "", None

"""The prologue on a screen: a beat's lines at their times, its question, and what this computer keeps of both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from client.session.connection import Play
from client.session.protocol import Beat
from client.session.story import Turn
from client.terminal.screen import Screen
from client.terminal.story_file import Entry


class Prologue:
    """`entries` are kept, `asked` is the beat whose question stands, `speaker` gives the written answers."""

    def __init__(self, play: Play, screen: Screen, kept: Iterable[Entry], clock: Callable[[], float]) -> None:
        self._play, self._screen, self._clock = play, screen, clock
        self.entries = list(kept)
        self.asked: Beat | None = None
        self.speaker = next((entry.speaker for entry in reversed(self.entries) if entry.speaker), None)
        self._reply_id = ""  # of what was said to the question last
        self._pacer: asyncio.Task[None] | None = None

    def begin(self, beat: Beat) -> None:
        """Tells this beat, and no longer the one before."""
        self.end()
        self._pacer = asyncio.create_task(self._pace(beat))

    def end(self) -> None:
        """No more is shown, and the question no longer stands."""
        self.stop()
        self.asked = None

    def stop(self) -> None:
        """No more is shown."""
        if self._pacer:
            self._pacer.cancel()
            self._pacer = None

    def reply(self, line: str) -> None:
        """Says this to the question: a number takes a choice, nothing skips it."""
        beat = self.asked
        assert beat is not None
        assert beat.ask is not None
        self.asked = None
        if not line:
            self._play.next(beat.id)
            return
        choices = beat.ask.choices or []
        if line.isascii() and line.isdigit() and 0 < int(line) <= len(choices):
            line = choices[int(line) - 1]
        self._screen.say(line)
        self._reply_id = self._play.say(line, ask=beat.ask.key).id
        self.entries += [Entry(asked=beat.ask.text), Entry(said=line)]

    def refused(self, key: str, line: str) -> None:
        """The server refused this line as the reply to the question `key`, which stands again."""
        beat = self._play.beat
        if beat and beat.ask and beat.ask.key == key and not self._play.story.begun:
            self.asked = beat
            self._forget_reply(line)
            self.show_question()

    def ask_again_unless_reply(self, turn: Turn) -> None:
        """Where a line was said to a question and is no reply to it, the question stands again."""
        if turn.id == self._reply_id and not self._play.story.begun:
            self._reply_id = ""
            self.asked = self._play.beat
            self._forget_reply(turn.said)

    def show_question(self) -> None:
        """The question that stands, if one does, and its choices."""
        if self.asked is None:
            return
        assert self.asked.ask is not None
        self._screen.note(self.asked.ask.text, style="bold")
        if self.asked.ask.choices:
            self._screen.offer(list(self.asked.ask.choices))
        else:
            self._screen.note("(/say says something else)")

    async def _pace(self, beat: Beat) -> None:
        began = self._clock()
        kept = sum(entry.beat == beat.id for entry in self.entries)  # on an earlier visit
        for place, line in enumerate(sorted(beat.lines, key=lambda line: line.at_s)):
            await asyncio.sleep(max(0.0, began + line.at_s - self._clock()))
            self._screen.speak(line.text, beat.speaker)
            if place >= kept:
                self.entries.append(Entry(beat=beat.id, speaker=beat.speaker, text=line.text))
            self.speaker = beat.speaker or self.speaker
        # A question follows its last line closely; the visitor decides how long it stands.
        end = beat.length_s - 0.6 if beat.ask else beat.length_s
        await asyncio.sleep(max(0.0, began + end - self._clock()))
        if beat.ask:
            self.asked = beat
            self.show_question()
        else:
            self._play.next(beat.id)

    def _forget_reply(self, line: str) -> None:
        """Takes the question and what was said to it out of the prologue as it is kept."""
        place = next((n for n in reversed(range(len(self.entries))) if self.entries[n].said == line), None)
        if place is not None:
            del self.entries[max(0, place - 1) : place + 1]

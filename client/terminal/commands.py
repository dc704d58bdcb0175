"""The terminal's commands: one function each, a table that finds them, and the help made of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from client.session.story import Turn
from client.terminal import story_file
from client.terminal.figures import dollars, reply_in_full, spared, used_within
from client.terminal.transcript import as_markdown

if TYPE_CHECKING:
    from client.terminal.controller import Controller


@dataclass(frozen=True, slots=True)
class Command:
    """`usage` and `help` are shown by `/help`; an empty usage hides an alias."""

    run: Callable[[Controller, str], None]
    usage: str
    help: str


def run(controller: Controller, name: str, rest: str) -> None:
    """Runs one command, or says that there is none of that name."""
    command = COMMANDS.get(name)
    if command is None:
        controller.screen.note(f"/{name} is no command; /help lists them.")
    elif not rest and command.usage.endswith((" LINE", " FILE")):
        controller.screen.note(f"/{name} needs words after it.")
    else:
        command.run(controller, rest)


def _help(controller: Controller, rest: str) -> None:
    rows = [("a line", "say it; while a question stands, it is the reply (a number takes a choice, nothing skips it)")]
    rows += [(command.usage, command.help) for command in COMMANDS.values() if command.usage]
    controller.screen.table("What you can do", rows)


def _say(controller: Controller, rest: str) -> None:
    controller.say(rest)


def _skip(controller: Controller, rest: str) -> None:
    controller.prologue.end()
    controller.play.skip()


def _stop(controller: Controller, rest: str) -> None:
    controller.stop()


def _on_last(act: Callable[[Controller, Turn, str], object]) -> Callable[[Controller, str], None]:
    """A command about the last turn of the story, which may not be there yet."""

    def run(controller: Controller, rest: str) -> None:
        last = controller.play.story.last
        if last is None:
            controller.screen.note("The story has not begun yet.")
        else:
            act(controller, last, rest)

    return run


def _retry(controller: Controller, last: Turn, rest: str) -> None:
    controller.play.retry(last)


def _continue(controller: Controller, last: Turn, rest: str) -> None:
    controller.play.go_on(last)


def _undo(controller: Controller, last: Turn, rest: str) -> None:
    controller.play.undo(last)


def _edit(controller: Controller, last: Turn, rest: str) -> None:
    controller.screen.say(rest)
    controller.play.edit(last, rest)


def _rewrite(controller: Controller, last: Turn, rest: str) -> None:
    controller.play.rewrite(last, rest)


def _memory(controller: Controller, rest: str) -> None:
    if rest:
        key, _, value = rest.partition(" ")
        controller.play.remember({key: value.strip()})
    else:
        controller.ask_for_memory()


def _earlier(controller: Controller, rest: str) -> None:
    if controller.play.earlier() is None:
        controller.screen.note("There is nothing earlier yet.")


def _save(controller: Controller, rest: str) -> None:
    file = Path(rest or time.strftime("overture-%Y%m%d-%H%M%S.md")).expanduser()
    write_new(controller, file, as_markdown(controller.play.title, controller.play.turns, controller.prologue.entries))


def write_new(controller: Controller, file: Path, text: str) -> bool:
    """Writes a file that is not there yet, and says where it is or why it is not. Gives whether it is."""
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        controller.screen.note(f"The story could not be written to {file}: {error.strerror}.", style="red")
        return False
    controller.screen.note(f"The story is in {file}.")
    return True


def _backstage(controller: Controller, rest: str) -> None:
    play = controller.play
    told = [turn.stats for turn in play.turns if turn.stats and turn.stats.tokens]
    saved = [turn.answer.saved for turn in play.turns if turn.answer]
    rows = [(f"reply {number}", reply_in_full(stats)) for number, stats in enumerate(told, 1)]
    last = play.story.last
    if last is not None and last.notes:
        rows.append(("facts from the world", " ".join(last.notes)))
    rows.append(("written answers", f"{len(saved)}, which saved {spared(saved)}" if saved else "none so far"))
    if saved:
        rows.append(("lines without the model", f"{saved[-1].share:.0%} of all; {saved[-1].wakes_spared} wakes spared"))
    if play.visit is not None:
        rows.append(("this visit in all", f"{dollars(play.visit.usd)}, {used_within(play.visit)}"))
    reading = controller.wake_reading()
    rows.append(("the wait", f"{reading.words.lower()}; {reading.progress:.0%} read"))
    where = ", as if on Lambda" if play.simulated else ""
    controller.screen.table(f"Backstage (costs and energy are estimates{where})", rows)


def _stories(controller: Controller, rest: str) -> None:
    kept = controller.stories.all()
    word, _, name = rest.partition(" ")
    if word == "name" and name:
        controller.stories.keep(controller.play.session or "", controller.play.title, name.strip())
        controller.screen.note(f"This story is called {name.strip()} now.")
    elif rest.isascii() and rest.isdigit() and 0 < int(rest) <= len(kept):
        controller.go_to(kept[int(rest) - 1].session)
    elif rest:
        controller.screen.note("Give the number of a story, or `name` and a new name for this one.")
    else:
        here = controller.play.session
        rows = [
            (str(n), f"{one.called}{' (this one)' if one.session == here else ''}") for n, one in enumerate(kept, 1)
        ]
        controller.screen.table("Your stories (/stories NUMBER goes on with one)", rows or [("none", "yet")])


def _export(controller: Controller, rest: str) -> None:
    file = Path(rest or time.strftime("overture-%Y%m%d-%H%M%S.json")).expanduser()
    if write_new(controller, file, story_file.write(controller.as_file())):
        controller.screen.note("Whoever has this file can go on with the story: keep it to yourself.")


def _import(controller: Controller, rest: str) -> None:
    try:
        story = story_file.read(Path(rest).expanduser().read_bytes())
    except OSError as error:
        controller.screen.note(f"{rest} could not be read: {error.strerror}.", style="red")
    except story_file.StoryFileError as error:
        controller.screen.note(str(error), style="red")
    else:
        if story.session:
            controller.stories.keep(story.session, story.title, story.name)
            if controller.stories.story(story.session) is None:  # else what was played here is newer
                controller.stories.keep_story(story)
            controller.go_to(story.session)
        else:
            controller.read_aside(story)


def _takes(controller: Controller, last: Turn, rest: str) -> None:
    takes = [take.reply for take in last.takes] + [last.reply]
    number, _, verb = rest.partition(" ")
    if verb == "on" and len(takes) == 1:
        controller.screen.note("There is one take, and the story goes on from it.")
    elif number.isascii() and number.isdigit() and 0 < int(number) <= len(takes):
        if verb == "on":
            controller.play.rewrite(last, takes[int(number) - 1])
            return
        controller.screen.table(
            f"Take {number} of {len(takes)}", [("", line) for line in takes[int(number) - 1].split("\n")]
        )
    else:
        rows = [(str(place), f"{reply[:60]}{'…' if len(reply) > 60 else ''}") for place, reply in enumerate(takes, 1)]
        controller.screen.table(
            "Takes of the last reply (/takes NUMBER shows one, /takes NUMBER on goes on from it)", rows
        )


def _back(controller: Controller, rest: str) -> None:
    controller.play.take_back()


def _again(controller: Controller, rest: str) -> None:
    controller.go_to(None)


def _quit(controller: Controller, rest: str) -> None:
    controller.leave("quit")


COMMANDS: dict[str, Command] = {
    "say": Command(_say, "/say LINE", "say a line while a question stands"),
    "skip": Command(_skip, "/skip", "end the prologue and go in"),
    "stop": Command(_stop, "/stop", "stop the reply (also Ctrl-C; a second one leaves)"),
    "retry": Command(_on_last(_retry), "/retry", "hear the last reply told again"),
    "continue": Command(_on_last(_continue), "/continue", "let the last reply go on"),
    "undo": Command(_on_last(_undo), "/undo", "take the last line and its reply back"),
    "edit": Command(_on_last(_edit), "/edit LINE", "change your last line and hear the reply to it"),
    "rewrite": Command(_on_last(_rewrite), "/rewrite LINE", "make these words the storyteller's last reply"),
    "memory": Command(
        _memory, "/memory [KEY WORDS]", "what the storyteller knows of you; change it, or forget it with no words"
    ),
    "earlier": Command(_earlier, "/earlier", "show earlier turns"),
    "save": Command(_save, "/save [FILE]", "save the story as Markdown"),
    "takes": Command(_on_last(_takes), "/takes [NUMBER [on]]", "former takes of the last reply; go on from one"),
    "stories": Command(
        _stories, "/stories [NUMBER]", "your stories; go on with one; `/stories name WORDS` names this one"
    ),
    "export": Command(_export, "/export [FILE]", "write the story to a file, to go on with elsewhere"),
    "import": Command(_import, "/import FILE", "open such a file: go on with its story, or read it"),
    "backstage": Command(_backstage, "/backstage", "what the replies took and cost, and what written answers saved"),
    "back": Command(_back, "/back", "take the story back from another window, or reconnect at once"),
    "again": Command(_again, "/again", "start over as a new visitor"),
    "quit": Command(_quit, "/quit", "leave; the story is there when you come back"),
    "help": Command(_help, "/help", "this list"),
    "?": Command(_help, "", ""),
    "exit": Command(_quit, "", ""),
    "q": Command(_quit, "", ""),
}

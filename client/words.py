"""Words of the terminal: what can be done there, and a reply as it is shown. Knows no screen."""

from __future__ import annotations

from client.story import Turn

HELP = [
    ("a line", "say it; while a question stands, it is the reply (a number takes a choice, nothing passes it over)"),
    ("/say LINE", "say a line while a question stands"),
    ("/skip", "end the prologue and go in"),
    ("/stop", "stop the reply (also Ctrl-C; a second one leaves)"),
    ("/retry  /continue  /undo", "have the last reply told again, go on, or taken back with your line"),
    ("/edit LINE", "have said something else"),
    ("/memory [KEY WORDS]", "what the storyteller knows of you; change it, or forget it with no words"),
    ("/earlier", "show earlier turns"),
    ("/save [FILE]", "keep the story as Markdown"),
    ("/backstage", "what the replies took and cost, and what the written answers spared"),
    ("/back", "take the story back from another window, or come back at once"),
    ("/again", "start over as a new visitor"),
    ("/quit", "leave; the story is there when you come back"),
]


def without_choices(turn: Turn, fresh: str) -> list[str]:
    """The fresh end of a reply without its choices, which are offered when it has ended."""
    whole = turn.reply
    start = len(whole) - len(fresh)
    kept: list[str] = []
    at = 0
    for line in whole.splitlines(keepends=True):
        begin, at = at, at + len(line)
        if at > start and not line.lstrip().startswith(">"):
            kept.append(line[max(0, start - begin) :])
    return kept

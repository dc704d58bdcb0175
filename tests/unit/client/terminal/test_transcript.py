"""A kept story is Markdown, and nothing said in it is."""

from __future__ import annotations

from client.session.story import Turn
from client.terminal.transcript import as_markdown


def test_a_story_as_markdown() -> None:
    turns = [
        Turn("opening", reply="The gate opens.\n\nIt is *green*.\n> Go in.\n> Wait.\n> Go in.", state="done"),
        Turn("q", said="who?", reply="A storyteller.", state="answered"),
        Turn("a", said="# I go\nin", reply="1. You do.", state="stopped"),
        Turn("b", said="On", reply="You go.\n> Stop.\n\nYou run.\n> Rest.", state="done"),
    ]
    assert as_markdown("The Emerald City", turns) == (
        "# The Emerald City\n\nThe gate opens.\n\nIt is \\*green\\*.\n\n- Go in.\n\n- Wait.\n\n"
        "> who?\n\n*A storyteller.*\n\n> \\# I go\n> in\n\n1\\. You do.\n\n"
        "> On\n\nYou go.\n\nYou run.\n\n- Rest.\n"
    )

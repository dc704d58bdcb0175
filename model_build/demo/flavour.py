"""Sentences put together from lists, each most likely new: what goes on in the street, idle talk, and whatever slots
other lines leave.

A grammar one level deep: a line names lists in braces, and each brace is drawn afresh. Knows nothing of a walk.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import yaml

_SLOT = re.compile(r"\{(A_|a_)?(\w+?)(\d?)\}")


class Grammar:
    """Lines with slots, and the lists the slots are drawn from; see flavour.yaml."""

    def __init__(self, path: Path) -> None:
        raw: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.lines: dict[str, list[str]] = {key: value for key, value in raw.items() if isinstance(value, list)}
        self.lists = {
            key: [part.strip() for part in value.split("|")] for key, value in raw.items() if isinstance(value, str)
        }

    def make(self, rng: Random, kind: str) -> str:
        """A line of a kind with everything filled in."""
        return self.fill(rng, rng.choice(self.lines[kind]))

    def fill(self, rng: Random, line: str, **given: str) -> str:
        """A line with its slots drawn, or taken from `given`. `{Word}` begins with a capital; no list is drawn
        twice alike in one line. What neither is given nor has a list stays as it is."""
        drawn: set[str] = set()

        def draw(match: re.Match[str]) -> str:
            name = match[2].lower()
            if name in given:
                text = given[name]
            elif name not in self.lists:
                return match[0]
            else:
                options = [option for option in self.lists[name] if option not in drawn]
                text = rng.choice(options)
                drawn.add(text)
            large = match[1] == "A_" or match[2][0].isupper()
            return text[:1].upper() + text[1:] if large else text

        return _SLOT.sub(draw, line)


STREET = Grammar(Path(__file__).parent / "flavour.yaml")

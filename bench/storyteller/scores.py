"""Scores of replies that the storyteller's bench has played, each with a 95% interval.

Shares have Wilson's interval; ratios, means and medians one from drawing whole dialogues again, for the replies of
one dialogue are no independent witnesses. The opening of a dialogue is read by what repeats, and counted nowhere.
"""

from __future__ import annotations

import math
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, NamedTuple

import numpy as np

from bench.storyteller.lines import OPENING, QUESTION

#: How many times dialogues are drawn for an interval, and replies that a line is compared with.
DRAWS, RIVALS = 2000, 19
#: A shorter sentence may come again ("“Yes,” she says.").
REPEATED_WORDS = 4
CHOICES, CHOICE_CHARACTERS = 2, 120

#: Vectors of unit length, a row a text.
Embed = Callable[[Sequence[str]], Any]
Dialogue = Mapping[str, Any]
Turn = Mapping[str, Any]

_WORD = re.compile(r"�+|[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)*]*\s+")
#: Three words or more, three times in a row.
_LOOP = re.compile(r"\b(\w+(?:\W+\w+){2,11})(?:\W+\1){2}\b")
_SECOND_PERSON = re.compile(r"\b(?:you|your|yours|yourself)\b", re.IGNORECASE)
#: Words of a profile that say nothing by themselves.
_EMPTY = frozenset(
    _WORD.findall("a an and at by called for from i in is it my named of on or out that the to whether who with")
)


class Figure(NamedTuple):
    """A figure, its 95% interval, and how many replies (or words) it is of."""

    value: float
    low: float
    high: float
    of: int


def wilson(right: int, of: int) -> Figure:
    """A share with Wilson's interval; not a number where there is nothing to count."""
    if not of:
        return Figure(math.nan, math.nan, math.nan, 0)
    z, share = 1.96, right / of
    middle, half = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    low, high = (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)
    return Figure(share, max(0.0, low), min(1.0, high), of)


def bootstrap(groups: Sequence[Sequence[Any]], figure: Callable[[list[Any]], float], seed: int = 0) -> Figure:
    """A figure of all groups together; for its interval, whole groups are drawn with replacement."""
    groups = [group for group in groups if group]
    everything = [one for group in groups for one in group]
    if not everything:
        return Figure(math.nan, math.nan, math.nan, 0)
    random = Random(seed)
    drawn = [figure([one for group in random.choices(groups, k=len(groups)) for one in group]) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Figure(figure(everything), float(low), float(high), len(everything))


def scene_and_choices(reply: str) -> tuple[str, list[str]]:
    """What stands before the first line that begins with ">", and those lines, without the sign."""
    lines = reply.strip().split("\n")
    first = next((place for place, line in enumerate(lines) if line.startswith(">")), len(lines))
    return "\n".join(lines[:first]).strip(), [line for line in lines[first:] if line.strip()]


def keeps_form(turn: Turn) -> bool:
    """Whether a reply that ended is a scene and then exactly two different choices, and nothing else."""
    scene, rest = scene_and_choices(turn["reply"])
    choices = [line[1:].strip() for line in rest if line.startswith("> ")]
    return (
        turn["reason"] == "stop"
        and bool(words(scene))
        and len(rest) == len(choices) == CHOICES
        and all(words(choice) and len(choice) <= CHOICE_CHARACTERS for choice in choices)
        and len({" ".join(words(choice)).casefold() for choice in choices}) == CHOICES
    )


def words(text: str) -> list[str]:
    """The words of a text, with straight apostrophes; broken bytes are one too."""
    return [word.replace("’", "'") for word in _WORD.findall(text)]


def knows(value: str, scene: str) -> bool:
    """Whether a scene has at least half of the words that carry the meaning of a profile's value."""
    wanted = {_stem(word) for word in words(value) if word.casefold() not in _EMPTY}
    told = {_stem(word) for word in words(scene)}
    return bool(wanted) and 2 * len(wanted & told) >= len(wanted)


def repeats_itself(scene: str) -> bool:
    """Whether a sentence comes twice in a scene, or a few words three times in a row."""
    told = sentences(scene)
    return len(set(told)) < len(told) or _LOOP.search(scene.casefold()) is not None


def sentences(scene: str) -> list[str]:
    """The sentences that are long enough to be missed nowhere, in lower case without signs."""
    found = (" ".join(words(part)).casefold() for part in _SENTENCE_END.split(scene))
    return [sentence for sentence in found if len(sentence.split()) >= REPEATED_WORDS]


def strange_words(dialogue: Dialogue, at: int, prompt: str) -> list[str]:
    """The words of a reply that are in no English list, nor in what the model had read of others when it wrote.

    `prompt` is what every visitor's prompt begins with.
    """
    turns = dialogue["turns"]
    read = [prompt, *dialogue["profile"].values()]
    for turn in turns[: at + 1]:
        read += [turn["said"], *turn["notes"]]
    given = {_plain(word) for text in read for word in words(text)}
    given |= {word.removesuffix("'s") for word in given}
    told = words(turns[at]["reply"])
    return [word for word in told if _plain(word) not in given and _plain(word).removesuffix("'s") not in given
            and not is_english(word)]  # fmt: skip


@cache
def is_english(word: str) -> bool:
    """Whether a word, or what it is regularly formed from, is in one of the lists."""
    return any(form in english_words() for form in _forms(_plain(word)))


@cache
def english_words() -> frozenset[str]:
    """English words in lower case.

    Three lists together: one has the inflected forms, the others British spellings. Of 68,839 words of written
    dialogues, they lack 0.02% of those that begin with a small letter (most are sounds, such as "plip").
    """
    from english_words import get_english_words_set
    from spellchecker import SpellChecker

    lists = get_english_words_set(["web2", "gcide"], lower=True)
    return frozenset(lists) | frozenset(SpellChecker(language="en", distance=1).word_frequency.words())


def to_the_point(played: Sequence[Dialogue], embed: Embed, seed: int = 0) -> list[bool]:
    """For each hand-written line: is its own reply the nearest to it, among 19 of other dialogues?"""
    rows = [
        (one["dialogue"], turn["said"], scene_and_choices(turn["reply"])[0])
        for one in played
        for turn in one["turns"]
        if turn["intent"] not in (OPENING, QUESTION)
    ]
    if not rows:
        return []
    said, told = embed([row[1] for row in rows]), embed([row[2] for row in rows])
    found = []
    for place, (number, line, _) in enumerate(rows):
        others = [other for other, row in enumerate(rows) if row[0] != number]
        rivals = Random(f"{seed} {number} {line}").sample(others, min(RIVALS, len(others)))
        found.append(bool(rivals) and bool((told[rivals] @ said[place] < told[place] @ said[place]).all()))
    return found


def score(played: Sequence[Dialogue], prompt: str, embed: Embed) -> dict[str, Figure]:
    """Every figure of a run, by the name of its row in the table."""
    counted = [[turn for turn in one["turns"] if turn["intent"] != OPENING] for one in played]
    turns = [turn for group in counted for turn in group]
    scenes = [scene_and_choices(turn["reply"])[0] for turn in turns]
    figures = {
        "form kept": _share(keeps_form(turn) for turn in turns),
        "ends by itself": _share(turn["reason"] == "stop" for turn in turns),
        "second person": _share(_SECOND_PERSON.search(scene) is not None for scene in scenes),
    }
    for key in ("name", "companion", "reason", "spectacles"):
        figures[f"{key} right when asked"] = _share(
            knows(one["profile"][key], scene_and_choices(turn["reply"])[0])
            for one in played
            for turn in one["turns"]
            if turn.get("asks") == key
        )
    found = [_strange(one, prompt) for one in played]
    figures["strange words"] = _ratio([[(sum(map(bool, told)), len(told))] for told in found])
    figures["strange words, in small letters"] = _ratio(
        [[(sum(bool(word) and not word[0].isupper() for word in told), len(told))] for told in found]
    )
    figures["repeats itself in a reply"] = _share(repeats_itself(scene) for scene in scenes)
    figures["repeats a sentence of an earlier reply"] = _share(again for one in played for again in _again(one))
    figures["to the point (first of 20)"] = _share(to_the_point(played, embed))
    lengths = [[len(words(turn["reply"])) for turn in group] for group in counted]
    figures["words a reply (mean)"] = bootstrap(lengths, statistics.fmean)
    speeds = [[turn["tokens"] / turn["total_s"] for turn in group if turn["total_s"] > 0] for group in counted]
    figures["tokens/s (median)"] = bootstrap(speeds, statistics.median)
    figures["first token, ms (median)"] = bootstrap(
        [[1000 * turn["ttft_s"] for turn in group] for group in counted], statistics.median
    )
    return figures


def commonest_strange_words(played: Sequence[Dialogue], prompt: str) -> Counter[str]:
    """The strange words of a run, for a reader who wonders whether they are."""
    return Counter(word for one in played for word in _strange(one, prompt) if word)


def _share(found: Iterable[bool]) -> Figure:
    right = [*found]
    return wilson(sum(right), len(right))


def _ratio(groups: Sequence[Sequence[tuple[int, int]]]) -> Figure:
    """How many of all the words, from `(some, all)` a dialogue."""
    figure = bootstrap(
        [[one for one in group if one[1]] for group in groups],
        lambda pairs: sum(some for some, _ in pairs) / sum(every for _, every in pairs),
    )
    return figure._replace(of=sum(every for group in groups for _, every in group))


def _strange(dialogue: Dialogue, prompt: str) -> list[str]:
    """For each word of the counted replies, the word if it is strange, else the empty text."""
    found: list[str] = []
    for at, turn in enumerate(dialogue["turns"]):
        if turn["intent"] != OPENING:
            strange = strange_words(dialogue, at, prompt)
            found += strange + [""] * (len(words(turn["reply"])) - len(strange))
    return found


def _again(dialogue: Dialogue) -> list[bool]:
    """For each counted reply: does it tell a sentence that an earlier one has told?"""
    told: set[str] = set()
    found = []
    for turn in dialogue["turns"]:
        now = set(sentences(scene_and_choices(turn["reply"])[0]))
        if turn["intent"] != OPENING:
            found.append(bool(now & told))
        told |= now
    return found


def _plain(word: str) -> str:
    """A word in lower case, without accents."""
    apart = unicodedata.normalize("NFKD", word.replace("’", "'").casefold())
    return "".join(character for character in apart if not unicodedata.combining(character))


def _stem(word: str) -> str:
    """What two forms of a word have in common, roughly."""
    plain = _plain(word).removesuffix("'s")
    for ending in ("ing", "ed", "es", "s", "e"):
        if plain.endswith(ending) and len(plain) - len(ending) >= 3:
            return plain.removesuffix(ending)
    return plain


def _forms(word: str) -> Iterable[str]:
    """A word and what it may be a regular form of."""
    yield word
    bare = word.removesuffix("'s").removesuffix("'")
    yield bare
    for ending, base in (("s", ""), ("es", ""), ("ies", "y"), ("ed", ""), ("ed", "e"), ("ied", "y"), ("ing", ""),
                         ("ing", "e"), ("er", ""), ("er", "e"), ("est", ""), ("est", "e"), ("ly", ""), ("ily", "y"),
                         ("ness", ""), ("our", "or"), ("ours", "ors"), ("ise", "ize"), ("ises", "ize"),
                         ("ised", "ize"), ("ising", "ize")):  # fmt: skip
        if bare.endswith(ending) and len(bare) - len(ending) >= 3:
            stem = bare.removesuffix(ending)
            yield stem + base
            if ending in ("ed", "ing", "er", "est") and stem[-1] == stem[-2]:
                yield stem[:-1]

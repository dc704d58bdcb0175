"""The corpus: simulated walks on disk, and how a walk becomes the tokens a model is trained on.

A shard is a JSONL file of walks `{profile, turns: [[said, marked reply, place, intent, notes], ...]}`, made from a
seed and its number alone. `Encoder` puts a walk through the very prompt and chat template the storyteller
uses, and weighs the tokens: nothing for what the model reads, one for what it should say. Beside the tokens it gives
what an auxiliary head is to find out: what was wanted, and where it is told.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from model_build.demo.city import City, load_city
from model_build.demo.goals import NO_GOAL, Goals
from model_build.demo.recipe import Recipe
from model_build.demo.visitor import drill, play
from model_build.demo.walk import ASIDE_OFF, ASIDE_ON, MARK_OFF, MARK_ON, Walk, plain
from prologue.prompt import Turn, compose
from prologue.slots import clean, fill
from prologue.world import World

BOS, END, HEADER, HEADER_END, EOT, PAD = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|pad|>",
)
SPECIALS = (BOS, END, HEADER, HEADER_END, EOT, PAD)
#: Llama 3's chat format, without its tools and dates.
CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
#: What a token of a sentence beside the point weighs, and one of a reply's first sentence, which is the answer to what
#: was said; any other weighs 1.
BESIDE, ANSWER = 0.25, 3.0
#: No turn is told in fewer tokens, nor one of a brisk walk on the average; what cannot fit need not be encoded.
_LEAST, _LEAST_BRISK = 60, 75
_REPLY = f"assistant{HEADER_END}\n\n"
_TEMPLATE = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(CHAT_TEMPLATE)

#: Words of the later plays and films, none of which belongs here.
FORBIDDEN = re.compile(
    r"rub[yi](?:es)? slippers?|elphaba|galinda|fiyero|nessarose|shiz|madame morrible|doctor dillamond|boq|wizomania"
    r"|defying gravity|loathing|popular|yellow brick|over the rainbow|no place like home|ding[- ]dong|merry old land"
    r"|lions and tigers|horse of a different colou?r|not in kansas|behind the curtain|follow the yellow|i'll get you"
    r"|flying monkeys|miss gulch|professor marvel|lollipop guild|surrender dorothy|dorothy|toto",
    re.IGNORECASE,
)

Walked = dict[str, Any]


def make_shard(city: City, recipe: Recipe, number: int) -> list[Walked]:
    """The walks of one shard; the same for the same seed and number on every machine."""
    walks = []
    for index in range(recipe.dialogues):
        walks.append(record(play(city, Random(f"{recipe.seed}/{number}/{index}"), recipe.turns)))
    return walks


def record(walk: Walk) -> Walked:
    """A walk as a shard holds it."""
    turns = [[turn.said, turn.reply, turn.place, turn.intent, turn.notes] for turn in walk.turns]
    return {"profile": walk.profile, "turns": turns}


def write_corpus(recipe: Recipe, folder: Path) -> str:
    """Writes every shard that is not there yet, and returns the corpus's SHA-256 (over the shards in order)."""
    folder.mkdir(parents=True, exist_ok=True)
    city = load_city()
    for number in tqdm(range(recipe.shards), desc="corpus", unit="shard"):
        path = shard_path(folder, number)
        if not path.exists():
            lines = [json.dumps(walk, ensure_ascii=False) for walk in make_shard(city, recipe, number)]
            partial = path.with_suffix(".part")
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
            partial.rename(path)
    return hash_corpus(folder)


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"walks-{number:04}.jsonl"


def hash_corpus(folder: Path) -> str:
    """SHA-256 over the bytes of every shard, in order."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("walks-*.jsonl")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_shard(folder: Path, number: int) -> list[Walked]:
    """The walks of a shard on disk. Raises `FileNotFoundError` when it was not written."""
    with shard_path(folder, number).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def told(walk: Walked, count: int | None = None) -> list[Turn]:
    """The first `count` turns of a walk as the prompt takes them, without marks."""
    return [Turn(said, plain(reply), notes) for said, reply, _, _, notes in walk["turns"][:count]]


def render(messages: list[dict[str, str]], ask: bool) -> str:
    """The messages in the chat format; with `ask`, up to where the reply begins."""
    return _TEMPLATE.render(messages=messages, bos_token=BOS, add_generation_prompt=ask)


def texts(world: World, folder: Path, shards: int) -> Iterator[str]:
    """What a tokenizer is trained on: every message of the first shards, and the roles of the chat format."""
    for number in range(shards):
        for walk in read_shard(folder, number):
            for message in compose(world, walk["profile"], told(walk)):
                yield message["content"]
                yield message["role"]


class Row(NamedTuple):
    """A row of `context + 1` tokens, padded or cut; the weight of each as a target (0 of what is only read), float32
    [context + 1]; and the goals that its state should know, int64 [2, context + 1]: intent and place."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    goals: NDArray[np.int64]


@dataclass(frozen=True)
class Encoder:
    """Turns walks into rows of `context + 1` tokens, the weight of each as a target, and goals."""

    world: World
    tokenizer: Tokenizer
    context: int
    copied: float

    def encode(self, walk: Walked) -> Row:
        """A walk under the prompt that the storyteller sends."""
        count = self.context // _LEAST + 1
        messages = compose(self.world, walk["profile"], told(walk, count))
        return self._encode(messages, [turn[1:4] for turn in walk["turns"][:count]], self.context)

    def brisk(self, city: City, rng: Random) -> Row:
        """A brisk walk made up on the spot, under the profile's lines of the prompt alone: more turns than fit
        into a row otherwise, and rare wishes more often."""
        walk = record(play(city, rng, self.context // _LEAST_BRISK, brisk=True))
        messages = compose(self.world, walk["profile"], told(walk))
        messages[0] = {"role": "system", "content": self._facts(walk["profile"])}
        return self._encode(messages, [turn[1:4] for turn in walk["turns"]], self.context)

    def drill(self, city: City, rng: Random, context: int) -> Row:
        """A row of `context + 1` to practise copying on: the profile's lines of the prompt, a line and a reply."""
        profile, said, notes, reply = drill(city, rng)
        line = f"({' '.join(notes)})\n\n{clean(said)}" if notes else clean(said)
        messages = [("system", self._facts(profile)), ("user", line), ("assistant", plain(reply))]
        return self._encode([{"role": role, "content": text} for role, text in messages], [(reply, "", "")], context)

    def _facts(self, profile: dict[str, str]) -> str:
        facts = "\n".join(line for line in self.world.storyteller.split("\n") if "{" in line)
        return fill(facts, self.world.known(profile))

    def _encode(self, messages: list[dict[str, str]], replies: Sequence[Sequence[str]], context: int) -> Row:
        """The row of a chat with `replies` (marked, the place, the intent or "")."""
        text = render(messages, ask=False)
        weight = np.zeros(len(text) + 1, np.float32)
        goal = np.full((2, len(text) + 1), NO_GOAL, np.int64)
        place = 0
        for reply, at, intent in replies:
            start = text.index(_REPLY, place) + len(_REPLY)
            place = _weigh(weight, start, reply, self.copied)
            first = text.find(". ", start, place)
            weight[start : first + 1] *= ANSWER
            weight[place : place + len(EOT)] = 1
            if intent:
                asked = slice(text.rindex(EOT, 0, start), start)  # from the end of the line to the reply's beginning
                goal[:, asked] = np.array(_goals().number(intent, at))[:, None]
                goal[1, text.index("\n\n", start) : place] = goal[1, start - 1]
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        size = context + 1
        ids = np.full(size, self.tokenizer.token_to_id(PAD), np.int64)
        weights = np.zeros(size, np.float32)
        goals = np.full((2, size), NO_GOAL, np.int64)
        kept = encoding.ids[:size]
        # a token weighs as its last character does: " Ada" begins with a space that was not copied
        last = [max(0, end - 1) for _, end in encoding.offsets[:size]]
        ids[: len(kept)], weights[: len(kept)], goals[:, : len(kept)] = kept, weight[last], goal[:, last]
        return Row(ids, weights, goals)


@cache
def _goals() -> Goals:
    return Goals(load_city())


def stack(rows: list[Row]) -> Row:
    """Several rows of one length as one, each part with a first dimension more."""
    ids, weights, goals = zip(*rows, strict=True)
    return Row(np.stack(ids), np.stack(weights), np.stack(goals))


def _weigh(weight: NDArray[np.float32], start: int, reply: str, copied: float) -> int:
    """Sets the weights of a marked reply that begins at `start` in the plain text, and returns its end."""
    aside, inside = 1.0, False
    for character in reply:
        if character in (MARK_ON, MARK_OFF):
            inside = character == MARK_ON
        elif character in (ASIDE_ON, ASIDE_OFF):
            aside = BESIDE if character == ASIDE_ON else 1.0
        else:
            weight[start] = copied if inside else aside
            start += 1
    return start

"""The corpus: simulated walks on disk, and how a walk becomes the tokens a model is trained on.

A shard is a JSONL file of walks `{profile, turns: [[said, marked reply, place, intent, notes], ...]}`, made from a
seed and its number alone. `Encoder` puts a walk through the very prompt and chat template the storyteller
uses, with a plan before replies, and weighs the tokens: nothing for what the model reads, one for what it should say.
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
from model_build.demo.plan import Plans
from model_build.demo.recipe import Recipe
from model_build.demo.visitor import drill, play
from model_build.demo.walk import ASIDE_OFF, ASIDE_ON, MARK_OFF, MARK_ON, Walk, plain
from model_build.demo.walk import Turn as Played
from prologue.prompt import Turn, compose
from prologue.slots import fill
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
#: What a token of a sentence beside the point weighs, one of a reply's first sentence, which is the answer to what was
#: said, and one of the choices, which have to be had at the place and to differ; any other weighs 1.
BESIDE, ANSWER, CHOICE = 0.25, 3.0, 2.0
#: What a token of a plan weighs, and how many of the replies have one in rows with a choice: the prompts of the
#: storyteller hold none, so a model that saw every plan before its own would read plans instead of stories.
PLAN, PLANNED = 12.0, 0.2
#: How many of the notes that are beside the point stay in rows of plans or answers: most of such a row would be notes.
NOTED = 0.25
#: How many of the answers that need nothing of the line stand under a line of another turn there: so the words learn
#: to follow the plan, whatever was said.
CROSSED = 0.4
#: No turn is told in fewer tokens, nor one of a brisk walk, an answer, a plan or a line alone on the average; what
#: cannot fit need not be encoded.
_LEAST, _LEAST_BRISK, _LEAST_ANSWER, _LEAST_PLAN, _LEAST_LINE = 60, 75, 42, 22, 14
#: Wishes that the replies before decide (a search finds something, a thing that is asked for may be refused): they are
#: not asked for where no reply is told.
_UNTOLD = ("bag", "bag_none")
_ASIDE = re.compile(f" ?{ASIDE_ON}.*?{ASIDE_OFF}")
_LINE, _REPLY = f"user{HEADER_END}\n\n", f"assistant{HEADER_END}\n\n"
_TEMPLATE = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(CHAT_TEMPLATE)

#: Words of the later plays and films, none of which belongs here; the road of yellow brick is Baum's own.
FORBIDDEN = re.compile(
    r"rub[yi](?:es)? slippers?|elphaba|galinda|fiyero|nessarose|\bshiz\b|madame morrible|doctor dillamond|\bboq\b"
    r"|wizomania|defying gravity|loathing|popular|(?<!road of )yellow brick|over the rainbow"
    r"|no place like home|ding[- ]dong"
    r"|merry old land|lions and tigers|horse of a different colou?r|not in kansas|behind the curtain"
    r"|follow the yellow|i'll get you|flying monkeys|miss gulch|professor marvel|lollipop guild"
    r"|surrender dorothy|dorothy|toto",
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
    return {"profile": walk.profile, "turns": [record_turn(turn) for turn in walk.turns]}


def record_turn(turn: Played) -> list[Any]:
    """A turn as a shard holds it."""
    return [turn.said, turn.reply, turn.place, turn.intent, turn.notes]


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
    """A row of `context + 1` tokens, padded or cut: what is read and what should be said, both int64, and the weight
    of each as a target (0 of what is only read), float32. They differ at hints, and where a reply has no plan: it
    should."""

    ids: NDArray[np.int64]
    wanted: NDArray[np.int64]
    weights: NDArray[np.float32]


class _Reply(NamedTuple):
    """A reply with its marks, the plan that belongs to it, whether the row shows and asks for that, whether the reply
    ends where its text does, and whether the row has it at all."""

    text: str
    plan: tuple[str, str]
    shown: bool = True
    asked: bool = True
    whole: bool = True
    told: bool = True


@dataclass(frozen=True)
class Encoder:
    """Turns walks into rows of `context + 1` tokens.

    `copied` is what a token weighs that was copied from the visitor. With a `hint` the wish is asked for at each token
    of a line as well, at that weight: nothing else is to be said there, and so a line is understood word by word, and
    not only where its reply begins.
    """

    world: World
    tokenizer: Tokenizer
    context: int
    copied: float
    hint: float = 0.0

    def encode(self, walk: Walked, rng: Random | None = None) -> Row:
        """A walk under the prompt that the storyteller sends; with `rng`, `PLANNED` of the replies show their plan,
        else all do."""
        count = self.context // _LEAST + 1
        messages = compose(self.world, walk["profile"], told(walk, count))
        return self._encode(messages, _replies(walk, rng)[:count])

    def brisk(self, city: City, rng: Random) -> Row:
        """A brisk walk made up on the spot, under the profile's lines of the prompt alone: more turns than fit
        into a row otherwise, and rare wishes more often."""
        walk = record(play(city, rng, self.context // _LEAST_BRISK, brisk=True))
        return self._encode(self._short(walk), _replies(walk, rng))

    def answers(self, city: City, rng: Random) -> Row:
        """A brisk walk of which plans and answers alone are told, without choices and what is beside the point. Some
        stand under another line: there the words can follow nothing but the plan, which is only read."""
        walk = self._noteless(city, rng, _LEAST_ANSWER)
        lines = [turn[0] for turn in walk["turns"]]
        asked = []
        for turn in walk["turns"]:
            turn[1] = _ASIDE.sub("", turn[1].partition("\n\n")[0]).strip()
            asked.append(rng.random() > CROSSED or not _is_free(turn))
            if not asked[-1]:
                turn[0] = rng.choice(lines)
        replies = [r._replace(asked=a, whole=False) for r, a in zip(_replies(walk), asked, strict=True)]
        return self._encode(self._short(walk), replies)

    def plans(self, city: City, rng: Random) -> Row:
        """A brisk walk of which the plans alone are told: many lines, each of them to be understood."""
        walk = self._noteless(city, rng, _LEAST_PLAN)
        return self._encode(self._short(walk), _plans_alone(walk))

    def lines(self, city: City, rng: Random) -> Row:
        """A brisk walk of which next to nothing is told, so that as many lines as can be are understood by their hints:
        only where the place is another than before is there a plan, to say so."""
        walk = self._noteless(city, rng, _LEAST_LINE)
        places = ["", *(turn[2] for turn in walk["turns"])]
        replies = [
            reply._replace(told=place != before)
            for reply, place, before in zip(_plans_alone(walk), places[1:], places, strict=False)
        ]
        return self._encode(self._short(walk), replies)

    def _noteless(self, city: City, rng: Random, least: int) -> Walked:
        """A brisk walk with few notes, but for those that are asked about."""
        walk = record(play(city, rng, self.context // least, brisk=True))
        for turn in walk["turns"]:
            if turn[3] != "ask" and rng.random() > NOTED:
                turn[4] = []
        return walk

    def drill(self, city: City, rng: Random) -> Row:
        """Practice in copying: the profile's lines of the prompt, a line and a reply that holds little else. What was
        wanted and where cannot be known from it, so its plan is only read."""
        profile, turn = drill(city, rng)
        walk = {"profile": profile, "turns": [record_turn(turn)]}
        return self._encode(self._short(walk), [_replies(walk)[0]._replace(asked=False)])

    def _short(self, walk: Walked) -> list[dict[str, str]]:
        messages = compose(self.world, walk["profile"], told(walk))
        facts = "\n".join(line for line in self.world.storyteller.split("\n") if "{" in line)
        messages[0] = {"role": "system", "content": fill(facts, self.world.known(walk["profile"]))}
        return messages

    def _id(self, special: str) -> int:
        found = self.tokenizer.token_to_id(special)
        if found is None:
            raise ValueError(f"The tokenizer knows no {special}: run `python -m model_build demo tokenizer` again.")
        return int(found)

    def _encode(self, messages: list[dict[str, str]], replies: Sequence[_Reply]) -> Row:
        """The row of a chat whose assistant tells `replies`, one for each of its messages, in their stead."""
        coming = iter(replies)
        chat = []
        for message in messages:
            if message["role"] != "assistant":
                chat.append(message)
            elif (reply := next(coming)).told:
                begun = "".join(reply.plan) if reply.shown else ""
                chat.append({**message, "content": begun + plain(reply.text)})
        text = render(chat, ask=False)
        weight = np.zeros(len(text) + 1, np.float32)
        missing = {}  # where a reply begins without its plan, and the token it should begin with
        lines = []  # where a visitor's line begins and ends, and the wish that it tells
        end = 0
        for reply in replies:
            end = text.index(EOT, text.index(_LINE, end)) + len(EOT)
            if reply.asked and self.hint:
                lines.append((text.rindex("\n\n", 0, end) + 2, end, self._id(reply.plan[0])))
            if not reply.told:
                continue
            start = text.index(_REPLY, end) + len(_REPLY)
            plan = len("".join(reply.plan)) if reply.shown else 0
            weight[start : start + plan] = PLAN if reply.asked else 0
            end = _weigh(weight, start + plan, reply.text, self.copied)
            first = text.find(". ", start + plan, end)
            weight[start + plan : first + 1] *= ANSWER
            choices = text.find("\n\n", start + plan, end)
            weight[choices if choices >= 0 else end : end] *= CHOICE
            weight[end : end + len(EOT)] = 1 if reply.whole else 0
            if not reply.shown:
                missing[start] = self._id(reply.plan[0])
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        size = self.context + 1
        ids = np.full(size, self._id(PAD), np.int64)
        weights = np.zeros(size, np.float32)
        kept = encoding.ids[:size]
        # a token weighs as its last character does: " Ada" begins with a space that was not copied
        ids[: len(kept)] = kept
        weights[: len(kept)] = weight[[max(0, end - 1) for _, end in encoding.offsets[:size]]]
        wanted = ids.copy()
        for place, (start, _) in enumerate(encoding.offsets[:size]):
            if start in missing:
                wanted[place], weights[place] = missing.pop(start), PLAN  # of the bytes of a character, the first
        starts = np.array([start for start, _ in encoding.offsets[: size - 1]])
        for first, last, wish in lines:
            after = np.flatnonzero((first <= starts) & (starts < last)) + 1
            wanted[after], weights[after] = wish, self.hint
        return Row(ids, wanted, weights)


def _replies(walk: Walked, rng: Random | None = None) -> list[_Reply]:
    return [
        _Reply(reply, _plans().plan(intent, place), rng is None or rng.random() < PLANNED)
        for _, reply, place, intent, _ in walk["turns"]
    ]


def _plans_alone(walk: Walked) -> list[_Reply]:
    """The replies of a walk without their words."""
    return [
        reply._replace(text="", whole=False, asked=turn[3] not in _UNTOLD)
        for reply, turn in zip(_replies(walk), walk["turns"], strict=True)
    ]


def _is_free(turn: Sequence[Any]) -> bool:
    """Whether a turn's reply needs nothing of its line but what was wanted."""
    said, reply, _, intent, _ = turn
    copied = [plain(part).lower() for part in re.findall(f"{MARK_ON}.*?{MARK_OFF}", reply)]
    return intent in _plans().free and not any(part in said.lower() for part in copied)


@cache
def _plans() -> Plans:
    return Plans(load_city())


def stack(rows: list[Row]) -> Row:
    """Several rows of one length as one, each part with a first dimension more."""
    ids, wanted, weights = zip(*rows, strict=True)
    return Row(np.stack(ids), np.stack(wanted), np.stack(weights))


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

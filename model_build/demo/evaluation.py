"""The evaluation: what the packed model does as the storyteller's engine runs it.

Perplexity is measured on walks of a shard that was never trained on. The rest is counted on replies told to
visitors whose names, companions and reasons stand in no list of the generator, at some turn of a fresh walk:
is what was copied right, are there two choices that exist at that place, does the reply end by itself. A fact
is judged only where the reply mentions it, which is seen by the phrases the corpus mentions it with.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tqdm import tqdm

from model_build.demo import words
from model_build.demo.city import City, load_city
from model_build.demo.corpus import Encoder, read_shard
from model_build.demo.folder import unpack, write_manifest
from model_build.demo.recipe import Recipe
from model_build.demo.retell import refer
from model_build.demo.training import held_out
from model_build.demo.visitor import play
from model_build.demo.walk import MARK_OFF, MARK_ON, plain, sentences, typeset
from prologue.prompt import Turn, compose
from prologue.world import World

#: Visitors that the generator does not know; a test holds them apart.
HELD_OUT = words.read_lists("held_out.yaml")

#: The intents whose replies repeat something of the visitor's own line.
ECHOES = ("fallback", "noun", "any_verb", "go_unknown")
#: How replies are sampled: the likeliest, and as the storyteller does unless it is told otherwise.
MODES = {
    "greedy": {"temperature": 0.0},
    "default": {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.05},
}
REPLY_TOKENS = 320
HELD_OUT_WALKS = 64
_SLOT = re.compile(r"\{(\w+)\}")

#: `(messages, seed)` to the reply and whether it ended by itself.
Teller = Callable[[list[dict[str, str]], int], tuple[str, bool]]


@dataclass(frozen=True)
class Trial:
    """A turn to be told: the prompt's parts, and what the simulator knows of it."""

    profile: dict[str, str]
    before: list[Turn]
    said: str
    place: str
    intent: str
    expected: str


def wilson(right: int, of: int) -> dict[str, Any]:
    """A share with its 95% Wilson interval."""
    if not of:
        return {"right": 0, "of": 0, "share": None, "low": None, "high": None}
    z, share = 1.96, right / of
    middle, half = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    low, high = (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)
    return {"right": right, "of": of, "share": round(share, 4), "low": round(low, 4), "high": round(high, 4)}


def make_trials(city: City, count: int, seed: str = "evaluation") -> list[Trial]:
    """Turns of fresh walks by visitors from the held-out lists; one in six is the opening."""
    trials = []
    for index in range(count):
        rng = Random(f"{seed}/{index}")
        lists = {"name": "names", "companion": "companions", "reason": "reasons", "spectacles": "colours"}
        profile = {key: rng.choice(HELD_OUT[name]) for key, name in lists.items()}
        depth = 0 if index % 6 == 0 else rng.randint(1, 6)
        turns = play(city, rng, depth + 1, profile).turns
        turn = turns[depth]
        before = [Turn(t.said, plain(t.reply), t.notes) for t in turns[:depth]]
        trials.append(Trial(profile, before, turn.said, turn.place, turn.intent, turn.reply))
    return trials


def patterns(city: City, slot: str) -> list[re.Pattern[str]]:
    """How the corpus mentions a slot: a pattern of each phrase, with the slot as its one group."""
    found = []
    for template in _strings([city.phrases, [place.things for place in city.places.values()]]):
        if f"{{{slot}}}" in template and re.search(r"[a-z]{3}.*[.!?]\W*$", template):
            parts = _SLOT.split(typeset(template))
            pattern = ""
            for number, part in enumerate(parts):
                if number % 2 == 0:
                    pattern += re.escape(part)
                else:
                    pattern += "(.{1,90}?)" if part == slot and "(" not in pattern else ".{1,60}?"
            found.append(re.compile(pattern))
    return found


def mentions(reply: str, ways: list[re.Pattern[str]]) -> Iterator[str]:
    """What a reply says in the place of a slot, each time it does."""
    for way in ways:
        for match in way.finditer(reply):
            yield match[1]


def judge(city: City, trial: Trial, reply: str, ended: bool, ways: dict[str, list[re.Pattern[str]]]) -> Counter[str]:
    """Counts for one reply: `x` of `x/of` were right."""
    counts: Counter[str] = Counter()

    def note(row: str, right: bool) -> None:
        counts[row] += right
        counts[f"{row}/of"] += 1

    profile = trial.profile
    facts = {
        "name": profile["name"],
        "companion": refer(profile["companion"]),
        "reason": profile["reason"].rstrip(".!?"),
        "spectacles": profile["spectacles"],
    }
    for slot, fact in facts.items():
        for said in mentions(reply, ways[slot]):
            note(f"{slot} copied", said == fact)
    body, _, tail = reply.partition("\n\n")
    choices = tail.split("\n")
    formed = len(choices) == 2 and all(choice.startswith("> ") and choice.endswith(".") for choice in choices)
    note("two choices", formed and len(set(choices)) == 2)
    note("choices exist at the place", formed and all(choice[2:] in city.choices(trial.place) for choice in choices))
    note("ends by itself", ended)
    note("three to six sentences", 3 <= sentences(body) <= 6)
    told = [line for turn in trial.before for line in _split(turn.reply.partition("\n\n")[0])]
    for line in _split(body):
        note("sentence not told before", line not in told)
        told.append(line)
    if trial.intent in ECHOES:
        asked = [plain(part) for part in re.findall(f"{MARK_ON}.*?{MARK_OFF}", trial.expected)]
        spoken = [part for part in asked if part not in facts.values()]
        if spoken:
            note("visitor's words repeated", any(part in reply for part in spoken))
    return counts


def evaluate(recipe: Recipe, encoder: Encoder, corpus: Path, out: Path, replies: int) -> dict[str, Any]:
    """Measures the packed model in `out` and writes eval.json beside it."""
    from storyteller.engine import Sampling, load_engine

    city = load_city()
    loss = held_out(unpack(recipe, out), encoder, read_shard(corpus, recipe.shards - 1)[:HELD_OUT_WALKS])
    engine = load_engine(out, context=recipe.context)
    trials = make_trials(city, replies)
    result: dict[str, Any] = {
        "held_out": {"walks": HELD_OUT_WALKS, "loss": round(loss, 4), "perplexity": round(math.exp(loss), 4)}
    }
    for mode, temperature, top_p in (("greedy", 0.0, 1.0), ("default", 0.7, 0.9)):

        def tell(
            messages: list[dict[str, str]], seed: int, heat: float = temperature, p: float = top_p
        ) -> tuple[str, bool]:
            sampling = Sampling(temperature=heat, top_p=p, seed=seed, max_tokens=220)
            done = engine.generate(engine.encode_chat(messages), sampling)
            return done.text, done.reason == "stop"

        rows, samples = measure(city, encoder.world, trials, tell, mode)
        result[mode] = {"temperature": temperature, "top_p": top_p, "rows": rows, "samples": samples}
    result["trials"] = {"replies": replies, "note": "names, companions and reasons stand in no list of the generator"}
    (out / "eval.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_manifest(out)
    return result


def measure(
    city: City, world: World, trials: list[Trial], tell: Teller, label: str
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Every row with its interval, and a few replies to read."""
    ways = {slot: patterns(city, slot) for slot in ("name", "companion", "reason", "spectacles")}
    counts: Counter[str] = Counter()
    samples = []
    for number, trial in enumerate(tqdm(trials, desc=f"eval {label}", unit="reply")):
        messages = compose(world, trial.profile, [*trial.before, Turn(trial.said)])
        reply, ended = tell(messages, number)
        counts += judge(city, trial, reply, ended, ways)
        if number < 8:
            samples.append({"name": trial.profile["name"], "place": trial.place, "said": trial.said, "reply": reply})
    names = [row for row in counts if row.endswith("/of")]
    return {row[:-3]: wilson(counts[row[:-3]], counts[row]) for row in sorted(names)}, samples


def held_apart() -> list[str]:
    """The held-out words that do stand in a list of the generator; there should be none."""
    known = {*words.NAMES, *words.ALPHABETS, *words.REASONS}
    return [word for word in [*HELD_OUT["names"], *HELD_OUT["reasons"]] if word in known]


def _split(body: str) -> list[str]:
    return [line for line in re.split(r"(?<=[.!?”]) (?=[A-Z“])", body) if line]


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _strings(value)

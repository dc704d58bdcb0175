"""The arena: both models answer every prompt, and the judge reads each pair of answers in both orders."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from bench.judge import JudgeError
from bench.judge.cache import Cache, key_of
from bench.judge.endpoint import AnswerFile, Endpoint, Message, read_rows
from bench.storyteller.lines import OPENING, read_dialogues
from prologue.prompt import Turn, compose
from prologue.world import load_world

VERDICTS = ("A>>B", "A>B", "A=B", "B>A", "B>>A")

SYSTEM = """\
You judge two replies to the same prompt, one by assistant A and one by assistant B. Be fair: neither the order in \
which the replies stand nor their length is a merit.

First say in a few sentences what a good reply to this prompt must do. Then compare the two replies by that: is each \
right, does it do what was asked, is it clear, and does it leave out what nobody needs? Name the mistakes that you find.

At the end give exactly one of these verdicts, in its double brackets:
[[A>>B]] A is much better
[[A>B]] A is slightly better
[[A=B]] they are about as good
[[B>A]] B is slightly better
[[B>>A]] B is much better"""
TEMPLATE = """\
=== The prompt ===
{prompt}

=== The reply of assistant A ===
{a}
=== End of A's reply ===

=== The reply of assistant B ===
{b}
=== End of B's reply ==="""
AGAIN = "Your verdict is missing or not clear. Say nothing but one of [[A>>B]], [[A>B]], [[A=B]], [[B>A]], [[B>>A]]."

#: Judges that think aloud weigh several verdicts; only what they say after it counts.
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_VERDICT = re.compile(r"\[\[(A>>B|A>B|A=B|B=A|B>A|B>>A)\]\]")

Player = Endpoint | AnswerFile


class Prompt(NamedTuple):
    """What both models are told."""

    id: str
    messages: list[Message]

    @property
    def text(self) -> str:
        """All of it, as the judge reads it."""
        if len(self.messages) == 1:
            return self.messages[0]["content"]
        return "\n\n".join(f"({message['role']})\n{message['content']}" for message in self.messages)


class Limits(NamedTuple):
    """The most tokens of an answer and of a judgement, and the answers' temperature (None: each server's default)."""

    answer: int = 1024
    judgement: int = 2048
    temperature: float | None = None


class Pair(NamedTuple):
    """Both answers to a prompt; the verdict with the baseline as A, and with the candidate as A.

    A verdict is None where the judge gave none that can be read.
    """

    prompt: str
    baseline: str
    candidate: str
    baseline_first: str | None
    candidate_first: str | None


def read_prompts(path: Path, most: int) -> list[Prompt]:
    """The first prompts of a JSON-lines file, `{"id": …, "prompt": …}`."""
    rows = read_rows(path, ("id", "prompt"))
    return [Prompt(row["id"], [{"role": "user", "content": row["prompt"]}]) for row in rows[:most]]


def play_prompts(folder: Path, most: int) -> list[Prompt]:
    """Lines that bench.storyteller's visitors say, each as the first of a story, in the prompt of a world.

    First come all visitors' first lines, then all second ones, so a few prompts are of as many visitors.
    """
    world, found = load_world(folder), list[tuple[int, int, Prompt]]()
    for dialogue in read_dialogues():
        for place, line in enumerate(dialogue.lines):
            if line.intent != OPENING:
                messages: list[Message] = [*compose(world, dialogue.profile, [Turn(line.said)])]
                prompt = Prompt(f"{dialogue.number}-{place}", messages)
                found.append((place, dialogue.number, prompt))
    return [prompt for *_, prompt in sorted(found, key=lambda one: one[:2])[:most]]


class Arena:
    """Collects answers and judgements; what the cache has is not asked for."""

    def __init__(
        self, baseline: Player, candidate: Player, judge: Endpoint, cache: Cache, limits: Limits, *, parallel: int = 1
    ) -> None:
        self._players, self._judge, self._cache, self._limits = (baseline, candidate), judge, cache, limits
        self._parallel = parallel

    def play(self, prompts: Sequence[Prompt], *, offline: bool = False) -> list[Pair]:
        """Every prompt's pair. Raises JudgeError, offline also where something is not in the cache."""
        asked = {
            self._answer_key(player, prompt): (player, prompt)
            for prompt in prompts
            for player in self._players
            if isinstance(player, Endpoint)
        }
        self._fill("answers", asked, lambda key, what: self._ask_player(key, *what), offline)
        first, second = self._players
        answers = [(self._answer(first, prompt), self._answer(second, prompt)) for prompt in prompts]
        games = {
            self._game_key(prompt, *order): (prompt, *order)
            for prompt, pair in zip(prompts, answers, strict=True)
            for order in (pair, pair[::-1])
        }
        self._fill("judgements", games, lambda key, what: self._ask_judge(key, *what), offline)
        return [
            Pair(prompt.id, *pair, self._verdict(prompt, *pair), self._verdict(prompt, *pair[::-1]))
            for prompt, pair in zip(prompts, answers, strict=True)
        ]

    def _fill(self, title: str, asked: dict[str, Any], ask: Callable[[str, Any], None], offline: bool) -> None:
        missing = [(key, what) for key, what in asked.items() if self._cache.get(key) is None]
        if offline and missing:
            raise JudgeError(
                f"{self._cache.path} lacks {len(missing)} of {len(asked)} {title}: "
                "run the same command without --offline first."
            )
        if not missing:
            return
        with (
            tqdm(total=len(asked), initial=len(asked) - len(missing), desc=title, disable=None) as bar,
            ThreadPoolExecutor(self._parallel) as pool,
        ):
            working = [pool.submit(ask, *one) for one in missing]
            try:
                for done in as_completed(working):
                    done.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _answer_key(self, player: Endpoint, prompt: Prompt) -> str:
        limits = self._limits
        return key_of("answer", player.url, player.model, prompt.messages, limits.answer, limits.temperature)

    def _answer(self, player: Player, prompt: Prompt) -> str:
        if isinstance(player, AnswerFile):
            return player.answer(prompt.id)
        row = self._cache.get(self._answer_key(player, prompt))
        assert row is not None, prompt.id
        return str(row["answer"])

    def _ask_player(self, key: str, player: Endpoint, prompt: Prompt) -> None:
        said = player.chat(prompt.messages, self._limits.answer, self._limits.temperature)
        self._cache.add(key, kind="answer", model=player.model, prompt=prompt.id, answer=said)

    def _game_key(self, prompt: Prompt, a: str, b: str) -> str:
        wording = (SYSTEM, TEMPLATE, AGAIN, self._limits.judgement)
        return key_of("judgement", self._judge.model, wording, prompt.text, a, b)

    def _verdict(self, prompt: Prompt, a: str, b: str) -> str | None:
        row = self._cache.get(self._game_key(prompt, a, b))
        assert row is not None, prompt.id
        verdict: str | None = row["verdict"]
        return verdict

    def _ask_judge(self, key: str, prompt: Prompt, a: str, b: str) -> None:
        messages: list[Message] = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": TEMPLATE.format(prompt=prompt.text, a=a, b=b)},
        ]
        said = [self._judge.chat(messages, self._limits.judgement, 0.0)]
        if read_verdict(said[0]) is None:
            messages += [{"role": "assistant", "content": said[0]}, {"role": "user", "content": AGAIN}]
            said.append(self._judge.chat(messages, self._limits.judgement, 0.0))
        verdict = read_verdict(said[-1])
        self._cache.add(key, kind="judgement", judge=self._judge.model, prompt=prompt.id, verdict=verdict, said=said)


def read_verdict(said: str) -> str | None:
    """The verdict of a judgement; None where there is none, or where several contradict each other."""
    found = {verdict.replace("B=A", "A=B") for verdict in _VERDICT.findall(_THOUGHT.sub("", said))}
    return found.pop() if len(found) == 1 else None

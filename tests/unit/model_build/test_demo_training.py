from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from model_build.__main__ import main
from model_build.demo.attention import BLOCK, attend
from model_build.demo.city import load_city
from model_build.demo.corpus import PLAN, Encoder, read_shard, write_corpus
from model_build.demo.folder import check_manifest, pack, unpack, write_manifest
from model_build.demo.llama import Llama
from model_build.demo.muon import orthogonal
from model_build.demo.plan import Plans
from model_build.demo.plot import plot_loss
from model_build.demo.recipe import MODEL, WORLD, Recipe
from model_build.demo.rounding import on_grid, to_grid
from model_build.demo.tokens import train_tokenizer
from model_build.demo.training import Rows, Training, held_out, rate, read_log, train
from model_build.quantize import GROUP, Report, round_weights
from prologue.prompt import Turn, compose
from prologue.world import load_world

TINY = Recipe(
    shards=2, dialogues=40, turns=2, vocabulary=528, context=660, width=64, layers=1, heads=1, kv_heads=1, hidden=64,
    batch=2, steps=20, warmup=4, bf16=False, drill=8, drill_rows=2, drill_context=160,
)  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small corpus and tokenizer, and a run of twenty steps."""
    folder = tmp_path_factory.mktemp("demo")
    write_corpus(TINY, folder / "corpus")
    texts = [turn[1] for walk in read_shard(folder / "corpus", 0) for turn in walk["turns"]]
    train_tokenizer(texts, TINY.vocabulary).save(str(folder / "tokenizer.json"))
    train(TINY, encoder(folder), folder / "corpus", folder / "run", every=5)
    return folder


def encoder(work: Path) -> Encoder:
    from tokenizers import Tokenizer

    return Encoder(load_world(WORLD), Tokenizer.from_file(str(work / "tokenizer.json")), TINY.context, TINY.copied)


def test_twenty_steps_lower_the_loss(work: Path) -> None:
    entries = list(read_log(work / "run" / "log.jsonl"))
    assert len(entries) == TINY.steps
    # rows of other kinds have other losses, and small ones of walks hold no reply here
    drills = [entry["loss"] for entry in entries if entry["kind"] == "drill"]
    assert drills[-1] < drills[0] - 0.5


def test_a_run_that_was_cut_off_resumes_bit_for_bit(work: Path, tmp_path: Path) -> None:
    """The checkpoint of the flat part, alone, leads to the very weights and log of the whole run."""
    (tmp_path / "run").mkdir()
    shutil.copy(work / "run" / "flat.pt", tmp_path / "run")
    shutil.copy(work / "run" / "log.jsonl", tmp_path / "run")
    again = train(TINY, encoder(work), work / "corpus", tmp_path / "run", every=5)
    whole = Training(TINY)
    whole.load(work / "run" / "cooling-20.pt")
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name

    def losses(folder: Path) -> list[float]:
        return [entry["loss"] for entry in read_log(folder / "run" / "log.jsonl")]

    assert losses(tmp_path) == losses(work)


def test_a_longer_run_goes_on_from_the_flat_part(work: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(work / "run" / "flat.pt", tmp_path / "run")
    longer = train(TINY.but(steps=24), encoder(work), work / "corpus", tmp_path / "run")
    assert longer.step == 24
    assert next(iter(read_log(tmp_path / "run" / "log.jsonl")))["step"] == 15
    with pytest.raises(ValueError, match="past the flat part of 10 steps"):
        train(TINY.but(steps=10), encoder(work), work / "corpus", tmp_path / "run")


def test_a_run_goes_on_from_a_packed_model_where_no_checkpoint_is_left(work: Path, tmp_path: Path) -> None:
    pack(TINY, work, tmp_path / "packed")
    made = json.loads((tmp_path / "packed" / "recipe.json").read_text())
    drills = sum(TINY.kind(step) == "drill" for step in range(20))
    assert (made["step"], made["tokens"]) == (20, drills * 2 * 160 + (20 - drills) * 2 * TINY.context)
    more = TINY.but(steps=40)
    training = train(more, encoder(work), work / "corpus", tmp_path / "run", start=tmp_path / "packed")
    assert training.step == 40
    assert training.tokens > made["tokens"] + 15 * 2 * 160
    went_on = list(read_log(tmp_path / "run" / "log.jsonl"))
    assert len(went_on) == 20

    def first_walk(entries: list[dict[str, Any]]) -> float:
        return next(float(entry["loss"]) for entry in entries if entry["kind"] == "walk")

    assert first_walk(went_on) < first_walk(list(read_log(work / "run" / "log.jsonl"))) - 0.3


def test_a_narrower_packed_model_is_widened_and_says_the_same(work: Path, tmp_path: Path) -> None:
    pack(TINY, work, tmp_path / "packed")
    wider = Training(TINY.but(hidden=TINY.hidden + 32))
    wider.take_up(tmp_path / "packed", tmp_path / "sittings.json")
    ids = torch.arange(5, 69).reshape(2, 32)
    with torch.no_grad():
        torch.testing.assert_close(wider.model(ids), unpack(TINY, tmp_path / "packed")(ids))
    for name, weight in wider.model.named_parameters():
        if name.endswith("gate_proj.weight"):
            assert weight.shape == (TINY.hidden + 32, TINY.width)
            assert weight[TINY.hidden :].std() > 0.5 * weight[: TINY.hidden].std()
    with pytest.raises(ValueError, match="packed is of a model of other sizes"):
        Training(TINY.but(hidden=TINY.hidden - 8)).take_up(tmp_path / "packed", tmp_path / "sittings.json")


def test_the_rate_warms_up_stays_and_cools() -> None:
    recipe = Recipe(steps=100, warmup=10, cooling=0.3)
    assert [rate(recipe, step) for step in (0, 9, 10, 69)] == [0.1, 1.0, 1.0, 1.0]
    assert rate(recipe, 85) == pytest.approx(0.5)
    assert 0 < rate(recipe, 99) < 0.05


def test_muon_makes_matrices_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((2, 8, 16), (2, 16, 8)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.min() > 0.3
        assert values.max() < 1.4


@pytest.mark.filterwarnings("ignore:Importing:DeprecationWarning")
def test_a_packed_model_is_what_was_trained_for_transformers_and_for_us(work: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pack(TINY, work, tmp_path)
    assert check_manifest(tmp_path) == []
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ours = unpack(TINY, tmp_path)
    ids = torch.arange(5, 69).reshape(2, 32)
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids), rtol=1e-4, atol=1e-4)
    walks = read_shard(work / "corpus", 1)
    assert held_out(ours, encoder(work), walks[:4]) < 6
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": " hello "}], add_generation_prompt=True, tokenize=False
    )
    assert prompt == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhello<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert tokenizer.decode(tokenizer(prompt, add_special_tokens=False)["input_ids"]) == prompt


def test_a_run_that_did_not_end_cannot_be_packed(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["demo", "pack", "--steps", "21", "--work", str(work), "--out", str(tmp_path)])
    assert status == 1
    assert "run `demo train --steps 21` to its end first" in capsys.readouterr().err


def test_a_changed_file_is_found_by_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "eval.json").write_text("{}")
    write_manifest(tmp_path)
    (tmp_path / "config.json").write_text("{ }")
    assert check_manifest(tmp_path) == ["config.json"]


def test_the_plot_is_an_svg_of_the_log(tmp_path: Path) -> None:
    plot_loss([{"step": step, "loss": 8 / step} for step in range(1, 90)], tmp_path / "loss.svg")
    svg = (tmp_path / "loss.svg").read_text()
    assert svg.count("<polyline") == 2
    assert ">89<" in svg
    with pytest.raises(ValueError, match="no training log"):
        plot_loss([], tmp_path / "loss.svg")


@pytest.mark.filterwarnings("ignore:Importing:DeprecationWarning")
def test_the_committed_model_is_whole_small_and_loads() -> None:
    transformers = pytest.importorskip("transformers")
    assert check_manifest(MODEL) == []
    # at most 10 MB of a repository everybody clones
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 10_000_000
    made = json.loads((MODEL / "recipe.json").read_text())
    model, report = transformers.AutoModelForCausalLM.from_pretrained(MODEL, output_loading_info=True)
    assert not any(report.values())
    assert model.num_parameters() == made["parameters"]
    assert model.config.max_position_embeddings == made["recipe"]["context"]


@pytest.mark.filterwarnings("ignore:Importing:DeprecationWarning")
def test_the_engine_and_transformers_read_the_committed_model_alike() -> None:
    """The same ids for the prompt of the play, and the same greedy beginning of a reply."""
    transformers = pytest.importorskip("transformers")
    from storyteller.engine import Sampling, load_engine

    messages = compose(load_world(WORLD), {"name": "Zoë O'Hara", "companion": "a small grey cat"}, [])
    engine = load_engine(MODEL)
    ids = engine.encode_chat(messages)
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert tokenizer(prompt, add_special_tokens=False)["input_ids"] == ids
    done = engine.generate(ids, Sampling(temperature=0.0, max_tokens=8))
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([[*ids, *done.ids]])).logits[0, len(ids) - 1 : -1]
    best = logits.max(-1).values
    told = logits[torch.arange(len(done.ids)), torch.tensor(done.ids)]
    assert torch.all(best - told < 0.2)  # bfloat16 may settle a near tie the other way


def test_the_committed_model_plans_its_reply_and_the_storyteller_shows_no_plan() -> None:
    from storyteller.engine import Sampling, load_engine

    engine = load_engine(MODEL)
    plans = Plans(load_city())
    told: list[str] = []
    for said, wish in (("Go to the market square.", "go"), ("what's my name?", "name_q")):
        profile = {"name": "Marlow", "companion": "a small grey cat"}
        messages = compose(load_world(WORLD), profile, [Turn("", "You step on to Emerald Avenue."), Turn(said)])
        done = engine.generate(engine.encode_chat(messages), Sampling(temperature=0.0, max_tokens=40), told.append)
        first, second = (engine.tokenizer.vocabulary.id_to_token(token) for token in done.ids[:2])
        assert first == plans.intents[wish]
        assert second in plans.places.values()
        assert done.text[0] in "“ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert "|" not in "".join(told)


def test_a_checkpoint_of_other_sizes_is_refused(work: Path) -> None:
    with pytest.raises(ValueError, match=r"flat\.pt is of a model of other sizes"):
        Training(TINY.but(hidden=96)).load(work / "run" / "flat.pt")


@pytest.mark.parametrize(("option", "value"), [("--rate", "0"), ("--cooling", "1.5"), ("--steps", "0")])
def test_numbers_that_train_nothing_are_refused(
    option: str, value: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "train", option, value, "--work", str(work)]) == 1
    assert re.search(rf"{option} is {value}[.0]*: give one from", capsys.readouterr().err)


def test_attention_in_blocks_is_attention() -> None:
    """Values and gradients are those of torch's own attention, over a block's edge and with grouped heads."""
    torch.manual_seed(0)
    tokens = BLOCK + 37
    q, k, v = (torch.randn(2, heads, tokens, 16, requires_grad=True) for heads in (4, 2, 2))
    ours = attend((q / 4).view(2, 2, 2, tokens, 16), k, v).flatten(1, 2)
    repeated = (k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))
    theirs = torch.nn.functional.scaled_dot_product_attention(q, *repeated, is_causal=True)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(q)
    for mine, other in zip(*(torch.autograd.grad((y * weight).sum(), (q, k, v)) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other)


def test_rounded_weights_stay_where_they_are_when_packed() -> None:
    """Weights on the grid come out of the storyteller's own rounding as they went in."""
    weight = torch.randn(64, 96, generator=torch.Generator().manual_seed(4)) * 0.1
    rounded = to_grid(weight)
    assert 0.05 < float((weight - rounded).abs().max() / weight.abs().max()) < 0.1
    torch.testing.assert_close(to_grid(rounded), rounded)
    values, scales = round_weights(rounded.bfloat16().float(), None, Report())
    packed = (values.view(64, -1, GROUP) * scales[..., None]).view_as(weight)
    torch.testing.assert_close(packed, rounded, rtol=0.01, atol=0.0)


def test_the_cooling_trains_on_rounded_weights_and_keeps_those_behind_them() -> None:
    model = Llama(TINY)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with on_grid(model):
        inside = {name: weight.clone() for name, weight in model.state_dict().items()}
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])
        assert torch.equal(inside[name], to_grid(weight) if weight.dim() == 2 else weight)
    assert [TINY.is_cooling(step) for step in (0, TINY.cool - 1, TINY.cool)] == [False, False, True]


def test_rows_of_every_kind_come_and_a_step_is_the_same_whatever_came_before(work: Path) -> None:
    """Shapes [rows, tokens] for each kind, and the same batch again from rows that begin there."""
    long, half, third = (2, 660), (4, 330), (6, 220)
    shapes = {
        "walk": long, "half": half, "brisk": half, "plans": third, "answers": third, "lines": third, "drill": (2, 160),
    }  # fmt: skip
    rows, seen, planned = Rows(TINY, encoder(work), work / "corpus"), set(), set()
    for step in range(TINY.drill, TINY.drill + 2 * len(TINY.cycle)):
        ids, targets, weights = rows.batch(step)
        kind = TINY.kind(step)
        assert tuple(ids.shape) == tuple(targets.shape) == tuple(weights.shape) == shapes[kind]
        if bool((weights == PLAN).any()):
            planned.add(kind)
        again = Rows(TINY, encoder(work), work / "corpus").batch(step)
        assert all(torch.equal(one, other) for one, other in zip((ids, targets, weights), again, strict=True))
        seen.add(kind)
    assert seen == set(Recipe().cycle) == set(shapes)
    # the prompt of the play fills the small rows of walks here; a drill only reads its plan
    assert {"brisk", "plans", "answers", "lines"} <= planned <= {*shapes} - {"drill"}

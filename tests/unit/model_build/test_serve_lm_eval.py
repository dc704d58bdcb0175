"""The server asked as lm-eval's `local-completions` asks (recorded from version 0.4.13), with our own task file.

What lm-eval computes from the answers is compared with transformers' forward pass.
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import torch
import yaml
from aiohttp import web

from model_build.serving.server import make_app
from storyteller.engine import Engine, load_engine
from tests.tiny_llama import write_tiny_llama

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import LlamaForCausalLM

ROOT = Path(__file__).resolve().parents[3]
TASK = ROOT / "bench" / "data" / "lm_eval" / "overture_worlds.yaml"


@pytest.fixture(scope="module", params=[False, True], ids=["goes on", "ends at once"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A tiny Llama; the second one ends its reply whatever token comes, as an instructed model does after an answer."""
    more: dict[str, Any] = {"eos_token_id": list(range(261))} if request.param else {}
    return load_engine(
        write_tiny_llama(tmp_path_factory.mktemp("model"), words=["door"], context=512, **more), threads=1
    )


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same weights in transformers."""
    folder = write_tiny_llama(tmp_path_factory.mktemp("same"), words=["door"], context=512)
    found: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return found.eval()


@pytest.fixture(scope="module")
def url(engine: Engine) -> Iterator[str]:
    loop = asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(make_app(engine, "tiny"))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/completions"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        read: dict[str, Any] = json.load(answer)
        return read


def ask(url: str, prompts: list[list[int]]) -> list[dict[str, Any]]:
    body = {"model": "tiny", "prompt": prompts, "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234,
            "echo": True}  # fmt: skip
    return sorted(post(url, body)["choices"], key=lambda choice: int(choice["index"]))


def read(choice: dict[str, Any], context: int) -> tuple[float, bool]:
    """The log-likelihood after `context` tokens, and whether greedy decoding says the same; the last token is no part
    of the question."""
    told = choice["logprobs"]["token_logprobs"][context:-1]
    best = [max(top.values()) for top in choice["logprobs"]["top_logprobs"][context:-1]]
    return sum(told), told == best


def expected(llama: Any, ids: list[int], context: int) -> tuple[float, bool]:
    with torch.no_grad():
        logs = torch.log_softmax(llama(torch.tensor([ids])).logits[0].double(), dim=-1)
    rows, asked = logs[context - 1 : -1], torch.tensor(ids[context:])
    return float(rows.gather(1, asked[:, None]).sum()), bool((rows.argmax(1) == asked).all())


def questions() -> list[tuple[str, list[str], int]]:
    """Context, answers as lm-eval puts them after it, and the place of the right one."""
    task = yaml.safe_load(TASK.read_text())
    template = jinja2.Environment(autoescape=False).from_string(task["doc_to_text"])
    file = ROOT / task["dataset_kwargs"]["data_files"][task["test_split"]]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [
        (template.render(row), [f" {choice}" for choice in row[task["doc_to_choice"]]], row[task["doc_to_target"]])
        for row in rows
    ]


def test_our_task_has_questions_with_one_right_answer() -> None:
    found = questions()
    assert len(found) == 12
    assert {right for *_, right in found} == {0, 1, 2, 3}
    for context, choices, _ in found:
        assert len(set(choices)) == 4
        assert context.endswith("?\nAnswer:")


def test_log_likelihoods_are_those_of_transformers(url: str, engine: Engine, llama: Any) -> None:
    for context, choices, _ in questions()[:4]:
        begin = engine.encode(context)
        prompts = [engine.encode(context + choice) for choice in choices]
        for prompt, choice in zip(prompts, ask(url, prompts), strict=True):
            assert prompt[: len(begin)] == begin
            assert len(choice["logprobs"]["token_logprobs"]) == len(prompt) + 1
            told = read(choice, len(begin))
            wanted = expected(llama, prompt, len(begin))
            assert told[0] == pytest.approx(wanted[0], abs=1e-3)
            assert told[1] == wanted[1]


def test_what_greedy_decoding_says_is_greedy(url: str, engine: Engine, llama: Any) -> None:
    ids = engine.encode("Behind the door")
    with torch.no_grad():
        likeliest = llama.generate(
            torch.tensor([ids]), max_new_tokens=3, min_new_tokens=3, do_sample=False, pad_token_id=0
        )[0].tolist()
    ours, other = ask(url, [likeliest, [*likeliest[:-1], (likeliest[-1] + 1) % 256]])
    told, greedy = read(ours, len(ids))
    assert told == pytest.approx(expected(llama, likeliest, len(ids))[0], abs=1e-3)
    assert greedy
    assert not read(other, len(ids))[1]


def test_one_token_is_scored_after_a_single_prefix_token(url: str, engine: Engine, llama: Any) -> None:
    ids = engine.encode("so")
    assert len(ids) == 2
    assert read(ask(url, [ids])[0], 1)[0] == pytest.approx(expected(llama, ids, 1)[0], abs=1e-3)


def test_texts_are_generated_up_to_a_stop(url: str, engine: Engine) -> None:
    body = {"prompt": [engine.encode("Behind the door")], "model": "tiny", "max_tokens": 12, "temperature": 0,
            "stop": ["\n\n", "<|end_of_text|>"], "seed": 1234}  # fmt: skip
    choice = post(url, body)["choices"][0]
    assert choice["finish_reason"] in ("stop", "length")
    assert bool(choice["text"]) == (len(engine.stop_ids) < 100)

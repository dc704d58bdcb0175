"""The OpenAI-compatible server through OpenAI's own client, and the command that prints one text."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from model_build.__main__ import main
from model_build.serving import server
from model_build.serving.server import make_app
from storyteller.engine import Engine, load_engine
from tests.tiny_llama import write_tiny_llama

if TYPE_CHECKING:
    import openai

SAY: list[Any] = [{"role": "user", "content": "Knock on the green door."}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("model"), words=["door"])


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return load_engine(folder, threads=1)


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[openai.OpenAI]:
    import openai  # seconds, which every worker of pytest-xdist would take

    loop, port = asyncio.new_event_loop(), 0

    async def serve() -> tuple[web.AppRunner, int]:
        runner = web.AppRunner(make_app(engine, "tiny"))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner, port = asyncio.run_coroutine_threadsafe(serve(), loop).result()
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as made:
        yield made
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_a_chat_whole_and_streamed_is_the_same(client: openai.OpenAI, engine: Engine) -> None:
    options: dict[str, Any] = {"model": "tiny", "messages": SAY, "max_tokens": 20, "temperature": 1.0, "seed": 3}
    whole = client.chat.completions.create(**options)
    parts = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    said = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert said == whole.choices[0].message.content
    assert len(parts) > 5
    assert parts[0].choices[0].delta.role == "assistant"
    assert parts[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert whole.usage is not None
    assert parts[-1].usage == whole.usage
    assert whole.usage.prompt_tokens == len(engine.encode_chat(SAY))


def test_log_probabilities_of_a_chat(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="tiny", messages=SAY, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2
    )
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 4
    for entry in logprobs.content:
        assert entry.logprob == entry.top_logprobs[0].logprob
        assert len(entry.top_logprobs) == 2


def test_plain_completions_stop_where_they_are_told(client: openai.OpenAI) -> None:
    options: dict[str, Any] = {"model": "tiny", "prompt": "Once upon a time", "temperature": 0, "max_tokens": 12}
    whole = client.completions.create(**options).choices[0].text
    stop = whole[4]
    cut = client.completions.create(**options, stop=stop).choices[0]
    assert (cut.text, cut.finish_reason) == (whole[: whole.index(stop)], "stop")
    assert "".join(part.choices[0].text for part in client.completions.create(**options, stream=True)) == whole


def test_a_prompt_is_scored_as_lm_eval_asks(client: openai.OpenAI, engine: Engine) -> None:
    ids = engine.encode("Behind the door")
    scored = client.completions.create(
        model="tiny", prompt=[ids, ids[:5]], max_tokens=0, logprobs=1, echo=True, temperature=0
    )
    assert [choice.index for choice in scored.choices] == [0, 1]
    logprobs = scored.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert logprobs.token_logprobs[0] is None
    expected = [entry.logprob for entry in engine.score(ids)]
    assert logprobs.token_logprobs[1:] == pytest.approx(expected)
    assert scored.choices[0].text == "Behind the door"


def test_several_answers_differ_and_come_again_with_the_seed(client: openai.OpenAI) -> None:
    def ask() -> list[str | None]:
        done = client.chat.completions.create(model="tiny", messages=SAY, n=2, seed=1, max_tokens=10)
        return [choice.message.content for choice in done.choices]

    assert ask() == ask()
    assert ask()[0] != ask()[1]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"messages": []}, "messages is missing"),
        ({"messages": [{"role": "user"}]}, "A message lacks"),
        ({"messages": SAY, "temperature": "hot"}, "temperature is 'hot'"),
        ({"messages": SAY, "top_p": 3}, "top_p is 3"),
        ({"messages": SAY, "max_tokens": 1.5}, "max_tokens is 1.5: give a whole number"),
        ({"messages": SAY, "stop": 5}, "stop is 5: give a text"),
        ({"messages": SAY, "stop": [3, None]}, "stop is"),
        ({"messages": SAY, "seed": "x"}, "seed is 'x'"),
        ({"messages": SAY, "tools": [{"type": "function"}]}, "tools is not supported"),
        ({"messages": SAY, "presence_penalty": 1}, "presence_penalty is not supported"),
        ({"messages": SAY, "top_k": -5}, "top_k is -5; give 0"),
        ({"messages": SAY, "top_k": 1.5}, "top_k is 1.5: give a whole number"),
        ({"messages": SAY, "length_penalty": 0.8}, "length_penalty is not supported"),
        ({"messages": SAY, "use_beam_search": True}, "use_beam_search is not supported"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]}, "A message lacks"),
        ({"messages": [{"role": "user", "content": "x" * 500}], "stream": True}, "the context holds 256"),
        ({"messages": SAY, "n": 99}, "n is 99"),
        ({"messages": [{"role": "user", "content": "x" * 500}]}, "the context holds 256"),
        ({"messages": SAY, "guided_regex": "(a"}, "The regular expression does not compile .*unclosed group"),
        ({"messages": SAY, "guided_regex": "(a", "stream": True}, "The regular expression does not compile"),
        ({"messages": SAY, "guided_grammar": "start: door"}, "The grammar does not compile .*unknown name"),
        ({"messages": SAY, "guided_grammar": 3}, "guided_grammar must be a grammar in Lark or GBNF"),
        ({"messages": SAY, "guided_choice": "yes"}, "guided_choice must be a list of texts"),
        ({"messages": SAY, "guided_choice": ["yes", ""]}, "guided_choice must be a list of texts"),
        ({"messages": SAY, "guided_json": "{"}, "guided_json is no JSON"),
        ({"messages": SAY, "guided_json": {"type": "door"}}, "The JSON schema does not compile .*door"),
        ({"messages": SAY, "guided_regex": "a", "guided_choice": ["a"]}, "guided_regex and guided_choice are given at"),
        (
            {"messages": SAY, "guided_regex": "a", "response_format": {"type": "json_object"}},
            "guided_regex and response_format are given at once",
        ),
        (
            {"messages": SAY, "structured_outputs": {"xml": "a"}},
            "structured_outputs must be an object with one of json",
        ),
        ({"messages": SAY, "structured_outputs": {"regex": "a", "choice": ["a"]}}, "are given at once"),
        ({"messages": SAY, "response_format": "json"}, "whose type is text, json_object or json_schema"),
        ({"messages": SAY, "response_format": {"type": "xml"}}, "whose type is text, json_object or json_schema"),
        ({"messages": SAY, "response_format": {"type": "json_schema"}}, "schema must be a JSON schema"),
    ],
)
def test_what_cannot_be_answered_is_told(client: openai.OpenAI, body: dict[str, Any], sentence: str) -> None:
    from openai import BadRequestError

    with pytest.raises(BadRequestError, match=sentence):
        client.chat.completions.create(model="tiny", extra_body=body, messages=[])


def post(client: openai.OpenAI, path: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
    request = urllib.request.Request(f"{client.base_url}{path}", body, {"Content-Type": kind}, method="POST")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=30)
    with raised.value as answer:
        return answer.code, json.load(answer)["error"]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "sentence"),
    [
        ("nothing", b"{}", "application/json", 404, "There is no /v1/nothing here"),
        ("models", b"{}", "application/json", 405, "/v1/models does not take POST: use GET"),
        ("completions", b" " * ((8 << 20) + 100), "application/json", 413, "larger than 8 MB"),
        ("completions", b'{"prompt": "a"}', "text/plain", 415, "send application/json"),
        ("completions", b"prompt=a", "application/x-www-form-urlencoded", 415, "send application/json"),
        ("completions", b'{"prompt": "\\ud800"}', "application/json", 400, "half of a surrogate pair"),
        ("completions", b"[" * 200_000, "application/json", 400, "The body is not JSON"),
        ("completions", b"[]", "application/json", 400, "The body is no object"),
        ("completions", b'{"prompt": [[1, "a"]]}', "application/json", 400, "prompt is missing"),
        ("completions", b'{"prompt": [true]}', "application/json", 400, "prompt is missing"),
        ("completions", b'{"prompt": "a", "max_tokens": 1e400}', "application/json", 400, "max_tokens is inf"),
    ],
)
def test_bad_requests_get_an_error_object(
    client: openai.OpenAI, path: str, body: bytes, kind: str, status: int, sentence: str
) -> None:
    found, error = post(client, path, body, kind)
    assert found == status
    assert sentence in error["message"]
    assert error["type"] == "invalid_request_error"


def test_too_many_requests_are_refused(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_build.serving.server._WAITING", -1)
    for stream in (False, True):
        body = json.dumps({"prompt": "a", "max_tokens": 2, "stream": stream}).encode()
        status, error = post(client, "completions", body)
        assert (status, error["message"]) == (429, "-1 requests wait already: ask again later.")


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"door": {"enum": ["red", "green"]}, "open": {"type": "boolean"}},
    "required": ["door", "open"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("stream", [False, True])
def test_json_as_openai_asks_for_it(client: openai.OpenAI, stream: bool) -> None:
    asked: Any = {"type": "json_schema", "json_schema": {"name": "door", "schema": SCHEMA, "strict": True}}
    for seed in range(5):
        options: dict[str, Any] = {"model": "tiny", "messages": SAY, "seed": seed, "response_format": asked}
        if stream:
            parts = list(client.chat.completions.create(**options, stream=True))
            text, reason = "".join(part.choices[0].delta.content or "" for part in parts), parts[-1].choices[0]
        else:
            reason = client.chat.completions.create(**options).choices[0]
            text = reason.message.content or ""
        assert set(json.loads(text)) == {"door", "open"}
        assert reason.finish_reason == "stop"


def test_an_object_of_any_kind_and_plain_text(client: openai.OpenAI) -> None:
    begun = client.chat.completions.create(
        model="tiny", messages=SAY, seed=1, max_tokens=8, response_format={"type": "json_object"}
    )
    assert (begun.choices[0].message.content or "").startswith("{")
    options: dict[str, Any] = {"model": "tiny", "messages": SAY, "seed": 1, "max_tokens": 8}
    plain = client.chat.completions.create(**options, response_format={"type": "text"})
    assert plain.choices[0].message.content == client.chat.completions.create(**options).choices[0].message.content


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        ({"guided_regex": "[a-c]{3}-[0-9]"}, "[a-c]{3}-[0-9]"),
        ({"guided_choice": ['the "red" door', "über\n"]}, 'the "red" door|über\n'),
        ({"guided_grammar": 'start: "a" B\nB: /[0-9]{2}/'}, "a[0-9]{2}"),
        ({"guided_grammar": 'root ::= "a" [0-9] [0-9]'}, "a[0-9]{2}"),
        ({"guided_json": {"type": "integer", "minimum": 10, "maximum": 99}}, "[1-9][0-9]"),
        ({"guided_json": json.dumps({"enum": [True]})}, "true"),
        ({"structured_outputs": {"regex": "[a-c]{3}"}}, "[a-c]{3}"),
        ({"structured_outputs": {"choice": ["left", "right"]}}, "left|right"),
        ({"guided_regex": "[a-c]{3}", "guided_json": None, "response_format": {"type": "text"}}, "[a-c]{3}"),
    ],
)
def test_forms_as_vllm_asks_for_them(client: openai.OpenAI, asked: dict[str, Any], form: str) -> None:
    for seed in range(4):
        chat = client.chat.completions.create(model="tiny", messages=SAY, seed=seed, extra_body=asked).choices[0]
        assert re.fullmatch(form, chat.message.content or "")
        assert chat.finish_reason == "stop"
        plain = client.completions.create(model="tiny", prompt="Knock", max_tokens=60, seed=seed, extra_body=asked)
        assert re.fullmatch(form, plain.choices[0].text)


def test_a_reader_who_leaves_ends_the_reply(client: openai.OpenAI) -> None:
    for _ in range(2):
        stream = client.chat.completions.create(model="tiny", messages=SAY, stream=True)
        next(iter(stream))
        stream.close()
    assert client.chat.completions.create(model="tiny", messages=SAY, max_tokens=2).usage


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": "Knock", "max_tokens": 200, "n": 16},
        {"prompt": ["Knock on the green door. " * 6] * 60, "max_tokens": 0, "logprobs": 1, "echo": True},
    ],
    ids=["told", "scored"],
)
def test_the_work_for_a_whole_answer_ends_when_its_reader_leaves(
    client: openai.OpenAI, engine: Engine, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    compute, begun, left = engine._compute, threading.Event(), threading.Event()
    computed = 0

    def count(*args: Any, **options: Any) -> Any:
        nonlocal computed
        computed += 1
        if computed == 2:
            begun.set()
            assert left.wait(30)
        return compute(*args, **options)

    monkeypatch.setattr(engine, "_compute", count)
    gone, closed = server._gone, threading.Event()

    def is_gone(request: web.Request) -> bool:
        if gone(request):
            closed.set()
        elif left.is_set():  # the server has yet to hear of it
            closed.wait(0.05)
        return gone(request)

    monkeypatch.setattr(server, "_gone", is_gone)
    body = json.dumps(asked).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as reader:
        reader.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        assert begun.wait(30)
    left.set()
    assert client.completions.create(model="tiny", prompt="a", max_tokens=2).usage
    assert closed.wait(30)
    assert computed < 60, "of some thousand tokens, or sixty texts of three parts each"


def test_generate_prints_only_the_text(folder: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    from storyteller.engine import Sampling

    arguments = ["generate", str(folder), "--prompt", "Hello", "--tokens", "9", "--temperature", "0.7", "--seed", "5"]
    expected = {
        raw: engine.generate(ids, Sampling(0.7, 0.95, seed=5, max_tokens=9)).text
        for raw, ids in [
            (True, engine.encode("Hello")),
            (False, engine.encode_chat([{"role": "user", "content": "Hello"}])),
        ]
    }
    assert main([*arguments, "--raw"]) == 0
    assert capsys.readouterr().out == expected[True] + "\n"
    assert main(arguments) == 0
    assert capsys.readouterr().out == expected[False] + "\n"


def test_generate_refuses_in_a_sentence(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(tmp_path / "no"), "--prompt", "x"]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main(["generate", str(folder), "--prompt", "x", "--temperature", "-1"]) == 1
    assert "temperature is -1" in capsys.readouterr().err
    settings = folder / "tokenizer_config.json"
    kept = settings.read_text()
    settings.write_text(json.dumps({"eos_token": "<|eot_id|>"}))
    assert main(["generate", str(folder), "--prompt", "x"]) == 1
    assert "has no chat template" in capsys.readouterr().err
    settings.write_text(kept)

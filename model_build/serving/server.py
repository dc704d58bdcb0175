"""An OpenAI-compatible server on the engine, so that tools for evaluating models can be pointed at it.

    python -m model_build serve <model> [--port 8000]

Chat and plain completions, streamed or whole, with log-probabilities; a plain prompt may be text or
token ids, and `echo` gives the prompt's own log-probabilities, which is how lm-eval scores answers (docs/models.md
has its command).
An answer may be held to a form: `response_format` (text, json_object, json_schema) as OpenAI names it,
`guided_json`, `guided_regex`, `guided_choice`, `guided_grammar` or `structured_outputs` as vLLM does.
What a request does not say of sampling is as the model's generation_config.json has it, else as OpenAI's protocol.
Requests are answered one after another, and refused once too many wait. No key is asked for, and it listens on
loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from model_build.resolve import add_model, model_folder
from model_build.serving.grammar import read_grammar
from model_build.serving.request import (
    RequestError,
    read_body,
    read_count,
    read_messages,
    read_number,
    read_prompts,
    read_stops,
)
from storyteller.engine import Completion, Engine, EngineError, Sampling, TokenLogprob, load_engine

Result = TypeVar("Result")

_BODY_BYTES = 8 << 20
#: Requests that may wait for their turn.
_WAITING = 16


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `serve` to the commands of `python -m model_build`."""
    parser = commands.add_parser("serve", help="serve a model with OpenAI's protocol on this machine")
    add_model(parser)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--context", type=int, default=4096, help="tokens of prompt and reply (default 4096)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: as many as there are)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """The command; raises EngineError in a sentence."""
    folder = model_folder(options.model, options.adapter)
    engine = load_engine(folder, chat=False, context=options.context, threads=options.threads)
    name = Path(options.model).resolve().name
    print(f"{name} on http://127.0.0.1:{options.port}/v1 ({engine.kernel})")
    web.run_app(make_app(engine, name), host="127.0.0.1", port=options.port, print=None)


def make_app(engine: Engine, name: str) -> web.Application:
    """The server's routes around one engine."""
    server = Server(engine, name)
    app = web.Application(client_max_size=_BODY_BYTES, middlewares=[_errors])
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_post("/v1/completions", server.complete)
    return app


@web.middleware
async def _errors(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except RequestError as error:
        return _refusal(str(error), error.status)
    except EngineError as error:
        return _refusal(str(error), 400)
    except web.HTTPException as error:
        sentences = {
            404: f"There is no {request.path} here: ask for /v1/models, /v1/chat/completions or /v1/completions.",
            405: f"{request.path} does not take {request.method}: use {error.headers.get('Allow', 'another method')}.",
            413: f"The body is larger than {_BODY_BYTES >> 20} MB: send less.",
        }
        return _refusal(sentences.get(error.status, error.reason), error.status)
    except Exception:
        logging.getLogger(__name__).exception("a request failed")
        return _refusal("The server failed at this request: its log says why.", 500)
    return response


def _refusal(sentence: str, status: int) -> web.Response:
    kind = "server_error" if status == 500 else "invalid_request_error"
    error = {"message": sentence, "type": kind, "param": None, "code": None}
    return web.json_response({"error": error}, status=status)


class Server:
    """The handlers. The engine works in one thread, one request after another."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._worker = ThreadPoolExecutor(1, "engine")
        self._waiting = 0

    async def models(self, request: web.Request) -> web.Response:
        """GET /v1/models."""
        entry = {"id": self._name, "object": "model", "created": 0, "owned_by": "overture"}
        return web.json_response({"object": "list", "data": [entry]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        body = await read_body(request)
        ids = self._engine.encode_chat(read_messages(body))
        top = read_number(body, "top_logprobs", 0, int) if body.get("logprobs") else None
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        sampling = self._sampling(body, limit, len(ids), top)
        answer = Answer(self._name, "chat.completion", body)
        if body.get("stream"):
            return await self._stream(request, answer, ids, sampling)
        choices = []
        for index in range(read_count(body)):
            done = await self._generate(request, ids, sampling, index)
            answer.count(done)
            choices.append(
                {
                    "index": index,
                    "message": {"role": "assistant", "content": done.text},
                    "finish_reason": _reason(done),
                    "logprobs": {"content": self._chat_logprobs(done.logprobs)} if top is not None else None,
                }
            )
        return web.json_response(answer.whole(choices))

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/completions."""
        body = await read_body(request)
        prompts = read_prompts(body, self._engine)
        top_logprobs = body.get("logprobs")
        top_logprobs = None if top_logprobs is None or top_logprobs is False else read_number(body, "logprobs", 0, int)
        answer, choices = Answer(self._name, "text_completion", body), list[dict[str, Any]]()
        silent = body.get("max_tokens") == 0  # only the prompt's own log-probabilities are asked for
        if body.get("stream"):
            if len(prompts) > 1 or body.get("echo"):
                raise RequestError("A stream tells one prompt, without echo: ask for them whole.")
            sampling = self._sampling(body, body.get("max_tokens", 16), len(prompts[0]), top_logprobs)
            return await self._stream(request, answer, prompts[0], sampling)
        for prompt in prompts:
            for number in range(read_count(body)):
                echoed = await self._score(request, prompt, top_logprobs) if body.get("echo") else []
                done = None
                if not silent:
                    sampling = self._sampling(body, body.get("max_tokens", 16), len(prompt), top_logprobs)
                    done = await self._generate(request, prompt, sampling, number)
                answer.count(done, len(prompt))
                text = (self._engine.tokenizer.decode(prompt) if body.get("echo") else "") + (done.text if done else "")
                # The stop token counts too, though it is no text: lm-eval takes the last entry for the one generated.
                entries = [*echoed, *(done.logprobs if done else ()), *([done.end] if done and done.end else [])]
                choices.append(
                    {
                        "index": len(choices),
                        "text": text,
                        "finish_reason": _reason(done) if done else "length",
                        "logprobs": self._plain_logprobs(prompt if body.get("echo") else [], entries)
                        if top_logprobs is not None
                        else None,
                    }
                )
        return web.json_response(answer.whole(choices))

    async def _generate(self, request: web.Request, ids: list[int], sampling: Sampling, number: int) -> Completion:
        if number and sampling.seed is not None:
            from dataclasses import replace

            sampling = replace(sampling, seed=sampling.seed + number)
        return await self._work(lambda: self._engine.generate(ids, sampling, cancelled=lambda: _gone(request)))

    async def _work(self, job: Callable[[], Result]) -> Result:
        """What `job` gives once it is its turn. Raises RequestError where too many wait already."""
        self._check_room()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, job)
        finally:
            self._waiting -= 1

    def _check_room(self) -> None:
        if self._waiting > _WAITING:
            raise RequestError(f"{_WAITING} requests wait already: ask again later.", 429)

    async def _score(self, request: web.Request, ids: list[int], top_logprobs: int | None) -> list[TokenLogprob]:
        if len(ids) < 2:
            return []
        return await self._work(lambda: self._engine.score(ids, top_logprobs or 0, lambda: _gone(request)))

    async def _stream(
        self, request: web.Request, answer: Answer, ids: list[int], sampling: Sampling
    ) -> web.StreamResponse:
        # Once the stream has begun, an error could no longer be told.
        self._engine.check_prompt(ids)
        self._check_room()
        if sampling.grammar:
            await asyncio.to_thread(self._engine.check_grammar, sampling.grammar)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        gone = threading.Event()
        try:
            async for part in answer.parts(self._pieces(ids, sampling, gone), self._chat_logprobs):
                await response.write(b"data: " + json.dumps(part, ensure_ascii=False).encode() + b"\n\n")
            await response.write(b"data: [DONE]\n\n")
        except (ConnectionError, asyncio.CancelledError):
            raise
        finally:
            gone.set()
        return response

    async def _pieces(
        self, ids: list[int], sampling: Sampling, gone: threading.Event
    ) -> AsyncIterator[str | Completion]:
        """The reply's text as it comes, and last the whole of it; ends soon after `gone`."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[str | None]()

        def emit(text: str) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, text)

        def work() -> Completion:
            return self._engine.generate(ids, sampling, emit, cancelled=gone.is_set)

        working = asyncio.ensure_future(self._work(work))
        working.add_done_callback(lambda _: queue.put_nowait(None))
        while (piece := await queue.get()) is not None:
            yield piece
        yield await working

    def _sampling(self, body: dict[str, Any], limit: Any, used: int, logprobs: int | None) -> Sampling:
        room = max(1, self._engine.context - used)
        own = {"temperature": 1.0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, **self._engine.defaults}
        top_k = read_number(body, "top_k", own.get("top_k", 0), int)
        return Sampling(
            **{name: read_number(body, name, own[name], float) for name in own if name != "top_k"},
            top_k=0 if top_k == -1 else top_k,
            seed=None if body.get("seed") is None else read_number(body, "seed", 0, int),
            max_tokens=room if limit is None else read_number({"max_tokens": limit}, "max_tokens", 16, int),
            stop=read_stops(body.get("stop")),
            logprobs=logprobs,
            sentence_limit=read_number(body, "sentence_limit", 0, int),
            grammar=read_grammar(body),
        )

    def _name_of(self, token: int) -> str:
        text = self._engine.tokenizer.decode([token])
        return text or str(self._engine.tokenizer.vocabulary.id_to_token(token))

    def _chat_logprobs(self, entries: tuple[TokenLogprob, ...]) -> list[dict[str, Any]]:
        def one(token: int, logprob: float) -> dict[str, Any]:
            name = self._name_of(token)
            return {"token": name, "logprob": logprob, "bytes": list(name.encode())}

        return [
            {**one(entry.token, entry.logprob), "top_logprobs": [one(*rival) for rival in entry.top]}
            for entry in entries
        ]

    def _plain_logprobs(self, prompt: list[int], entries: list[TokenLogprob]) -> dict[str, Any]:
        names = [self._name_of(token) for token in (*prompt[:1], *(entry.token for entry in entries))]
        offsets, at = [], 0
        for name in names:
            offsets.append(at)
            at += len(name)
        first: list[Any] = [None] * len(prompt[:1])  # nothing comes before the first token
        return {
            "tokens": names,
            "token_logprobs": first + [entry.logprob for entry in entries],
            "top_logprobs": first
            + [{self._name_of(token): value for token, value in entry.top[::-1]} for entry in entries],
            "text_offset": offsets,
        }


class Answer:
    """What all parts of one answer have in common, and its count of tokens."""

    def __init__(self, model: str, kind: str, body: dict[str, Any]) -> None:
        prefix = "chatcmpl" if kind.startswith("chat") else "cmpl"
        self._base = {"id": f"{prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._kind = kind
        self._body = body
        self._prompt = self._told = 0

    def count(self, done: Completion | None, prompt: int | None = None) -> None:
        """Adds a completion's tokens."""
        self._prompt += done.prompt_tokens if done else prompt or 0
        self._told += done.tokens if done else 0

    @property
    def _usage(self) -> dict[str, int]:
        total = self._prompt + self._told
        return {"prompt_tokens": self._prompt, "completion_tokens": self._told, "total_tokens": total}

    def whole(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The answer as one body."""
        return {**self._base, "object": self._kind, "choices": choices, "usage": self._usage}

    async def parts(
        self, pieces: AsyncIterator[str | Completion], spell: Callable[[tuple[TokenLogprob, ...]], Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """The answer as a stream of bodies."""
        chat = self._kind.startswith("chat")
        base = {**self._base, "object": "chat.completion.chunk" if chat else self._kind}
        role = {"role": "assistant"}
        async for piece in pieces:
            done = piece if isinstance(piece, Completion) else None
            text = "" if done else piece
            content = {"delta": {**role, **({} if done else {"content": text})}} if chat else {"text": text}
            logprobs = {"content": spell(done.logprobs)} if done and done.logprobs and chat else None
            reason = _reason(done) if done else None
            yield {**base, "choices": [{"index": 0, **content, "finish_reason": reason, "logprobs": logprobs}]}
            role = {}
            if done:
                self.count(done)
                if (self._body.get("stream_options") or {}).get("include_usage"):
                    yield {**base, "choices": [], "usage": self._usage}


def _gone(request: web.Request) -> bool:
    """Whether the caller has closed the connection."""
    return request.transport is None or request.transport.is_closing()


def _reason(done: Completion) -> str:
    return "stop" if done.reason == "stop" else "length"

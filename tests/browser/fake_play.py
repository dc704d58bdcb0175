"""A small Overture for browser tests: the page, its tickets and a play of a few lines, with no stack behind it.

It follows docs/protocol.md closely enough to be walked through, and does on demand what the real one
does rarely: cuts connections, sends frames twice, late and with gaps, hands out hostile text.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from aiohttp import WSMsgType, web

WEB = Path(__file__).parents[2] / "client" / "web"

STATS = {
    "ttft_ms": 212.0, "tokens": 61, "tokens_per_s": 9.4, "total_ms": 6540.0, "usd_per_million": 10.7,
    "used": {"usd": 0.000654, "mwh": 29.1, "mwh_bounds": [12.0, 40.0], "gco2e": 0.0111, "gco2e_bounds": [0.004, 0.02]},
    "prompt_tokens": 310, "reused_tokens": 260,
}  # fmt: skip
NOTE = "The lamp by the fountain is called Agnes."
FIELDS = [
    {"key": "name", "label": "Your name", "default": "the traveller"},
    {"key": "spectacles", "label": "The colour of your spectacles", "default": "green"},
]
VISIT = {"usd": 0.0021, "mwh": 71.0, "mwh_bounds": [30.0, 98.0], "gco2e": 0.03, "gco2e_bounds": [0.01, 0.06]}
SAVED = {"tokens": 96, "usd": 0.0011, "mwh": 21.3, "gco2e": 0.008, "share": 0.25, "wakes_spared": 1}

GUARDIAN = "The Guardian of the Gates"
BEATS: list[dict[str, Any]] = [
    {"id": "greeting", "lines": ["Ah. I heard the bell.", "Come in under the arch, out of the sun."]},
    {"id": "ask_name", "lines": [], "ask": {"key": "name", "text": "What name shall I write in the book?"}},
    {
        "id": "ask_spectacles",
        "lines": ["Nobody goes in without spectacles."],
        "ask": {
            "key": "spectacles",
            "text": "Which glass shall I lock on for you?",
            "choices": ["green", "gold", "blue"],
        },
    },
    {"id": "goodbye", "lines": ["There. The gate is open."], "final": True},
]
OPENING = (
    "The gate swings wide, and the light of the Emerald City falls on your shoes. 🟢 Green marble runs "
    "ahead of you, joined by rows of bright stones.\n\nA boy with a tray of green lemonade looks up.\n"
    "> Ask the boy his name.\n> Follow the marble street."
)
SCENE = "You do just that: “{said}”. The street answers with a bell, twice.\n> Go on.\n> Turn back."
HEARD = "That is what the last one said."
ANSWER = "I tell you a walk through the city, one scene at a time, and you choose the way."


class FakePlay:
    """`async with FakePlay() as server`, then visit `server.address`."""

    def __init__(self, *, wait_s: float = 1.0, line_s: float = 0.4, token_s: float = 0.02) -> None:
        self.wait_s, self.line_s, self.token_s = wait_s, line_s, token_s
        self.opening, self.answer = OPENING, ANSWER
        self.world, self.title, self.fields = "emerald_city", "The Emerald City", FIELDS
        self.turns: list[dict[str, Any]] = []
        self.stories: dict[str, list[dict[str, Any]]] = {}
        self.older: list[dict[str, Any]] = []  # turns that fit no welcome
        self.profile: dict[str, str] = {}
        self.done: set[str] = set()
        self.heard: list[dict[str, Any]] = []
        self.hellos: list[str | None] = []
        self.beat = -1
        self.awake = False
        self.session = "s" * 32
        self.lossy = False  # frames come twice, and out of order
        self.history_refused: dict[str, Any] | None = None  # how `history` is refused, if it is
        self.spoilt: str | None = None  # a session that is none
        self.mute = False  # nothing of a reply comes through
        self.stopped: set[str] = set()
        self.sockets: list[web.WebSocketResponse] = []
        self.doors_shut: int | None = None  # the status that asking for a ticket is answered with
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/config.json", self._config)
        app.router.add_post("/ticket", self._ticket)
        app.router.add_get("/socket", self._socket)
        app.router.add_get("/", self._page)
        app.router.add_static("/", WEB)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()

    async def send(self, kind: str, **fields: Any) -> None:
        """Sends to whoever came last; to a connection that was cut, nothing goes."""
        if self.sockets:
            await self._send(self.sockets[-1], {"type": kind, **fields})

    async def _send(self, socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        # for a moment after the cut a socket is not `closed` yet, and the telling must outlive it
        if not socket.closed:
            with suppress(ConnectionResetError):
                await socket.send_str(json.dumps(frame))

    def _turn_to(self, session: str | None) -> None:
        """Each session has its turns, and `turns` are those of the one that is played now; None: a new one."""
        if session is None:
            if self.session in self.stories:
                self.session = chr(ord(self.session[0]) + 1) * 32
            self.turns, self.beat, self.profile = [], -1, {}
        else:
            self.turns = self.stories.get(session, self.turns)
            self.session = session
        self.stories[self.session] = self.turns

    def forget(self) -> None:
        """As after a restart or an expiry: no session is known any more, and new ones get another id."""
        self.stories.clear()
        self.session = chr(ord(self.session[0]) + 1) * 32
        self.turns, self.beat, self.profile, self.awake = [], -1, {}, False
        self._woken.clear()

    async def cut(self) -> None:
        """Cuts the connection without a word."""
        transport = self.sockets[-1]._req.transport  # type: ignore[union-attr]
        if transport is not None:
            transport.abort()

    def turn(self, turn_id: str) -> dict[str, Any]:
        return next(turn for turn in self.turns if turn["id"] == turn_id)

    # --- the door -----------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / "index.html")

    async def _config(self, request: web.Request) -> web.Response:
        socket = f"ws://{request.host}/socket"
        return web.json_response({"socket": socket, "ticket": f"http://{request.host}/ticket", "protocol": 1})

    async def _ticket(self, request: web.Request) -> web.Response:
        if self.doors_shut is not None:
            return web.Response(status=self.doors_shut)
        return web.json_response({"ticket": "t", "expires_in": 60})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=128 * 1024)
        await socket.prepare(request)
        former = self.sockets[-1] if self.sockets else None
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                frame = json.loads(message.data)
                self.heard.append(frame)
                if frame["action"] == "hello" and former is not None:
                    taken = {"type": "error", "code": "taken_over", "message": "Elsewhere.", "retryable": False}
                    await self._send(former, taken)
                    former = None
                await getattr(self, f"_on_{frame['action']}")(frame)
        return socket

    # --- the play -----------------------------------------------------------------------

    async def _on_hello(self, frame: dict[str, Any]) -> None:
        resumed = frame.get("session") in self.stories or frame.get("session") == self.session
        self.hellos.append(frame.get("session"))
        if frame.get("session") is not None and frame["session"] == self.spoilt:
            await self.send("error", code="bad_field", message="`session` is no session.", retryable=False)
            return
        self._turn_to(frame["session"] if resumed else None)
        await self.send(
            "welcome", session=self.session, world=self.world, protocol=1, resumed=resumed, turns=self.turns,
            profile=self.profile, title=self.title, fields=self.fields, simulated=True,
        )  # fmt: skip
        await self.send("wake", state="ready" if self.awake else "waking", progress=0.0)
        if not self.awake:
            self._spawn(self._wake())
        if self.in_prologue:
            self.beat = max(self.beat, 0)
            await self._tell_beat()

    async def _wake(self) -> None:
        steps = 10
        for step in range(1, steps):
            await asyncio.sleep(self.wait_s / steps)
            left = self.wait_s * (1 - step / steps)
            await self.send("wake", state="waking", progress=step / steps, eta_s=round(left, 2))
        self.awake = True
        self._woken.set()
        await self.send("wake", state="ready")

    async def _tell_beat(self) -> None:
        beat = BEATS[self.beat]
        lines = [{"text": text, "at_s": at * self.line_s} for at, text in enumerate(beat["lines"])]
        about = {key: beat[key] for key in ("ask",) if key in beat}
        await self.send("beat", id=beat["id"], speaker=GUARDIAN, lines=lines, final=beat.get("final", False), **about)

    async def _on_next(self, frame: dict[str, Any]) -> None:
        await self.send("ok", to=frame["id"])
        await self._advance(frame["id"])

    async def _advance(self, action: str) -> None:
        if action in self.done:
            return
        self.done.add(action)
        if BEATS[self.beat].get("final"):
            self._begin("opening", "", self.opening)
        else:
            self.beat += 1
            await self._tell_beat()

    async def _on_skip(self, frame: dict[str, Any]) -> None:
        await self.send("ok", to=frame["id"])
        self._begin("opening", "", self.opening)

    async def _on_say(self, frame: dict[str, Any]) -> None:
        text = frame["text"]
        is_asked = text.endswith("can you do?")
        if frame.get("ask") and not is_asked and text not in ("hello", "who are you"):
            choices = BEATS[self.beat].get("ask", {}).get("choices")
            if choices and text not in choices:
                refusal = f"Choose one of these: {', '.join(choices)}."
                await self.send("error", to=frame["id"], code="bad_reply", message=refusal, retryable=True)
                return
            self.profile[frame["ask"]] = text
            await self._on_next(frame)
            return
        await self.send("ok", to=frame["id"], answered=is_asked or self.in_prologue)
        if frame["id"] in self.done:
            return
        self.done.add(frame["id"])
        if self.in_prologue and not is_asked:
            keeps = text != "hello"
            heard = {"id": frame["id"], "said": text, "reply": HEARD, "state": "answered", "take": 1, "kept": keeps}
            self.turns.append(heard)
            await self.send("aside", to=frame["id"], text=HEARD, kept=keeps)
            return
        if text.endswith("can you do?"):
            self.turns.append({"id": frame["id"], "said": text, "reply": self.answer, "state": "answered", "take": 1})
            await self.send(
                "answer", to=frame["id"], text=self.answer, matched="what can you do", score=0.97, saved=SAVED
            )
            return
        self._begin(frame["id"], text, SCENE.format(said=text))

    @property
    def in_prologue(self) -> bool:
        """Whether nothing was put to the storyteller yet."""
        return all(turn["state"] == "answered" for turn in self.turns)

    def _begin(self, turn_id: str, said: str, reply: str) -> None:
        if all(turn["id"] != turn_id for turn in self.turns):
            self.turns.append({"id": turn_id, "said": said, "reply": "", "state": "waiting", "take": 1})
            self._spawn(self._tell(turn_id, reply))

    async def _tell(self, turn_id: str, reply: str, start: int = 0) -> None:
        turn = self.turn(turn_id)
        take = turn["take"]
        await self._woken.wait()
        turn["state"] = "telling"
        late: dict[str, Any] | None = None
        at = start
        while at < len(reply) and turn_id not in self.stopped:
            text = reply[at : at + 5]
            turn["reply"] = reply[: at + len(text)]
            frame = {"to": turn_id, "take": take, "at": at, "text": text}
            at += len(text)
            await asyncio.sleep(self.token_s)
            if self.mute:
                continue
            if self.lossy and late is None and at % 3 == 0:
                late = frame
                continue
            await self.send("token", **frame)
            if late is not None:
                await self.send("token", **late)
                await self.send("token", **frame)
                late = None
        if late is not None:
            await self.send("token", **late)
        stopped = turn_id in self.stopped
        self.stopped.discard(turn_id)
        turn["state"] = "stopped" if stopped else "done"
        await self.send(
            "end",
            to=turn_id,
            take=take,
            reason="cancelled" if stopped else "stop",
            stats=STATS,
            notes=[NOTE],
            visit=VISIT,
        )

    async def _on_stop(self, frame: dict[str, Any]) -> None:
        self.stopped.add(frame["of"])

    async def _again(self, frame: dict[str, Any], reply: str, said: str | None = None) -> None:
        turn = self.turn(frame["of"])
        turn.update(take=turn["take"] + 1, reply="", state="waiting", said=turn["said"] if said is None else said)
        await self.send("ok", to=frame["id"])
        self._spawn(self._tell(turn["id"], reply))

    async def _on_retry(self, frame: dict[str, Any]) -> None:
        await self._again(frame, "Told another way: the bell rings once.\n> Listen.\n> Leave.")

    async def _on_edit(self, frame: dict[str, Any]) -> None:
        await self._again(frame, SCENE.format(said=frame["text"]), frame["text"])

    async def _on_rewrite(self, frame: dict[str, Any]) -> None:
        turn = self.turn(frame["of"])
        turn.update(take=turn["take"] + 1, reply=frame["text"], state="done")
        await self.send("ok", to=frame["id"])

    async def _on_continue(self, frame: dict[str, Any]) -> None:
        turn = self.turn(frame["of"])
        turn["state"] = "waiting"
        await self.send("ok", to=frame["id"])
        self._spawn(self._tell(turn["id"], turn["reply"] + "\nAnd so it went on.", len(turn["reply"])))

    async def _on_undo(self, frame: dict[str, Any]) -> None:
        self.turns.remove(self.turn(frame["of"]))
        await self.send("ok", to=frame["id"])

    async def _on_remember(self, frame: dict[str, Any]) -> None:
        self.profile = {key: value for key, value in (self.profile | frame["profile"]).items() if value}
        await self.send("ok", to=frame["id"])

    async def _on_history(self, frame: dict[str, Any]) -> None:
        if self.history_refused:
            await self.send("error", message="There is no such turn.", retryable=False, **self.history_refused)
            return
        older = [] if self.older and frame["before"] == self.older[0]["id"] else self.older
        await self.send("history", before=frame["before"], turns=older)

    async def _on_ping(self, frame: dict[str, Any]) -> None:
        await self.send("pong")

    def _spawn(self, what: Any) -> None:
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

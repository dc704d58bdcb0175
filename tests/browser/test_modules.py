"""The page's modules against the terminal client's: two implementations of one protocol must agree."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from playwright.async_api import Page

from client.session.protocol import Answer, TurnView, Wake
from client.session.queue import Timeouts
from client.session.story import Change, Removed, Restarted, Story, Told
from client.terminal.countdown import Countdown
from tests.browser.fake_play import SAVED, FakePlay

#: The page's patience in milliseconds, after each count of questions.
PATIENCE = """async (counts) => {
  const { TIMEOUTS, patience } = await import("./session/queue.js");
  return counts.map((asked) => patience(TIMEOUTS.silence, asked));
}"""

#: Runs each list of calls on a story of the page's; gives what was shown and how the turns stand.
RUN = """async (plays) => {
  const { Story } = await import("./session/story.js");
  return plays.map((calls) => {
    const story = new Story();
    const shown = {};
    for (const [name, ...given] of calls) {
      if (name === "welcome") given.push((id) => id === "b");
      if (name === "reopened") given.splice(1, 0, story.get(given[0])?.mark ?? "");
      const changes = story[name](...given);
      for (const { kind, turn, text } of name === "earlier" ? [] : changes) {
        if (kind === "restarted" || kind === "removed") shown[turn.id] = "";
        if (kind === "told") shown[turn.id] = (shown[turn.id] ?? "") + text;
      }
    }
    const { begun } = story;
    const turns = story.turns.map((turn) => [
      turn.id, turn.said, turn.reply, turn.state, turn.take, turn.length, turn.live ? [] : turn.parts.choices,
      turn.takes.map(({ take, said, reply }) => [take, said, reply]),
    ]);
    return { shown, begun, turns, last: story.last?.id ?? null, live: story.live?.id ?? null };
  });
}"""

TEXTS = {take: f"Take {take}: a gate. 🟢 Zwölf Stufen, 👩‍🚀!\n> Go {take}.\n> Wait." for take in (1, 2, 3)}
TEXTS[2] += "\n\nIt rains.\n> Run."
TEXTS[3] += "\n> Wait."


def some_calls(chance: random.Random) -> list[list[Any]]:
    """What a server and a visitor might do, in no good order."""
    calls: list[list[Any]] = []
    for _ in range(chance.randint(1, 25)):
        turn_id, take = chance.choice(["opening", "a", "b"]), chance.randint(1, 3)
        text = TEXTS[take]
        at = chance.randint(0, len(text) - 1)
        call: list[Any]
        match chance.randint(0, 11):
            case 0:
                call = ["said", turn_id, f"I say {turn_id}"]
            case 1:
                reason = chance.choice(["stop", "cancelled", "error"])
                call = ["end", {"to": turn_id, "take": take, "reason": reason, "stats": {}}]
            case 2:
                view = {"said": "hm", "reply": text[:at], "take": take}
                view["state"] = chance.choice(["waiting", "telling", "done", "stopped", "failed"])
                ids = chance.choice([[turn_id], ["opening", "a"], ["a", "b"], []])
                call = ["welcome", [{"id": one, **view} for one in ids]]
            case 3:
                call = ["answered", {"to": turn_id, "text": "So.", "matched": "m", "score": 1, "saved": SAVED}]
            case 4:
                call = [chance.choice(["forget", "assure"]), turn_id]
            case 5:
                call = ["reopened", turn_id, chance.choice([None, "other words"])]
            case 6:
                call = ["failed", turn_id, "given up"]
            case 7:
                call = ["earlier", [{"id": "old", "said": "", "reply": "Once.", "state": "done", "take": 1}]]
            case _:
                more = text[at : at + chance.randint(1, 30)]
                call = ["token", {"to": turn_id, "take": take, "at": at, "text": more}]
        calls.append(call)
    return calls


def play(calls: list[list[Any]]) -> dict[str, Any]:
    """The same on a story of the terminal client's."""
    story = Story()
    shown: dict[str, str] = {}
    for name, *given in calls:
        changes: list[Change] = []
        match name:
            case "token" | "end":
                changes = getattr(story, name)(**given[0])
            case "answered":
                changes = story.answered(msgspec.convert({"type": "answer", **given[0]}, Answer))
            case "welcome":
                changes = story.welcome(msgspec.convert(given[0], list[TurnView]), lambda turn_id: turn_id == "b")
            case "reopened":
                turn = story.get(given[0])
                changes = story.reopened(given[0], turn.mark if turn else None, given[1])
            case "earlier":
                story.earlier(msgspec.convert(given[0], list[TurnView]))
            case _:
                changes = getattr(story, name)(*given)
        for change in changes:
            if isinstance(change, Restarted | Removed):
                shown[change.turn.id] = ""
            if isinstance(change, Told):
                shown[change.turn.id] = shown.get(change.turn.id, "") + change.text
    return {
        "shown": shown,
        "begun": story.begun,
        "turns": [
            [
                turn.id,
                turn.said,
                turn.reply,
                turn.state,
                turn.take,
                len(turn.reply),
                turn.choices,
                [[one.take, one.said, one.reply] for one in turn.takes],
            ]
            for turn in story.turns
        ],
        "last": story.last.id if story.last else None,
        "live": story.live.id if story.live else None,
    }


async def test_both_stories_agree_on_many_plays(page: Page) -> None:
    chance = random.Random(7)
    plays = [some_calls(chance) for _ in range(600)]
    async with FakePlay() as server:
        await page.goto(server.address)
        for calls, of_page in zip(plays, await page.evaluate(RUN, plays), strict=True):
            assert of_page == play(calls), calls


async def test_both_clients_have_the_same_patience(page: Page) -> None:
    counts = [0, 1, 2, 3, 9]
    async with FakePlay() as server:
        await page.goto(server.address)
        expected = [1000 * Timeouts().patience(asked) for asked in counts]
        assert await page.evaluate(PATIENCE, counts) == expected


async def test_where_the_browser_has_no_room_the_page_reads_what_it_wrote_last(page: Page) -> None:
    script = """async () => {
      const { storage } = await import("./storage.js");
      const { setItem } = Storage.prototype;
      const found = [storage.write("story.x", "old")];
      Storage.prototype.setItem = () => {
        throw new DOMException("full", "QuotaExceededError");
      };
      found.push(storage.write("story.x", "new"), storage.read("story.x"), storage.names("story."));
      Storage.prototype.setItem = setItem;
      found.push(localStorage.getItem("overture.story.x"));
      found.push(storage.write("story.x", "newest"), storage.read("story.x"), localStorage.getItem("overture.story.x"));
      found.push(storage.write("story.x", null), storage.read("story.x"));
      return found;
    }"""
    async with FakePlay() as server:
        await page.goto(server.address)
        found = await page.evaluate(script)
    assert found == [True, False, "new", ["story.x"], "old", True, "newest", "newest", True, None]


async def test_both_countdowns_agree(page: Page) -> None:
    chance = random.Random(11)
    reports: list[tuple[float, dict[str, Any] | None]] = []
    now = 1.0
    for _ in range(400):
        now += chance.choice([0.25, 0.5, 2.0])
        wake: dict[str, Any] = {"state": chance.choice(["waking"] * 8 + ["queued", "ready", "failed"])}
        wake |= {"progress": chance.random()} if chance.random() < 0.8 else {}
        wake |= {"eta_s": chance.uniform(0, 60)} if chance.random() < 0.8 else {}
        reports.append((now, wake if chance.random() < 0.4 else None))
    script = """async (reports) => {
      const { Countdown, inWords } = await import("./view/countdown.js");
      const countdown = new Countdown();
      return reports.map(([now, wake]) => {
        if (wake) countdown.hear(wake, now);
        const reading = countdown.read(now);
        return [reading.state, reading.progress, reading.leftS, inWords(reading)[0]];
      });
    }"""
    countdown = Countdown(reports[0][0])
    expected: list[tuple[str, float, float | None, str]] = []
    for now, report in reports:
        if report:
            countdown.hear(Wake(report["state"], report.get("progress"), report.get("eta_s")), now)
        reading = countdown.read(now)
        expected.append((reading.state, reading.progress, reading.left_s, reading.words))
    async with FakePlay() as server:
        await page.goto(server.address)
        for of_page, of_terminal in zip(await page.evaluate(script, reports), expected, strict=True):
            assert of_page[0] == of_terminal[0]
            assert of_page[1:3] == list(of_terminal[1:3])
            if of_terminal[2] is None or of_terminal[2] % 1 != 0.5:  # a half is rounded differently
                assert of_page[3] == of_terminal[3]

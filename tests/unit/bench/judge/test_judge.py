"""The judge, against a real HTTP server whose preference is known: verdicts, cache, retries, and what is refused."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench import results
from bench.judge.__main__ import main
from bench.judge.arena import AGAIN, play_prompts, read_verdict

KEY = "sk-never-to-be-seen"
WORLD = Path(__file__).resolve().parents[4] / "prologue" / "worlds" / "emerald_city"


def longer(a: str, b: str) -> str:
    return "I like [[A>>B]]" if len(a) > len(b) else "I like [[B>>A]]"


def with_pearls(a: str, b: str) -> str:
    return "[[A>B]]" if "pearls" in a and "pearls" not in b else "[[B>A]]" if "pearls" in b else "[[A=B]]"


def the_first(a: str, b: str) -> str:
    return "[[A>B]]"


def mostly_longer(a: str, b: str) -> str:
    """Prefers the longer reply by chance, the more surely the longer it is; the same in both orders."""
    one, other = len(a.split()), len(b.split())
    chance = 1 / (1 + 2.718 ** (-8 * (one - other) / (one + other)))
    draw = int(hashlib.sha256("".join(sorted((a, b))).encode()).hexdigest()[:8], 16) / (1 << 32)
    return "[[A>>B]]" if (draw if a < b else 1 - draw) < chance else "[[B>>A]]"


class Server(ThreadingHTTPServer):
    """OpenAI's chat protocol: `judge` prefers by `rule`, any other model says its name and the prompt."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rule: Callable[[str, str], str] = longer
        self.models = ["judge"]
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.failures: list[int] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def judged(self) -> list[dict[str, Any]]:
        return [body for body in self.asked if body["model"] == "judge"]

    def reply(self, body: dict[str, Any]) -> str:
        content = body["messages"][-1]["content"]
        if body["model"] != "judge":
            return f"{body['model']} says {content}"
        if content == AGAIN:
            content = body["messages"][1]["content"]
        _, _, rest = content.partition("=== The reply of assistant A ===\n")
        a, _, rest = rest.partition("\n=== End of A's reply ===")
        b = rest.partition("=== The reply of assistant B ===\n")[2].partition("\n=== End of B's reply ===")[0]
        return self.rule(a, b)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(200, {"object": "list", "data": [{"id": one, "object": "model"} for one in self.server.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.keys.add(self.headers["Authorization"])
            failure = self.server.failures.pop() if self.server.failures else 0
        if failure:
            self.answer(failure, {"error": {"message": f"no, {self.headers['Authorization']}"}})
        else:
            message = {"role": "assistant", "content": self.server.reply(body)}
            self.answer(200, {"object": "chat.completion", "choices": [{"index": 0, "message": message}]})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "out")
    return tmp_path


def write(path: Path, key: str, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"id": f"p{at}", key: text}) + "\n" for at, text in enumerate(texts)))
    return path


def command(folder: Path, server: Server, baseline: list[str], candidate: list[str], *more: str) -> list[str]:
    return [
        f"--baseline={write(folder / 'old.jsonl', 'answer', baseline)}",
        f"--candidate={write(folder / 'new.jsonl', 'answer', candidate)}",
        f"--judge=judge@{server.url}",
        f"--prompts={write(folder / 'prompts.jsonl', 'prompt', ['Tell me a tale.'] * len(baseline))}",
        f"--cache={folder / 'cache.jsonl'}",
        *more,
    ]


def found(folder: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    kept = json.loads((folder / "out" / "judge.json").read_text())
    assert kept["bench"] == "judge"
    about = ("quantity", "style", "verdict", "first")
    return {tuple(row[key] for key in about if key in row): row for row in kept["rows"]}


def test_a_judge_that_likes_longer_replies_finds_the_longer_ones(folder: Path, server: Server) -> None:
    replies = [f"A gate {at}." for at in range(12)]
    longest = [f"A gate {at}, and behind it a street of green glass." for at in range(9)] + ["No."] * 3
    assert main(command(folder, server, replies, longest)) == 0
    rows = found(folder)
    won = rows["win_rate", "as judged"]
    assert won["median"] == 0.75
    assert won["low"] < 0.75 < won["high"]
    # 400 log10(odds), the ridge apart
    assert rows["elo_difference", "as judged"]["median"] == pytest.approx(190.8, abs=1)
    assert rows["order_flips",]["median"] == 0
    assert rows["verdicts", "B>>A", "baseline"]["median"] == rows["verdicts", "A>>B", "candidate"]["median"] == 9
    assert {body["temperature"] for body in server.judged} == {0}


def test_a_judge_that_likes_a_word_finds_it_and_a_tie_is_half_a_win(folder: Path, server: Server) -> None:
    server.rule = with_pearls
    assert main(command(folder, server, ["a shell", "a stone"], ["a shell", "two pearls"])) == 0
    rows = found(folder)
    assert rows["win_rate", "as judged"]["median"] == 0.75
    assert rows["verdicts", "A=B", "baseline"]["median"] == 1


def test_a_judge_that_always_takes_the_first_finds_no_difference(
    folder: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.rule = the_first
    assert main(command(folder, server, ["x", "yy", "z z"], ["aaa bb", "a", "c"])) == 0
    rows = found(folder)
    for style in ("as judged", "equal"):
        assert rows["win_rate", style]["median"] == 0.5
        assert rows["elo_difference", style]["median"] == pytest.approx(0, abs=1e-6)
    assert rows["order_flips",]["median"] == 1
    told = capsys.readouterr().out
    assert "The winner changes with the order in 100.0% of the pairs; A wins 100.0%" in told
    assert "| as judged | 50.0% (50.0 to 50.0) | +0 (+0 to +0) |" in told
    assert told.startswith((folder / "out" / "judge.md").read_text())


def test_what_length_alone_wins_is_gone_at_equal_style(folder: Path, server: Server) -> None:
    server.rule = mostly_longer
    ours = [f"{at} " + "word " * (20 + at % 17) for at in range(160)]
    theirs = [f"{at} " + "word " * int((20 + at % 17) * (1.2 + at % 7 / 5 if at % 4 else 0.7)) for at in range(160)]
    assert main(command(folder, server, ours, theirs, "--most=160", "--parallel=8")) == 0
    rows = found(folder)
    assert rows["win_rate", "as judged"]["low"] > 0.55
    held = rows["win_rate", "equal"]
    assert held["low"] < 0.5 < held["high"]
    assert rows["style_worth", "length"]["low"] > 50


def test_endpoints_answer_once_and_their_answers_are_kept(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("JUDGE", "BASELINE", "CANDIDATE"):
        monkeypatch.setenv(f"{name}_API_KEY", f"{KEY}-{name}")
    arguments = command(folder, server, ["x"] * 3, ["y"] * 3, "--temperature=0.5", "--answer-tokens=7")
    arguments[:3] = [f"--baseline=ant@{server.url}", f"--candidate=elephant@{server.url}", f"--judge={server.url}"]
    assert main(arguments) == 0
    assert found(folder)["win_rate", "as judged"]["median"] == 1
    asked = [body for body in server.asked if body["model"] == "ant"]
    assert [(body["max_tokens"], body["temperature"], body["seed"]) for body in asked] == [(7, 0.5, 0)] * 1
    assert asked[0]["messages"] == [{"role": "user", "content": "Tell me a tale."}]
    assert server.keys == {f"Bearer {KEY}-{name}" for name in ("JUDGE", "BASELINE", "CANDIDATE")}
    for path in folder.rglob("*.*"):
        assert KEY not in path.read_text()
    told = capsys.readouterr()
    assert KEY not in told.out + told.err


def test_the_same_command_goes_on_where_a_kill_stopped_it(folder: Path, server: Server) -> None:
    arguments = command(folder, server, ["a", "bb", "ccc"], ["ddddd", "e", "ff"])
    assert main(arguments) == 0
    before, cache = found(folder), folder / "cache.jsonl"
    assert len(server.judged) == 6
    rows = cache.read_text().splitlines(keepends=True)
    cache.write_text("".join(rows[:3]) + rows[3][:20])
    server.asked.clear()
    assert main(arguments) == 0
    assert len(server.judged) == 3
    assert found(folder) == before
    assert sorted(cache.read_text().splitlines()) == sorted(row.strip() for row in rows)
    assert main(arguments) == 0
    assert len(server.judged) == 3


def test_offline_nobody_is_asked(folder: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(folder, server, ["a", "bb"], ["ddddd", "e"])
    assert main([*arguments, "--offline"]) == 1
    assert "lacks 4 of 4 judgements: run the same command without --offline first." in capsys.readouterr().err
    assert main(arguments) == 0
    before, asked = found(folder), len(server.asked)
    server.rule = the_first
    assert main([*arguments, "--offline"]) == 0
    assert found(folder) == before
    assert main([*arguments, "--offline", "--judge-tokens=99"]) == 1, "another question is another judgement"
    assert len(server.asked) == asked
    arguments[2] = f"--judge={server.url}"
    assert main([*arguments, "--offline"]) == 1
    assert "Offline nobody can say which model" in capsys.readouterr().err


def test_an_unclear_verdict_is_asked_for_once_more_and_then_counted(
    folder: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def rule(a: str, b: str) -> str:
        if "odd" in a + b:
            return "I cannot say."
        again = server.asked[-1]["messages"][-1]["content"] == AGAIN
        return "[[A>B]]" if again and "new" in a else "[[B>A]]" if again else "[[A>B]] or [[B>A]]"

    server.rule = rule
    assert main(command(folder, server, ["old", "old"], ["new", "odd"], "--parallel=1")) == 0
    rows = found(folder)
    assert rows["win_rate", "as judged"]["median"] == 1
    assert rows["win_rate", "as judged"]["rounds"] == 1
    assert rows["verdicts", "unreadable", "baseline"]["median"] == 1
    assert len(server.judged) == 8
    assert "| unreadable | 1 | 1 |" in capsys.readouterr().out
    (folder / "cache.jsonl").unlink()
    assert main(command(folder, server, ["odd"], ["odd"])) == 1
    assert "No pair has a readable verdict in both orders" in capsys.readouterr().err


def test_errors_that_pass_are_tried_again(folder: Path, server: Server) -> None:
    server.failures = [429, 500, 503]
    assert main(command(folder, server, ["a"], ["bb"], "--parallel=1")) == 0
    assert len(server.judged) == 2 + 3


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "refuses the key: set JUDGE_API_KEY"),
        (429, "is asked too much (429): lower --parallel"),
        (500, "fails (500): look at its log; the same command goes on"),
        (404, "refuses the chat request (Error code: 404"),
    ],
)
def test_errors_that_stay_are_one_sentence(
    folder: Path,
    server: Server,
    status: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", KEY)
    arguments = command(folder, server, ["a", "b"], ["cc", "dd"], "--parallel=1")
    server.failures = [status] * 100
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert KEY not in told
    server.failures = []
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("place", "option", "sentence"),
    [
        (2, "--judge=nowhere", "'nowhere' is no endpoint: give MODEL@URL"),
        (2, "--judge=judge@http://127.0.0.1:9/v1", "cannot be reached"),
        (2, f"--judge=judge@http://user:{KEY}@127.0.0.1:9/v1", "leave it out and set JUDGE_API_KEY"),
        (0, "--baseline=missing.jsonl", "missing.jsonl cannot be read"),
        (3, "--prompts=bad.jsonl", "bad.jsonl, line 2: give a JSON object with the texts id and prompt"),
        (3, "--prompts=twice.jsonl", "line 2: the id 'a' comes twice"),
        (3, "--prompts=other.jsonl", "old.jsonl has no answer to the prompt 'a'"),
        (3, "--prompts=empty.jsonl", "empty.jsonl is empty"),
        (4, "--cache=bad.jsonl", "bad.jsonl, line 1 is no row of a cache"),
        (3, "--parallel=0", "--parallel is 0: give at least 1"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    folder: Path,
    server: Server,
    place: int,
    option: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("bench.judge.endpoint.RETRIES", 0)
    Path("bad.jsonl").write_text('{"id": 1, "prompt": "x"}\n{"id": "a"}\n')
    Path("twice.jsonl").write_text('{"id": "a", "prompt": "x"}\n' * 2)
    Path("other.jsonl").write_text('{"id": "a", "prompt": "x"}\n')
    Path("empty.jsonl").write_text("\n")
    arguments = command(folder, server, ["a"], ["b"])
    arguments[place] = option
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert KEY not in told
    assert told.count("\n") == 1 or "judgements" in told


def test_a_server_of_several_models_must_be_told_which(
    folder: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.models = ["judge", "other"]
    arguments = command(folder, server, ["a"], ["b"])
    arguments[2] = f"--judge={server.url}"
    assert main(arguments) == 1
    assert f"has 2 models: give one of them as MODEL@{server.url}" in capsys.readouterr().err


def test_the_visitors_lines_are_said_through_the_plays_prompt() -> None:
    prompts = play_prompts(WORLD, 70)
    assert len(prompts) == len({prompt.id for prompt in prompts}) == 70
    assert [prompt.id for prompt in prompts[:2]] == ["0-1", "1-1"]
    assert prompts[60].id == "0-2"
    first = prompts[0]
    assert first.messages[0]["role"] == "system"
    assert "Thessaly" in first.messages[-1]["content"]
    assert first.text.startswith("(system)\n")
    assert first.messages[-1]["content"] in first.text


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("So: [[A>>B]]", "A>>B"),
        ("[[B>A]] … my verdict is [[B>A]].", "B>A"),
        ("[[B=A]]", "A=B"),
        ("[[A>B]] or [[A>>B]]", None),
        ("<think>[[A>B]]? No.</think>[[B>>A]]", "B>>A"),
        ("A>B", None),
        ("", None),
    ],
)
def test_verdicts_are_read(said: str, verdict: str | None) -> None:
    assert read_verdict(said) == verdict

from __future__ import annotations

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest

from prologue.__main__ import main
from prologue.answers.acceptance import CENTRE, FIGURES, PRIOR, SCALE, SIGNS, fit, score, threshold
from prologue.answers.embedder import WEIGHTS
from prologue.answers.index import (
    ARRAYS,
    CONTENT,
    NEIGHBOURS,
    VECTORS,
    AnswerIndex,
    AnswerIndexError,
    load_answer_index,
    split_questions,
    to_units,
)  # fmt: skip
from prologue.answers.index_build.answers_file import read_answers, read_negatives
from prologue.answers.index_build.builder import Report, build_answer_index, make_vectors
from prologue.answers.index_build.classifiers import cluster_folds, fit_classifiers, phrasing_folds, whitening
from prologue.answers.index_build.measure import auroc, measure, read_labelled
from prologue.answers.index_build.report import advice
from prologue.yaml_file import WorldError
from tests.unit.prologue.conftest import ANSWERS


@pytest.fixture(scope="session")
def index(built: tuple[Path, Report]) -> AnswerIndex:
    return load_answer_index(built[0])


@pytest.fixture
def copied(built: tuple[Path, Report], tmp_path: Path) -> Path:
    shutil.copytree(built[0], tmp_path / "index")
    return tmp_path / "index"


def test_a_phrasing_is_found_whatever_its_case_and_courtesy(index: AnswerIndex) -> None:
    for line in ("Who are you?", "who are you", "Hey, WHO ARE YOU?!", "So who are you really?"):
        match = index.find(line)
        assert match is not None, line
        assert (match.id, match.matched, match.score) == ("who_are_you", "Who are you?", 1.0)
        assert match.text == "The keeper of the door."
        assert match.tokens > 0


def test_a_paraphrase_is_found(index: AnswerIndex) -> None:
    match = index.find("how can I turn the music off")
    assert match is not None
    assert (match.id, match.score != 1) == ("sound", True)
    assert index.find("how can I save this story of mine") is not None


@pytest.mark.parametrize(
    "line", ["", " ", "?", "yes", "I follow the cat", "🐈", "x" * 2000, "\ud800", "Where is the market?"]
)
def test_silence(index: AnswerIndex, line: str) -> None:
    assert index.find(line) is None


def test_the_state_decides_which_answers_may_be_given(index: AnswerIndex) -> None:
    assert index.find("Who are you?", "story") is None
    assert index.decide(["Who are you?"], "story")[0].score == -math.inf
    assert index.find("How do I save?", "story") is not None
    with pytest.raises(ValueError, match="must be one of prologue, story"):
        index.find("Who are you?", "dream")  # type: ignore[arg-type]


def test_lines_decided_together_are_decided_alike(index: AnswerIndex) -> None:
    lines = ["how to save?", "turn the music off please", "a dog", "Who am I talking to"]
    together = index.decide(lines)
    assert [v.match and v.match.id for v in together] == [(m := index.find(line)) and m.id for line in lines]
    assert index.decide([]) == []


def test_threads_may_share_an_index(index: AnswerIndex) -> None:
    lines = ["How do I save?", "Who are you?", "I follow the cat", "can i mute the sound"] * 5
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(index.find, lines)) == [index.find(line) for line in lines]


def test_the_story_has_the_higher_bar_and_the_budget_moves_it(built: tuple[Path, Report]) -> None:
    tight, usual, loose = (load_answer_index(built[0], budget).thresholds for budget in (0.0, 0.01, 0.2))
    assert tight["prologue"] == math.inf
    assert usual["story"] >= usual["prologue"] >= loose["prologue"]
    assert load_answer_index(built[0], 0.0).find("Who are you?") is not None, "a phrasing needs no threshold"
    with pytest.raises(AnswerIndexError, match="budget is 2"):
        load_answer_index(built[0], 2)


def test_an_index_of_another_embedder_is_refused(copied: Path) -> None:
    raw = json.loads((copied / CONTENT).read_text())
    (copied / CONTENT).write_text(json.dumps({**raw, "embedder": "another"}))
    with pytest.raises(AnswerIndexError, match=r"was made with the embedder another, but all-MiniLM.*: build it again"):
        load_answer_index(copied)


@pytest.mark.parametrize("file", [CONTENT, VECTORS, ARRAYS, f"embedder/{WEIGHTS}"])
def test_missing_and_broken_files_are_one_sentence(copied: Path, file: str) -> None:
    (copied / file).write_bytes(b"{")
    with pytest.raises(AnswerIndexError, match=r"build it again"):
        load_answer_index(copied)
    (copied / file).unlink()
    with pytest.raises(AnswerIndexError, match=r"There is no (answer index|embedder) in"):
        load_answer_index(copied)


def test_vectors_of_another_index_is_refused(copied: Path) -> None:
    faiss.write_index(make_vectors(np.ones((2, 384), np.float32)), str(copied / VECTORS))
    with pytest.raises(AnswerIndexError, match="belong to another index"):
        load_answer_index(copied)


def test_shared_phrasings_are_reported(tmp_path: Path, embedder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(
        "- {id: one, phrasings: [Can I stop?, Must I stay?], answer: Yes.}\n"
        "- {id: two, phrasings: [can i stop, May I leave?], answer: No.}\n"
    )
    arguments = [
        "build",
        "--answers",
        str(tmp_path / "a.yaml"),
        "--out",
        str(tmp_path / "index"),
        "--embedder",
        str(embedder),
    ]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "'can i stop' is a phrasing of one and of two" in captured.err
    assert "Next: " in captured.out
    assert main(["ask", str(tmp_path / "index"), "can I stop?"]) == 0
    assert capsys.readouterr().out.startswith("Yes.\n[one:")
    assert main(["ask", str(tmp_path / "index"), "the moon"]) == 0
    assert capsys.readouterr().out.startswith("(silent: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a.yaml is empty"),
        ("[]", "line 1: this must be a list of 1 or more"),
        ("id: a", "line 1: this must be a list, found a mapping of keys"),
        ("- {id: a, phrasings: [], answer: x}", "line 1, a: `phrasings` is empty; give the ways"),
        ("- id: a\n  phrasings: [q]", "line 1, a: `answer` is missing; write it"),
        (
            "- id: a\n  answer: x\n  phrasings:\n    - q\n    - yes",
            "line 5, a: `phrasings` must be a text, found true or",
        ),
        ("- id: a\n  answer: x\n  phrasings: [' ']", "line 3, a: `phrasings` is an empty text"),
        ("- id: a\n  answer: x\n  phrasing: [q]", "line 3, a: `phrasing` is not a key that belongs here"),
        ("- {id: a, phrasings: [q], answer: x, when: [night]}", "line 1, a: `when` may be prologue or story"),
        ("- {id: a, phrasings: [q], answer: x}\n- {id: a, phrasings: [r], answer: x}", "another answer has this id"),
        ("- {id: a, phrasings: [q], answer: x, answer: y}", "line 1: `answer` occurs twice"),
    ],
)
def test_wrong_answers_are_named(tmp_path: Path, embedder: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(WorldError, match=said):
        build_answer_index(tmp_path / "a.yaml", tmp_path / "index", embedder=embedder)


def test_commands_end_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", str(tmp_path), "hello"]) == 1
    assert capsys.readouterr().err.startswith("There is no answer index in")
    with pytest.raises(SystemExit) as stopped:
        main(["build", "--answers", "a", "--out", "b", "--budget", "7"])
    assert stopped.value.code == 2


def test_measure(built: tuple[Path, Report], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"text": "Who are you?", "answer": "who_are_you"},
        {"text": "Who are you?", "answer": "save"},
        {"text": "Who are you?", "answer": "who_are_you", "state": "story"},
        {"text": "How do I save?", "answer": None},
        {"text": "I follow the cat", "answer": None, "state": "prologue"},
    ]
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    assert main(["measure", str(built[0]), str(file), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["recall"] == pytest.approx(1 / 3)
    assert figures["wrong_answer_rate"] == pytest.approx(1 / 3)
    assert figures["false_answer_rate"] == pytest.approx(1 / 2)
    assert figures["precision"] == pytest.approx(1 / 3)
    only_asked = measure(load_answer_index(built[0]), read_labelled(file)[:1])
    assert only_asked["false_answer_rate"] is None
    assert only_asked["auroc"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no lines"),
        ("{", "line 1: this is not JSON"),
        ('{"answer": null}', "`text` is missing"),
        ('{"text": "a"}', "`answer` must be"),
        ('{"text": "a", "answer": null, "state": "x"}', "`state` is 'x'"),
    ],
)
def test_wrong_labelled_lines_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "lines.jsonl").write_text(text)
    with pytest.raises(WorldError, match=said):
        read_labelled(tmp_path / "lines.jsonl")


def test_auroc() -> None:
    positive = np.array([True, True, False, False])
    assert auroc(np.array([3.0, 2.0, 1.0, 0.0]), positive) == 1
    assert auroc(np.array([1.0, 1.0, 1.0, 1.0]), positive) == 0.5
    assert auroc(np.array([-math.inf, 2.0, 1.0, -math.inf]), positive) == 0.625


@pytest.mark.parametrize(
    ("scores", "count", "budget", "taken"),
    [
        ([5, 4, 3, 2, 1], 388, 0.01, [5]),  # P(Binomial(388, 0.01) >= 2) = 0.9003
        ([5, 4, 3, 2, 1], 387, 0.01, []),  # ... 0.8996: sure of the highest alone
        ([5, 4, 3, 2, 1], 99, 0.01, []),  # sure of nothing, right on average
        ([5, 4], 99, 0.05, [5]),
        ([5, 4], 99, 0.5, [5, 4]),
        ([5, 4], 2, 1.0, [5]),
    ],
)
def test_a_threshold_takes_fewer_negatives_than_the_budget_to_be_sure(
    scores: list[float], count: int, budget: float, taken: list[float]
) -> None:
    limit = threshold(scores, count, budget)
    assert [score for score in scores if score >= limit] == taken


def test_too_few_negatives_promise_nothing() -> None:
    assert threshold([5.0], 98, 0.01) == math.inf
    assert threshold([], 10_000, 0.0) == math.inf


def test_a_threshold_keeps_its_promise_nine_times_in_ten() -> None:
    draw = np.random.default_rng(0)
    kept = [threshold(list(draw.random(600)), 600, 0.01) >= 0.99 for _ in range(1000)]
    assert 0.88 < np.mean(kept) < 0.96


def test_a_classifier_tells_an_answer_from_the_negatives() -> None:
    draw = np.random.default_rng(0)
    vectors, away = (draw.standard_normal((n, 8)).astype(np.float32) for n in (12, 40))
    vectors[:6] += 2
    vectors[6:] -= 2
    w, b = fit_classifiers(vectors, np.repeat([0, 1], 6), away, 3)
    own = vectors @ w.T + b
    assert (own[:6, 0] > 0).all()
    assert (own[6:, 1] > 0).all()
    assert (away @ w[0] + b[0] < 0).mean() > 0.9
    assert np.abs(w[2]).max() == 0, "an answer without phrasings"
    assert np.abs(fit_classifiers(vectors, np.repeat([0, 1], 6), away[:0], 2)[0]).max() == 0


def test_whitening_scales_down_what_differs_within_an_answer() -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(50), 40)
    centres = draw.standard_normal((50, 4))
    vectors = (centres[labels] + draw.standard_normal((2000, 4)) * [3, 0.1, 0.1, 0.1]).astype(np.float32)
    units = to_units(vectors, whitening(vectors, labels))
    assert np.allclose(np.linalg.norm(units, axis=1), 1, atol=1e-5)

    def nearest_is_own(rows: np.ndarray) -> float:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        near = rows @ rows.T
        np.fill_diagonal(near, -2)
        return float((labels[near.argmax(axis=1)] == labels).mean())

    assert nearest_is_own(units) > nearest_is_own(vectors)


def test_few_lines_leave_the_weights_near_the_prior_and_many_move_them() -> None:
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((20_000, len(FIGURES))) * SCALE + CENTRE
    right = rows[:, 0] > CENTRE[0]
    few, many = fit(rows[:5], right[:5]), fit(rows, right)
    assert np.abs(few - PRIOR).max() < 0.05
    assert many[0] > 2
    assert ((score(rows, many) > 0) == right).mean() > 0.9


def test_no_weight_is_learned_that_makes_a_nearer_line_score_less() -> None:
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((20_000, len(FIGURES))) * SCALE + CENTRE
    right = rows[:, 0] < CENTRE[0]  # as if the farther lines were the right ones
    weights = fit(rows, right)
    assert weights[0] == 0
    assert (SIGNS * weights >= 0).all()


def test_folds_hold_out_everything_once() -> None:
    vectors = np.random.default_rng(2).standard_normal((50, 4)).astype(np.float32)
    assert (np.sum(list(cluster_folds(vectors)), axis=0) == 1).all()
    assert list(cluster_folds(vectors[:1])) == []
    labels = np.repeat([0, 1, 2], [6, 5, 1])
    assert (np.sum(list(phrasing_folds(labels, 5)), axis=0) == 1).all()


def test_a_large_index_finds_what_the_exact_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(3).standard_normal((4000, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    places = make_vectors(rows).search(rows[:50], 1)[1]
    monkeypatch.setattr("prologue.answers.index_build.builder.FLAT_ROWS", 10)
    monkeypatch.setattr("prologue.answers.index_build.builder.CELLS", 4)
    large = make_vectors(rows)
    assert (large.search(rows[:50], 1)[1] == places).mean() > 0.9
    assert np.allclose(large.reconstruct_n(7, 3), rows[7:10], atol=0.03)


def test_two_questions_in_one_line_get_both_answers(index: AnswerIndex) -> None:
    match = index.find("How do I save? And who are you?")
    assert match is not None
    assert match.text == "It is kept as you go. The keeper of the door."
    assert split_questions("Hello! Who are you?") == ["Who are you?"]
    assert index.find("I open the door. Who are you?") is None, "one part has no answer"


def test_a_quiet_build_prints_nothing(tmp_path: Path, embedder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "answers.yaml").write_text("- {id: hours, phrasings: [When do you open?], answer: At nine.}")
    files = ["--answers", str(tmp_path / "answers.yaml"), "--out", str(tmp_path / "out"), "--embedder", str(embedder)]
    assert main(["build", "--quiet", *files]) == 0
    assert capsys.readouterr().out == ""
    assert main(["build", *files]) == 0
    assert "1 answers, 1 phrasings" in capsys.readouterr().out


def test_a_whole_phrasing_wins_over_its_parts(tmp_path: Path, embedder: Path) -> None:
    both = "- {id: both, phrasings: [How do I save? And who are you?, Save and who], answer: Both.}\n"
    (tmp_path / "answers.yaml").write_text(ANSWERS + both)
    build_answer_index(tmp_path / "answers.yaml", tmp_path / "out", embedder=embedder)
    match = load_answer_index(tmp_path / "out").find("How do I save? And who are you?")
    assert match is not None
    assert (match.id, match.score) == ("both", 1.0)


@pytest.mark.parametrize(
    "answers",
    [
        "- {id: hours, phrasings: [When do you open?, What are your hours?], answer: At nine.}",
        "- {id: zeiten, phrasings: [Wann macht ihr auf?, Wie sind die Zeiten?, Ab wann ist offen?], answer: Um neun.}\n"
        "- {id: preis, phrasings: [Was kostet es?, Wie teuer ist das?, Muss ich bezahlen?], answer: Nichts.}",
    ],
    ids=["of one answer", "in German"],
)
def test_an_index_that_knows_little_stays_silent(tmp_path: Path, embedder: Path, answers: str) -> None:
    (tmp_path / "answers.yaml").write_text(answers)
    report = build_answer_index(tmp_path / "answers.yaml", tmp_path / "out", embedder=embedder)
    index = load_answer_index(tmp_path / "out")
    assert report.foreign == ("zeiten" in answers)
    if report.foreign:
        assert [said for said in advice(report) if "in another language" in said]
        assert index.find("wann macht ihr auf") is not None, "an exact phrasing"
    lines = ["I open the door", "the moon is late today", "Ich gehe in den Garten", "Who are you?", "open sesame",
             "Wo ist mein Bruder?", "what is the capital of France", "I pay the ferryman", "hello"]  # fmt: skip
    assert [line for line in lines if index.find(line) is not None] == []


def test_the_emerald_citys_answers_have_thirty_phrasings_and_near_misses() -> None:
    folder = Path("prologue/worlds/emerald_city")
    assert min(len(answer.phrasings) for answer in read_answers(folder / "answers.yaml")) >= 30
    assert len(read_negatives(folder / "negatives.txt")) > 1_000


def test_slang_and_typos_find_the_phrasing(index: AnswerIndex) -> None:
    for line in ("whats ur name", "who r u", "ｗｈｏ ａｒｅ ｙｏｕ", "who are you??", "what is yourr name"):
        match = index.find(line)
        assert match is not None, line
        assert match.id == "who_are_you"


def test_a_build_says_what_to_do_next(built: tuple[Path, Report]) -> None:
    said = " ".join(advice(built[1]))
    assert "phrasings an answer are few" in said
    assert "found least when a phrasing is held out: " in said
    assert "these negatives set the threshold" in said


def test_an_index_smaller_than_the_neighbourhood_can_be_asked(index: AnswerIndex) -> None:
    assert sum(1 for _ in index.decide(["how do I save?"])) == 1
    assert NEIGHBOURS > 15  # more than the phrasings of this index

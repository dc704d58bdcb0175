"""The rules of bench/answers/rules.py on a handful of vectors: who is named, and where a threshold would lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.answers import __main__ as answers
from bench.answers.intents import read_banking
from bench.answers.rules import Scored, at_threshold, curve, limit, nearest, recalls, route_mean

VECTORS = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
LABELS = np.array([0, 0, 1])
LINES = np.array([[0.9, 0.1], [0.5, 0.7]], np.float32)


def test_nearest_names_the_answer_of_the_likest_phrasing() -> None:
    found = nearest(VECTORS, LABELS)(LINES)
    assert found.answer.tolist() == [0, 0]
    assert found.score.tolist() == pytest.approx([0.9, 0.82])


def test_route_mean_names_the_answer_whose_phrasings_are_likest_together() -> None:
    found = route_mean(VECTORS, LABELS)(LINES)
    assert found.answer.tolist() == [0, 1]
    assert found.score.tolist() == pytest.approx([0.84, 0.7])


def test_a_limit_leaves_its_share_of_negatives_above() -> None:
    scores = np.arange(100, dtype=np.float32)
    assert (scores > limit(scores, 0.05)).sum() == 5
    assert limit(scores, 1.0) == 0


def test_recall_counts_right_answers_above_the_limit_alone() -> None:
    asked = np.array([0, 1, 1])
    positive = Scored(np.array([0, 1, 0]), np.array([0.9, 0.4, 0.9], np.float32))  # the last is a wrong answer
    negative = Scored(np.array([0, 0]), np.array([0.5, 0.1], np.float32))
    assert recalls(positive, negative, asked)[:3] == pytest.approx([1 / 3] * 3)
    assert at_threshold(positive, negative, asked, 0.3) == pytest.approx((2 / 3, 0.5))
    found = [recall for _, recall in curve(positive, negative, asked)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(2 / 3)


def test_an_index_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answers.main(["--index", str(tmp_path)]) == 1
    assert "answers.json is missing" in capsys.readouterr().err


def test_banking77_is_read_with_near_and_far_lines_apart(tmp_path: Path) -> None:
    for part in ("train", "valid", "test", "id-oos/valid", "id-oos/test", "ood-oos/valid", "ood-oos/test"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "seq.in").write_text(f"{part} one\n{part} two\n")
        (tmp_path / part / "label").write_text("card\ncash\n")
    data = read_banking(tmp_path)
    assert data.train == [("train one", "card"), ("train two", "cash")]
    assert data.outside == {
        "near": ["id-oos/test one", "id-oos/test two"],
        "far": ["ood-oos/test one", "ood-oos/test two"],
    }
    assert len(data.away) == 4

"""The answer book's rules on a handful of vectors: who is named, and where a threshold would lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import answers
from bench.answers import Scored, _curve, _defaults, _limit, _nearest, _route_mean, _row

BOOK = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
LABELS = np.array([0, 0, 1])
LINES = np.array([[0.9, 0.1], [0.5, 0.7]], np.float32)


def test_nearest_names_the_answer_of_the_likest_phrasing() -> None:
    found = _nearest(BOOK, LABELS)(LINES)
    assert found.answer.tolist() == [0, 0]
    assert found.score.tolist() == pytest.approx([0.9, 0.82])


def test_route_mean_names_the_answer_whose_phrasings_are_likest_together() -> None:
    found = _route_mean(BOOK, LABELS)(LINES)
    assert found.answer.tolist() == [0, 1]
    assert found.score.tolist() == pytest.approx([0.84, 0.7])


def test_a_limit_leaves_its_share_of_negatives_above() -> None:
    scores = np.arange(100, dtype=np.float32)
    assert (scores > _limit(scores, 0.05)).sum() == 5
    assert _limit(scores, 1.0) == 0


def test_recall_counts_right_answers_above_the_limit_alone() -> None:
    asked = np.array([0, 1, 1])
    positive = Scored(np.array([0, 1, 0]), np.array([0.9, 0.4, 0.9], np.float32))  # the last is a wrong answer
    negative = Scored(np.array([0, 0]), np.array([0.5, 0.1], np.float32))
    assert _row(positive, negative, asked)[:3] == pytest.approx([1 / 3] * 3)
    assert _defaults(positive, negative, asked, 0.3) == pytest.approx((2 / 3, 0.5))
    recalls = [recall for _, recall in _curve(positive, negative, asked)]
    assert recalls == sorted(recalls)
    assert recalls[-1] == pytest.approx(2 / 3)


def test_a_book_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answers.main(["--book", str(tmp_path)]) == 1
    assert "book.json is missing" in capsys.readouterr().err

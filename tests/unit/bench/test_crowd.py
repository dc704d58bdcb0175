"""What `bench.crowd` needs of the machine before it begins."""

from __future__ import annotations

import resource

import pytest

from bench.crowd import allow_files


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(1024, 20_000, (5_500, 20_000)), (8_000, 20_000, None), (1024, resource.RLIM_INFINITY, (5_500, -1))],
)
def test_a_thousand_visitors_get_the_files_they_need(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, expected: tuple[int, int] | None
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr("resource.setrlimit", lambda which, new: limits.append(new))
    allow_files(1000)
    assert limits == ([] if expected is None else [expected])


def test_a_machine_that_does_not_allow_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 4096))
    with pytest.raises(SystemExit, match=r"5500 open files, and 4096 are allowed; raise `ulimit -Hn`"):
        allow_files(1000)

"""Memory fitted to the model, and the start that fits it."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.deploy.checks import fit_memory as fit_settings
from infra.deploy.starts import (
    MEMORY_BESIDE_MODEL_MB,
    ONE_CPU_MB,
    READING_TOKENS_PER_S,
    fit_memory,
    starts,
    suggest,
    suggestion,
    tokens_per_s,
)
from infra.settings import Settings

SMOL, ONE_B, EIGHT_B = 110_000_000, 690_000_000, 4_230_000_000


def test_eight_billion_tell_what_the_published_reference_did() -> None:
    assert tokens_per_s(EIGHT_B, 10_240) == pytest.approx(2.5)


@pytest.mark.parametrize("size", [SMOL, ONE_B, EIGHT_B, 8_000_000_000])
def test_memory_holds_the_model_and_has_a_whole_cpu(size: int) -> None:
    memory = fit_memory(size)
    assert ONE_CPU_MB <= memory <= 10_240
    assert memory >= min(size / 1024**2 + MEMORY_BESIDE_MODEL_MB, 10_240)


@pytest.mark.parametrize("size", [SMOL, ONE_B])
def test_a_small_model_gets_as_much_as_keeps_ahead_of_a_reader_and_not_everything(size: int) -> None:
    memory = fit_memory(size)
    assert memory < 10_240 / 2
    assert tokens_per_s(size, memory) >= READING_TOKENS_PER_S


def test_memory_is_fitted_only_where_none_is_given_and_the_model_is_here(tmp_path: Path) -> None:
    (tmp_path / "weights-001.safetensors").write_bytes(b"0" * 1000)
    assert fit_settings(Settings(bundle=str(tmp_path))).memory == fit_memory(1000)
    assert fit_settings(Settings(bundle=str(tmp_path), memory=3008)).memory == 3008
    assert fit_settings(Settings(bundle=str(tmp_path / "none"))).memory_mb == 10_240


def test_the_cheaper_start_is_suggested_for_the_visits_that_are_expected() -> None:
    memory = fit_memory(EIGHT_B)
    cold, snapshot = starts(EIGHT_B, memory)
    assert snapshot.month_usd > cold.month_usd == 0
    assert snapshot.visit_usd < cold.visit_usd
    assert suggest(EIGHT_B, memory, 1)[1].name == "cold"
    assert suggest(EIGHT_B, memory, 100_000)[1].name == "snapstart"
    said = suggestion(EIGHT_B, memory, 1)
    assert "At 1 visits a day start=cold fits: $38" in said
    assert "start=snapstart" in said
    # A snapshot is billed by the function's memory.
    assert starts(SMOL, fit_memory(SMOL))[1].month_usd < snapshot.month_usd / 4

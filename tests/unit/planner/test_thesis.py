from __future__ import annotations

import numpy as np
import pytest

from planner.analysis import thesis
from planner.costs.speeds import RETAINED
from planner.explain import FP8, GUIDANCE, INT4


def test_tables_add_up() -> None:
    table = thesis.data()["table_4_engines"]
    for engine in ("transformers", "vllm"):
        row = table[engine]
        parts = row["gpu_active_wh"] + row["gpu_idle_wh"] + row["cpu_wh"] + row["ram_wh"]
        assert parts == pytest.approx(row["total_wh"], abs=0.02)


def test_processor_and_memory_were_constants_and_not_measured() -> None:
    table = thesis.data()["table_4_engines"]
    hours = {"transformers": (49 * 60 + 33) / 3600, "vllm": (8 * 60 + 50) / 3600}
    watts = {engine: table[engine]["cpu_wh"] / hours[engine] for engine in hours}
    assert watts["transformers"] == pytest.approx(watts["vllm"], rel=0.001)


def test_the_refits_are_least_squares_of_the_printed_tables() -> None:
    refits, table = thesis.data()["refits"], thesis.data()["table_6_output_tokens"]
    found = np.polyfit(table["avg_output_tokens"], table["wh"], 2)
    fit = refits["output_quadratic"]
    np.testing.assert_allclose(found, [fit["c"], fit["b"], fit["a"]], rtol=1e-3)
    table = thesis.data()["table_7_input_tokens"]
    found = np.polyfit(table["avg_input_tokens"], table["wh"], 1)
    np.testing.assert_allclose(found, [refits["input_linear"]["b"], refits["input_linear"]["a"]], rtol=1e-3)


def test_the_planners_constants_are_those_of_the_tables() -> None:
    table = thesis.data()["table_11_quant_energy"]
    rows = [row for name in ("llama_3_1_70b", "mistral_nemo_2407", "llama_3_1_8b") for row in table[name]]
    guided = [row[3] / row[2] for row in rows]
    assert (round(min(guided), 2), round(max(guided), 2)) == GUIDANCE
    for bits, bounds in (("fp8", FP8), ("int4", INT4)):
        shares = []
        for name in ("llama_3_1_70b", "mistral_nemo_2407", "llama_3_1_8b"):
            gpus = next(row[0] for row in table[name] if row[1] == "bf16")
            at_equal_hardware = next(row for row in table[name] if row[1] == bits and row[0] == gpus)
            shares.append(at_equal_hardware[5])
        assert (round(min(shares), 2), round(max(shares), 2)) == bounds
    quality = thesis.data()["table_10_quant_quality"]["llama_3_1_8b"]
    assert pytest.approx(quality["int4"]["plain"][0] / quality["bf16"]["plain"][0]) == RETAINED["int4"]
    assert pytest.approx(quality["fp8"]["plain"][0] / quality["bf16"]["plain"][0]) == RETAINED["int8"]


def test_the_dashboards_factors_are_reproduced() -> None:
    assert thesis.precision("16", "8").factor == 0.40
    assert thesis.precision("16", "4").factor == 0.3188
    assert thesis.precision("8", "8").factor == 1
    assert thesis.output_tokens(182, 1_202).factor == pytest.approx(998.43 / 161.19, rel=0.03)
    assert thesis.model_size(7, 34).factor == pytest.approx(285.53 / 113.76, rel=0.12)
    factors = [thesis.precision("16", "4"), thesis.model_size(70, 7)]
    assert thesis.together(factors) == pytest.approx(0.3188 * factors[1].factor)


def test_each_answer_says_where_it_misleads() -> None:
    assert "eight GPUs to four" in thesis.precision("16", "4").caution
    assert "falls" in thesis.input_tokens(256, 50_000).caution
    assert "extrapolation" in thesis.model_size(8, 405).caution
    assert "extrapolation" not in thesis.model_size(7, 70).caution


def test_nothing_on_the_front_is_beaten_by_another_point_of_it() -> None:
    front = thesis.pareto()
    assert [row[0] for row in front] == sorted(row[0] for row in front)
    assert [row[1] for row in front] == sorted(row[1] for row in front)

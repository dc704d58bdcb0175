from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.scenario import parse
from planner.simulation.arrivals import Visitor, arrival_times, visitors
from planner.simulation.simulate import simulate
from planner.simulation.system import Outcome, System
from tests.unit.planner import second


def fast(**given: Any) -> System:
    """A system whose tokens and seconds are the same number."""
    return System(tokens_per_s=1.0, prefill_per_s=1.0, **given)


def one(at: float, *tokens: float, think: float = 0.0, patience: float = math.inf, number: int = 0) -> Visitor:
    count = len(tokens)
    return Visitor(number, at, [think] * count, tokens, [False] * count, patience, number)


def customers(count: int, rate: float, mean_s: float, seed: int) -> Iterator[Visitor]:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / rate, count))
    # A reply's first token is free in this system: 1 + s tokens take s seconds.
    for number, (at, tokens) in enumerate(zip(times, 1 + rng.exponential(mean_s, count), strict=True)):
        yield one(float(at), float(tokens), number=number)


def erlang_c(servers: int, load: float) -> float:
    """Probability of waiting in M/M/c."""
    top = load**servers / math.factorial(servers) * servers / (servers - load)
    return top / (sum(load**k / math.factorial(k) for k in range(servers)) + top)


@pytest.mark.parametrize(("servers", "utilisation"), [(1, 0.5), (2, 0.6), (4, 0.7)])
def test_a_pool_without_starts_is_an_m_m_c_queue(servers: int, utilisation: float) -> None:
    count = 200_000
    crowd = list(customers(count, servers * utilisation / 32, 32, seed=3))
    waits = np.array(list(simulate(fast(cap=servers, keep_s=1e12), crowd).opening))
    # Erlang C at the rates that were drawn: what is left to chance is a fraction of the 2% allowed.
    mean_s = float(np.mean([visitor.tokens[0] - 1 for visitor in crowd]))
    load = mean_s * count / crowd[-1].at
    probability = erlang_c(servers, load)
    assert (waits > 1e-9).mean() == pytest.approx(probability, rel=0.02)
    assert waits.mean() == pytest.approx(probability * mean_s / (servers - load), rel=0.02)


def test_machines_that_are_always_on_are_the_same_queue() -> None:
    pool = simulate(fast(cap=3, keep_s=1e12), customers(20_000, 0.07, 32, seed=3))
    machines = simulate(fast(machines=3), customers(20_000, 0.07, 32, seed=3))
    np.testing.assert_allclose(pool.opening, machines.opening, atol=1e-6)


def test_streams_that_share_a_machine_without_loss_are_processor_sharing() -> None:
    """M/G/1 with processor sharing: the mean time in the system is that of M/M/1, 1 / (mu - lambda)."""
    system = fast(machines=1, streams=10_000, batch_cost=1.0)
    outcome = simulate(system, customers(60_000, 0.6 / 32, 32, seed=5))
    # With a first token for nothing all the time is decoding: the connection lasts as long as the reply.
    assert outcome.connected_s / outcome.completed == pytest.approx(32 / (1 - 0.6), rel=0.03)


def test_a_perfect_batch_slows_nobody() -> None:
    outcome = simulate(fast(machines=1, streams=10_000, batch_cost=0.0), customers(5_000, 0.5, 32, seed=5))
    assert outcome.connected_s == pytest.approx(outcome.decode_s)


def test_littles_law_holds_for_the_waiting_line() -> None:
    scenario = parse("traffic: {visits_per_day: 300, pattern: evening}")
    times = arrival_times(scenario, 14, 1)
    outcome = simulate(
        System(tokens_per_s=2.5, prefill_per_s=16, start_s=50, cap=3, prologue_s=25), visitors(scenario, times, 1)
    )
    assert outcome.queued > 1_000
    length = outcome.queue_area / outcome.horizon_s
    arrivals, wait = outcome.queued / outcome.horizon_s, outcome.queue_wait_s / outcome.queued
    assert length == pytest.approx(arrivals * wait, rel=1e-9)


def _random_system(rng: random.Random) -> System:
    return System(
        tokens_per_s=rng.choice([2.5, 4.0, 25.0]),
        prefill_per_s=rng.choice([16.0, 160.0]),
        first_fixed_s=0.05,
        prompt_tokens=rng.choice([36.0, 190.0]),
        turn_tokens=140.0,
        start_s=rng.choice([3.0, 20.0, 50.0]),
        cap=rng.choice([0, 1, 2, 3, 10]),
        keep_s=rng.choice([120.0, 600.0]),
        cache_slots=rng.choice([1, 2, 4]),
        linger_s=rng.choice([0.0, 0.0, 15.0, 60.0]),
        prologue_s=rng.choice([0.0, 25.0, 60.0]),
        provisioned=rng.choice([0, 0, 1]),
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_second_implementation_agrees_to_the_millisecond(seed: int) -> None:
    rng = random.Random(seed)
    system = _random_system(rng)
    patience = rng.choice(["null", "40"])
    pattern = rng.choice(["flat", "evening", "office"])
    scenario = parse(
        f"traffic: {{visits_per_day: {rng.choice([20, 100, 300])}, pattern: {pattern}, "
        f"abandon_after_s: {patience}}}\n"
        f"visit: {{turns: {rng.choice([1, 4, 10])}, think_s: {rng.choice([5, 20, 60])}, "
        f"index_share: {rng.choice([0.0, 0.2])}}}"
    )
    times = arrival_times(scenario, 7, seed)[:400]
    first = simulate(system, visitors(scenario, times, seed))
    other = second.play(system, visitors(scenario, times, seed))
    assert first.starts == other.starts
    assert first.replies == other.replies
    assert first.left == other.left
    np.testing.assert_allclose(sorted(first.opening), sorted(other.opening), atol=1e-3)
    np.testing.assert_allclose(sorted(first.later), sorted(other.later), atol=1e-3)
    assert first.start_s == pytest.approx(other.start_s)
    assert first.prefill_s + first.decode_s == pytest.approx(other.told_s, rel=1e-6)
    assert first.linger_s == pytest.approx(other.linger_s, rel=1e-6, abs=1e-3)
    assert first.warm_s == pytest.approx(other.warm_s, rel=1e-6, abs=1e-3)


# --- the rules, one at a time -------------------------------------------------------------------


def run(system: System, *visits: Visitor) -> Outcome:
    return simulate(system, visits)


def test_the_prologue_hides_a_start_that_is_shorter() -> None:
    system = fast(start_s=20, prologue_s=25)
    assert list(run(system, one(0, 11)).opening) == [0]


def test_a_longer_start_is_waited_for_after_the_prologue() -> None:
    system = fast(start_s=50, prologue_s=25)
    outcome = run(system, one(0, 11))
    assert list(outcome.opening) == [25]
    assert (outcome.starts, outcome.invocations) == (1, 1)


def test_the_next_visitor_finds_the_environment_warm_until_it_is_reaped() -> None:
    system = fast(start_s=50, prologue_s=0, keep_s=600)
    assert run(system, one(0, 11), one(600, 11, number=1)).starts == 1
    late = run(system, one(0, 11), one(700, 11, number=1))
    assert late.starts == 2
    assert late.warm_s == 1_200


def test_who_finds_no_slot_waits_for_the_first_that_is_free() -> None:
    system = fast(cap=1, prologue_s=0)
    assert list(run(system, one(0, 101), one(10, 11, number=1)).opening) == [0, 90]


def test_a_lingering_storyteller_holds_its_slot() -> None:
    system = fast(cap=1, linger_s=30)
    outcome = run(system, one(0, 11, 11, think=20), one(15, 11, number=1))
    # The second visitor waits for both replies of the first.
    assert list(outcome.opening) == [0, pytest.approx(25)]
    assert outcome.linger_s == 20


def test_a_cold_cache_computes_the_story_so_far_again() -> None:
    system = fast(cap=1, prompt_tokens=10, turn_tokens=100, cache_slots=1)
    alone = run(system, one(0, 2, 2, think=50))
    disturbed = run(system, one(0, 2, 2, think=50), one(20, 2, number=1))
    assert list(alone.later) == [10]
    assert max(disturbed.later) == 110
    kept = run(replace(system, cache_slots=2), one(0, 2, 2, think=50), one(20, 2, number=1))
    assert max(kept.later) == 10


def test_a_visitor_without_patience_leaves_the_line_and_holds_nobody_up() -> None:
    system = fast(cap=1)
    outcome = run(system, one(0, 101), one(1, 11, patience=5, number=1), one(2, 11, number=2))
    assert outcome.left == 1
    assert list(outcome.opening) == [0, 98]


def test_a_reply_that_nobody_hears_goes_on_for_the_grace() -> None:
    system = fast(first_fixed_s=100, grace_s=30)
    outcome = run(system, one(0, 1_001, patience=10))
    assert outcome.left == 1
    assert outcome.prefill_s == 40


def test_who_leaves_during_a_start_is_told_to_for_the_grace_all_the_same() -> None:
    """Their line is in the inbox, and the storyteller looks for a listener only while it tells."""
    system = fast(start_s=50, grace_s=30)
    outcome = run(system, one(0, 1_001, patience=10))
    assert outcome.left == 1
    assert outcome.prefill_s + outcome.decode_s == 30
    assert run(system, one(0, 11, patience=10)).decode_s == 10


def test_a_slot_is_handed_on_when_the_record_has_come_and_until_then_is_its_own_sessions() -> None:
    system = fast(cap=1, handover_s=5)
    assert list(run(system, one(0, 101), one(10, 11, number=1)).opening) == [0, 95]
    outcome = run(system, one(0, 101, 11, think=3), one(10, 11, number=1))
    assert (list(outcome.later), list(outcome.opening)) == ([0], [0, 108])


def test_provisioned_environments_never_start_nor_are_reaped() -> None:
    system = fast(start_s=50, provisioned=1, keep_s=10)
    outcome = run(system, one(0, 11), one(1_000, 11, number=1))
    assert (outcome.starts, outcome.warm_s) == (0, 0)
    assert outcome.prepared_s == 20


def test_the_kill_switch_turns_away_and_opens_again() -> None:
    system = fast(memory_gb=10, ceiling_gb_s=900, off_s=3_600)
    outcome = run(system, one(0, 101), one(200, 11, number=1), one(4_000, 11, number=2))
    assert len(outcome.kills) == 2  # at 100 s, and once more by the sum of the same day
    assert outcome.refused_lines == 1
    assert len(outcome.opening) == 2


def test_wakes_of_one_address_are_capped_by_the_day() -> None:
    system = fast(wakes_per_day=1)
    same = [one(float(at), 11, number=0) for at in (0, 100, 86_400)]
    outcome = run(system, *same)
    assert outcome.refused_wakes == 1
    assert len(outcome.opening) == 2


def test_a_line_that_the_index_answers_needs_no_storyteller() -> None:
    visitor = one(0, 11, 11)._replace(by_index=[False, True])
    outcome = run(fast(), visitor)
    assert (outcome.index_lines, outcome.replies, outcome.completed) == (1, 1, 1)

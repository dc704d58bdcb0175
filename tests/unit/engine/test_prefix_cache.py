"""Which text in memory a prompt goes on from, and what is guessed to come next."""

from __future__ import annotations

from storyteller.engine.prefix_cache import CachedPrefix, PrefixCache
from storyteller.engine.prompt_lookup import PromptLookup


class Copies:
    """Caches that remember what was copied into them."""

    def new_cache(self) -> list[str]:
        return []

    def copy_cache(self, source: list[str], target: list[str], count: int) -> None:
        target.append(f"{count}")


def tell(cache: PrefixCache, prompt: list[int], reply: list[int]) -> tuple[CachedPrefix, int]:
    text, shared = cache.take(prompt)
    text.ids[:] = prompt + reply
    return text, shared


def test_a_story_goes_on_in_its_own_text() -> None:
    cache = PrefixCache(Copies(), 2)
    first, shared = tell(cache, [1, 2, 3], [4, 5])
    assert shared == 0
    again, shared = tell(cache, [1, 2, 3, 4, 5, 6, 7], [8])
    assert again is first
    assert shared == 5


def test_the_last_token_is_always_computed() -> None:
    cache = PrefixCache(Copies(), 2)
    tell(cache, [1, 2, 3, 4], [])
    assert cache.take([1, 2, 3, 4])[1] == 3


def test_another_story_takes_a_copy_of_the_beginning() -> None:
    cache = PrefixCache(Copies(), 2)
    first, _ = tell(cache, [1, 2, 3, 4, 5, 6, 7], [8, 9])
    other, shared = tell(cache, [1, 2, 30, 40], [50])
    assert other is not first
    assert (shared, other.cache) == (2, ["2"])
    assert first.ids == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert cache.take([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])[0] is first


def test_with_no_more_room_the_one_unused_for_longest_goes() -> None:
    cache = PrefixCache(Copies(), 2)
    tell(cache, [1] * 8, [])
    second, _ = tell(cache, [2] * 8, [])
    cache.take([1] * 9)
    third, _ = tell(cache, [3] * 8, [])
    assert third is second
    assert cache.take([1] * 9)[1] == 8


def test_with_room_for_one_it_is_cut_in_place() -> None:
    cache = PrefixCache(Copies(), 1)
    first, _ = tell(cache, [1, 2, 3, 4, 5, 6, 7], [8])
    other, shared = cache.take([1, 2, 9, 9])
    assert other is first
    assert (shared, other.ids, other.cache) == (2, [1, 2], [])


def test_a_prefix_is_copied_and_kept() -> None:
    prefix = CachedPrefix(["prefix"], [1, 2, 3, 4])
    cache = PrefixCache(Copies(), 1, prefix)
    for _ in range(2):
        text, shared = tell(cache, [1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11])
        assert text is not prefix
        assert shared == 4
        assert prefix.ids == [1, 2, 3, 4]
        tell(cache, [9, 9, 9], [])


def test_what_followed_before_is_guessed() -> None:
    assert PromptLookup().propose([7, 1, 2, 3, 4, 5, 6, 9, 1, 2, 3]) == [4, 5, 6]
    assert PromptLookup().propose([1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3]) == [5, 1, 2]  # the latest counts
    assert PromptLookup().propose([1, 2, 3, 4, 5, 6]) == []
    assert PromptLookup().propose([1, 2]) == []


def test_guesses_that_are_seldom_right_stop_for_a_while() -> None:
    drafter, history = PromptLookup(), [1, 2, 3, 4, 1, 2, 3]
    for _ in range(50):
        if drafter.propose(history):
            drafter.learn(3, 0)
        else:
            break
    else:
        raise AssertionError("it never rested")
    answers = [bool(drafter.propose(history)) for _ in range(100)]
    assert not any(answers[:60])
    assert any(answers)
    eager = PromptLookup()
    for _ in range(200):
        assert eager.propose(history)
        eager.learn(3, 2)

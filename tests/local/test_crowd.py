"""The crowd that `bench.crowd` plays with, small."""

from __future__ import annotations

from pathlib import Path

from bench.crowd import WAITS, play
from tests.tiny_llama import write_tiny_llama


async def test_visitors_who_play_at_once_are_all_served(tmp_path: Path) -> None:
    crowd = await play(4, 1.0, write_tiny_llama(tmp_path / "llama", context=4096))
    assert crowd.errors == {}
    assert {name: len(crowd.seconds[name]) for name in WAITS} == dict.fromkeys(WAITS, 4)
    assert crowd.memory_mb["front"] > 0

"""What the tests of the demo model share: the city it tells of, and the world whose prompt it is given."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from model_build.demo.city import City, load_city
from model_build.demo.recipe import MODEL, WORLD
from model_build.demo.tokens import load_tokenizer
from prologue.world import World, load_world


@pytest.fixture(scope="session")
def city() -> City:
    return load_city()


@pytest.fixture(scope="session")
def world() -> World:
    return load_world(WORLD)


@pytest.fixture(scope="session")
def demo_tokenizer() -> Tokenizer:
    return load_tokenizer(MODEL / "tokenizer.json")

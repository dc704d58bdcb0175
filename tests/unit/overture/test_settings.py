"""Settings: typed, from the environment, refused in a sentence that names the variable."""

from __future__ import annotations

import pytest

from overture.settings import Settings, SettingsError


def test_defaults_hold_where_nothing_is_set() -> None:
    assert Settings.read({}) == Settings()
    assert Settings().reservation_s > 60, "a reservation must outlive MaximumEventAge"


def test_reads_types_from_text() -> None:
    settings = Settings.read(
        {"OVERTURE_LINGER_S": "2.5", "OVERTURE_CONCURRENCY": "3", "OVERTURE_MODEL": "/m", "PATH": "x"}
    )
    assert (settings.linger_s, settings.concurrency, settings.model) == (2.5, 3, "/m")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OVERTURE_LEASE_S", "long"),
        ("OVERTURE_CONCURRENCY", "-1"),
        ("OVERTURE_TOP_P", "0"),
        ("OVERTURE_TEMPERATURE", "warm"),
        ("OVERTURE_CONTEXT", "3.5"),
        ("OVERTURE_SESSION_DAYS", "0"),
    ],
)
def test_refuses_what_does_not_fit(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{value}'"):
        Settings.read({name: value})


def test_a_reply_is_drawn_as_settings_say_else_as_the_model_says_else_as_a_story() -> None:
    story = {"temperature": 0.7, "top_p": 0.9, "top_k": 0, "min_p": 0.05, "repetition_penalty": 1.0}
    assert Settings.read({}).sampling({}) == story
    assert Settings.read({}).sampling({"temperature": 0.6, "top_k": 40}) == {**story, "temperature": 0.6, "top_k": 40}
    settings = Settings.read({"OVERTURE_TEMPERATURE": "0", "OVERTURE_TOP_K": "9"})
    assert settings.sampling({"temperature": 0.6, "min_p": 0.1}) == {
        **story,
        "temperature": 0,
        "top_k": 9,
        "min_p": 0.1,
    }


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ("https://play.example", "https://play.example", True),
        ("https://play.example, https://b.example/", "https://b.example", True),
        ("https://play.example", "https://evil.example", False),
        ("https://play.example", "null", False),
        ("", "https://play.example", False),
        ("", None, True),
        ("*", "https://anywhere.example", True),
    ],
)
def test_allows_origins(origins: str, origin: str | None, allowed: bool) -> None:
    assert Settings(origins=origins).allows(origin) is allowed


def test_the_region_is_lambdas_and_has_a_grid() -> None:
    assert Settings.read({"AWS_REGION": "eu-north-1"}).region == "eu-north-1"
    assert Settings.read({"AWS_REGION": "eu-north-1", "OVERTURE_REGION": "eu-west-1"}).region == "eu-west-1"
    with pytest.raises(SettingsError, match="AWS_REGION is 'eu-nowhere-1'"):
        Settings.read({"AWS_REGION": "eu-nowhere-1"})

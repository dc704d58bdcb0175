"""The dashboard through Streamlit's own test driver; skipped, except in CI, without the group `planner`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("streamlit", reason="make .venv/.dashboard installs the group planner")
    pytest.importorskip("altair")

from streamlit.testing.v1 import AppTest

from planner import dashboard
from planner.scenario import Scenario, parse, with_values

pytestmark = pytest.mark.filterwarnings("default")
FILE = str(Path(dashboard.__file__))


def opened(**address: str) -> Any:
    app = AppTest.from_file(FILE, default_timeout=120)
    for name, value in {"model.shape": "1B", "traffic.visits_per_day": "40", **address}.items():
        app.query_params[name] = value
    return app.run()


@pytest.mark.parametrize("page", [page for page in dashboard.PAGES if page != "Break-even"])
def test_every_page_is_drawn(page: str) -> None:
    app = opened()
    app.sidebar.radio(key="page").set_value(page).run()
    assert not app.exception
    assert not app.error


def test_the_scenario_stands_in_the_address() -> None:
    app = opened(**{"place.cap": "7"})
    assert app.sidebar.slider(key="place.cap").value == 7
    app.sidebar.selectbox(key="place.region").set_value("eu-north-1").run()
    assert "eu-north-1" in app.query_params["place.region"]
    assert "eu-north-1" in app.caption[0].value


def test_a_model_that_does_not_fit_is_said_in_a_sentence() -> None:
    app = opened(**{"model.shape": "8B", "model.precision": "16"})
    assert "take a smaller shape" in app.error[0].value


def test_a_word_for_a_number_in_the_address_is_refused() -> None:
    assert "place.cap is 'many' in the address" in opened(**{"place.cap": "many"}).error[0].value


def test_a_scenario_survives_its_yaml() -> None:
    scenario = with_values(Scenario(), {"place.cap": 4, "model.precision": "16", "model.shape": "1B"})
    assert parse(dashboard.as_yaml(scenario)) == scenario

from __future__ import annotations

from pathlib import Path

import pytest

from infra.regions import REGIONS
from infra.settings import SettingError, Settings, refuse_unknown, table
from overture.accounting.grid import GRIDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"start": "warm"}, "start=warm cannot be used: start is cold or snapstart."),
        (
            {"memory": "20000"},
            "memory=20000 cannot be used: memory is a whole number from 512 to 10240 MB "
            "(an account capped at 3008 takes -c memory=3008).",
        ),
        ({"memory": "much"}, "memory=much cannot be used"),
        ({"concurrency": "-1"}, "concurrency=-1 cannot be used: concurrency is a whole number from 0 to 1000."),
        ({"auth": "none"}, "auth=none cannot be used: auth is ticket or cognito."),
        ({"image": "latest"}, "image=latest cannot be used: image is a digest sha256:…"),
        ({"linger": "1.5"}, "linger=1.5 cannot be used"),
        ({"retention": "8"}, "retention=8 cannot be used: retention is one of 1, 3, 5"),
        ({"origins": "example.org"}, "origins=example.org cannot be used: origins is origins such as"),
        ({"email": "me"}, "email=me cannot be used: email is an e-mail address."),
        ({"region": "Frankfurt"}, "region=Frankfurt cannot be used: region is a region such as eu-north-1."),
        ({"domain": "play.example.org"}, "domain=play.example.org needs a certificate: add -c certificate=ARN"),
        ({"certificate": "arn:aws:acm:us-east-1:123456789012:certificate/0a"}, "certificate is set without a domain"),
        ({"bundle": "s3://bucket/8b"}, "bundle=s3://bucket/8b is read by CodeBuild only: add -c build=cloud"),
        ({"weights": "disk"}, "weights=disk cannot be used: weights is image or s3."),
        ({"bundle": "s3://bucket/", "weights": "s3"}, "bundle=s3://bucket/ has no prefix: write it as s3://bucket/pre"),
        ({"stack": "Aws-play", "auth": "cognito"}, "stack=Aws-play cannot have auth=cognito"),
        ({"image": "sha256:" + "0" * 64, "build": "cloud"}, "image and build=cloud exclude each other"),
    ],
)
def test_a_bad_value_is_refused_in_a_sentence(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingError) as refusal:
        Settings.read(given)
    said = str(refusal.value)
    assert said.startswith(sentence)
    assert said.endswith(".")
    assert "\n" not in said


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SettingError, match="memroy is not a setting; there are: stack, region, bundle"):
        refuse_unknown({"memroy": "1024"})
    refuse_unknown({"memory": "1024", "aws:cdk:enable-path-metadata": "true"})


def test_every_region_that_can_be_deployed_to_has_a_grid() -> None:
    assert Settings.read({"region": "eu-west-1"}, region="us-east-1").region == "eu-west-1"
    assert Settings.read({}, region="ap-southeast-7").region == "ap-southeast-7"
    assert set(REGIONS) <= set(GRIDS)


def test_an_empty_value_is_the_default() -> None:
    assert Settings.read({"memory": "", "domain": ""}) == Settings.read({})


def test_the_settings_are_documented_as_they_are() -> None:
    written = (ROOT / "docs" / "settings.md").read_text()
    assert table() in written, "docs/settings.md is out of date: run make docs."

"""AWS's clients: what they read of AWS is what botocore's own reader reads."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import botocore.loaders
import botocore.session
import pytest
from botocore.loaders import JSONFileLoader
from botocore.regions import EndpointResolver

from overture.aws import Descriptions, Service, create_client

DATA = Path(botocore.loaders.__file__).parent / "data"


@pytest.mark.parametrize("service", get_args(Service))
def test_a_service_is_described_as_botocore_describes_it(service: str) -> None:
    described = sorted({path.name.partition(".")[0] for path in DATA.glob(f"{service}/*/service-2.json*")})
    assert described == ["service-2"]
    for folder in (DATA / service).iterdir():
        path = str(folder / "service-2")
        assert Descriptions().load_file(path) == JSONFileLoader().load_file(path)


def test_a_file_that_is_not_there_is_none() -> None:
    assert Descriptions().load_file(str(DATA / "no-such-service")) is None


@pytest.mark.parametrize("host", ["dynamodb", "lambda", "execute-api", "sts"])
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "xx-nowhere-1"])
def test_a_service_is_where_botocore_finds_it(host: str, region: str) -> None:
    ours = EndpointResolver(Descriptions().load_file(str(DATA / "endpoints")))
    theirs = EndpointResolver(JSONFileLoader().load_file(str(DATA / "endpoints")))
    assert ours.construct_endpoint(host, region) == theirs.construct_endpoint(host, region)


@pytest.mark.parametrize("service", get_args(Service))
def test_a_client_is_the_one_that_botocore_makes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv(f"AWS_ENDPOINT_URL_{service.upper()}", raising=False)
    ours = create_client(service, read_timeout=7)
    theirs = botocore.session.Session().create_client(service)
    assert ours.meta.config.read_timeout == 7
    assert ours.meta.endpoint_url == theirs.meta.endpoint_url
    assert ours.meta.region_name == "eu-central-1"
    assert ours.meta.method_to_api_mapping == theirs.meta.method_to_api_mapping
    assert ours.meta.service_model.signing_name == theirs.meta.service_model.signing_name

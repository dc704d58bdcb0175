from __future__ import annotations

import json
import tarfile
from pathlib import Path

import aws_cdk
import pytest

from infra.app import feature_flags


def test_the_feature_flags_are_those_that_this_cdk_recommends() -> None:
    (bundled,) = (Path(aws_cdk.__file__).parent / "_jsii").glob("aws-cdk-lib@*.jsii.tgz")
    with tarfile.open(bundled) as archive:
        file = archive.extractfile("package/recommended-feature-flags.json")
        assert file is not None
        recommended = json.load(file)
    if feature_flags() != recommended:
        pytest.fail(
            "cdk.json's context is not aws-cdk-lib's recommended-feature-flags.json: take it over, see the diff."
        )

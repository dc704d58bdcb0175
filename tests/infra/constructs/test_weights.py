"""`weights=s3`: an image without a model, and a bucket beside the stack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from infra.bundle import model_context
from infra.settings import ROOT, Settings
from tests.infra.conftest import write_manifest
from tests.infra.templates import Synthesized, flat, synthesize

Synth = Callable[..., Synthesized]
FUNCTION = "AWS::Lambda::Function"
VERSION = "AWS::Lambda::Version", "Storyteller"


def weights_template(made: Synthesized) -> Synthesized:
    return Synthesized(json.loads((made.folder / "Overture-Weights.template.json").read_text()), made.folder)


def model_of(made: Synthesized) -> str:
    return flat(made.one(FUNCTION, "StorytellerFunction")["Environment"]["Variables"]["OVERTURE_MODEL"])


def test_the_storyteller_reads_its_bundle_and_nothing_else(synth: Synth, bundle: Path) -> None:
    made = synth(weights="s3", bundle=bundle)
    prefix = hashlib.sha256((bundle / "bundle.json").read_bytes()).hexdigest()
    bucket = "{'Fn::ImportValue': 'Overture-weights-bucket'}"
    assert model_of(made) == f"s3://{bucket}/{prefix}"
    allowed = {action: where for action, where in made.allowed("Storyteller").items() if action.startswith("s3:")}
    assert {action: [flat(one) for one in where] for action, where in allowed.items()} == {
        "s3:GetObject": [f"arn:<AWS::Partition>:s3:::{bucket}/{prefix}/*"]
    }


def test_a_bundle_that_is_on_s3_already_is_read_from_there(synth: Synth) -> None:
    made = synth(weights="s3", bundle="s3://models/llama/8b/")
    assert model_of(made) == "s3://models/llama/8b"
    assert [flat(one) for one in made.allowed("Storyteller")["s3:GetObject"]] == [
        "arn:<AWS::Partition>:s3:::models/llama/8b/*"
    ]
    assert not (made.folder / "Overture-Weights.template.json").exists()


def test_the_bucket_is_private_encrypted_and_goes_with_its_stack(synth: Synth) -> None:
    made = synth(weights="s3")
    assert not made.of("AWS::S3::Bucket").keys() - synth().of("AWS::S3::Bucket").keys()
    weights = weights_template(made)
    bucket = weights.one("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    # Parts of an upload that was broken off are charged for, and no list shows them.
    (cleaning,) = bucket["LifecycleConfiguration"]["Rules"]
    assert cleaning["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert weights.of("AWS::S3::Bucket")[weights.name("AWS::S3::Bucket")]["DeletionPolicy"] == "Delete"
    assert weights.of("Custom::S3AutoDeleteObjects")
    assert any(
        statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in weights.one("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    )
    assert weights.template["Outputs"]["Bucket"]["Export"] == {"Name": "Overture-weights-bucket"}
    tag = {"Key": "overture", "Value": "Overture-us-east-1"}
    assert tag in bucket["Tags"]


def test_the_bucket_is_there_before_what_reads_from_it(synth: Synth) -> None:
    assembly = json.loads((synth(weights="s3").folder / "manifest.json").read_text())
    assert "Overture-Weights" in assembly["artifacts"]["Overture"]["dependencies"]


def test_the_first_step_of_a_deployment_makes_the_bucket_too(synth: Synth) -> None:
    made = synth(weights="s3", image="none")
    assert [one["Type"] for one in made.resources.values()] == ["AWS::ECR::Repository"]
    assert weights_template(made).of("AWS::S3::Bucket")


def test_another_model_is_another_version_but_the_same_image(bundle: Path, tmp_path: Path) -> None:
    def make(name: str) -> tuple[Synthesized, str]:
        (tmp_path / name).mkdir()
        made = synthesize({"weights": "s3", "bundle": str(bundle)}, tmp_path / name)
        (image,) = json.loads((made.folder / "Overture.assets.json").read_text())["dockerImages"]
        return made, image

    first, image = make("first")
    again, same_image = make("again")
    assert (first.name(*VERSION), image) == (again.name(*VERSION), same_image)
    (bundle / "weights-001.safetensors").write_bytes(b"other weights")
    write_manifest(bundle)
    second, still = make("second")
    assert second.name(*VERSION) != first.name(*VERSION)
    assert still == image


def test_the_image_is_built_without_a_model(synth: Synth) -> None:
    made = synth(weights="s3")
    (asset,) = json.loads((made.folder / "Overture.assets.json").read_text())["dockerImages"].values()
    context = Path(asset["source"]["dockerBuildContexts"]["model"])
    assert [one.name for one in context.iterdir()] == ["the-weights-are-on-s3"]
    assert sum(one.stat().st_size for one in context.iterdir()) == 0
    (usual,) = json.loads((synth().folder / "Overture.assets.json").read_text())["dockerImages"].values()
    assert usual["source"]["dockerBuildContexts"]["model"] == str(ROOT / "build/models/storyteller")


def test_a_cloud_build_fetches_no_model(synth: Synth) -> None:
    made = synth(weights="s3", build="cloud", bundle="s3://models/8b")
    spec = json.loads(flat(made.one("AWS::CodeBuild::Project")["Source"]["BuildSpec"]))
    commands = spec["phases"]["build"]["commands"]
    assert commands[:2] == ["mkdir -p model", "touch model/the-weights-are-on-s3"]
    assert "models/8b" not in json.dumps([made.allowed("CloudBuildProject"), commands])


def test_the_place_of_the_model_is_never_empty(tmp_path: Path) -> None:
    """Whether COPY takes an empty folder is up to who builds."""
    assert list(model_context(Settings(weights="s3")).iterdir())

"""`weights=s3`: the checks, the description, the upload, and what `make deploy` and `make destroy` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.bundle import weights_prefix
from infra.deploy import command, stack_state, upload
from infra.deploy.checks import check_address, check_form, check_sizes
from infra.deploy.description import describe
from infra.settings import SettingError, Settings
from tests.infra.deploy.conftest import ROLE, State, client
from tests.infra.templates import Synthesized

Synth = Callable[..., Synthesized]


def test_what_is_no_bundle_is_refused(bundle: Path) -> None:
    (bundle / "bundle.json").unlink()
    settings = Settings(weights="s3", bundle=str(bundle))
    with pytest.raises(SettingError, match=r"weights=s3 reads bundles only, and .* has no bundle.json: pack it"):
        weights_prefix(bundle)
    assert "weights=s3 reads bundles only" in str(check_form(bundle, settings))
    assert check_form(bundle, Settings(bundle=str(bundle))) is None


def test_a_model_need_not_fit_the_image_but_the_memory(bundle: Path) -> None:
    with (bundle / "weights-001.safetensors").open("wb") as file:
        file.truncate(int(9.2 * 1024**3))  # sparse: takes no room
    assert "needs about" in str(check_sizes(bundle, Settings(weights="s3")))
    with (bundle / "weights-001.safetensors").open("wb") as file:
        file.truncate(int(9.0 * 1024**3) - 4096)
    assert check_sizes(bundle, Settings(weights="s3")) is None


def test_what_is_shown_says_where_the_weights_are_and_prices_them_there(synth: Synth, bundle: Path) -> None:
    with (bundle / "weights-001.safetensors").open("wb") as file:
        file.truncate(10**9)
    made = synth(weights="s3")
    own = describe(made.folder, Settings(weights="s3", bundle=str(bundle)))
    assert "The image has no model: the storyteller reads it from the bucket of the stack Overture-Weights" in own
    assert "image in ECR $0.03" in own
    assert "weights in S3 $0.023" in own
    theirs = describe(made.folder, Settings(weights="s3", bundle="s3://models/8b"))
    assert "reads it from s3://models/8b at each start" in theirs
    assert "weights in S3" not in describe(synth().folder, Settings(bundle=str(bundle)))


def test_the_model_is_uploaded_before_anything_reads_it(
    aws: State, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, prefix = Settings(weights="s3", bundle=str(bundle)), weights_prefix(bundle)

    def note(what: str, result: Any) -> Callable[..., Any]:
        def act(*given: Any) -> Any:
            aws.done.append(" ".join([what, *(str(one) for one in given if isinstance(one, str))]))
            return result

        return act

    monkeypatch.setattr(command, "upload", note("upload", 5))
    monkeypatch.setattr(command, "tidy", note("tidy", ["old"]))
    command.deploy(settings, {"weights": "s3"}, client=lambda name: name, yes=True, dry_run=False)
    given = f"weights=s3 {ROLE}"
    bucket = "overture-weights-bucket"
    assert aws.done == [
        f"deploy Overture-Weights --exclusively {given} image=none build=local",
        f"upload {bucket} {prefix} s3",
        f"deploy Overture --exclusively {given} image=none",
        "push",
        f"deploy Overture --exclusively {given} image=sha256:ab",
        "mark live",
        f"tidy {bucket} {prefix} s3",
    ]


def test_nothing_goes_live_when_the_upload_fails(aws: State, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise upload.UploadError("no")

    monkeypatch.setattr(command, "upload", fail)
    settings = Settings(weights="s3", bundle=str(bundle))
    with pytest.raises(upload.UploadError):
        command.deploy(settings, {}, client=lambda name: name, yes=True, dry_run=False)
    assert [one.partition(" --")[0] for one in aws.done] == ["deploy Overture-Weights"]


def test_a_bucket_that_nothing_reads_any_more_goes(aws: State, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.status, aws.weights = "UPDATE_COMPLETE", "CREATE_COMPLETE"
    formation = Formation(aws)
    command.deploy(Settings(), {}, client=lambda _: formation, yes=True, dry_run=False)
    assert aws.done[-2:] == ["mark live", "delete and wait for Overture-Weights"]


class Formation:
    """CloudFormation that deletes."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.asked: list[str] = []

    def delete_stack(self, StackName: str) -> None:
        self.asked.append(StackName)

    def get_waiter(self, name: str) -> Formation:
        assert name == "stack_delete_complete"
        return self

    def wait(self, StackName: str) -> None:
        assert self.asked == [StackName]
        self.state.done.append(f"delete and wait for {StackName}")


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", None])
def test_destroying_deletes_the_weights_after_what_reads_them(
    aws: State, monkeypatch: pytest.MonkeyPatch, status: str | None
) -> None:
    """Also when the first deployment ended between the two stacks."""
    aws.status, aws.weights = status, "CREATE_COMPLETE"
    nothing: dict[str, Any] = {
        "asset_images": [], "asset_files": None, "find_resources": [], "log_role_to_release": None,
    }  # fmt: skip
    for name, found in nothing.items():
        monkeypatch.setattr(stack_state, name, lambda *_, found=found: found)
    formation = Formation(aws)
    command.destroy(Settings(), client=lambda _: formation, yes=True)
    first = ["destroy --force stack=Overture region=us-east-1 image=none"] if status else []
    assert aws.done == [*first, "delete and wait for Overture-Weights"]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        found = boto3.client("s3")
        found.create_bucket(Bucket="weights")
        yield found


def keys(s3: Any) -> list[str]:
    return [one["Key"] for one in s3.list_objects_v2(Bucket="weights").get("Contents", [])]


def test_what_is_there_is_not_uploaded_again_and_the_manifest_comes_last(bundle: Path, s3: Any) -> None:
    sent: list[str] = []
    send = s3.upload_file

    def note(path: str, *rest: Any, **more: Any) -> None:
        sent.append(Path(path).name)
        send(path, *rest, **more)

    s3.upload_file = note
    whole = sum(path.stat().st_size for path in bundle.iterdir())
    assert upload.upload(bundle, "weights", "one", s3) == whole
    assert sorted(sent) == ["bundle.json", "tokenizer.json", "weights-001.safetensors"]
    assert sent[-1] == "bundle.json"
    for path in bundle.iterdir():
        assert s3.get_object(Bucket="weights", Key=f"one/{path.name}")["Body"].read() == path.read_bytes()
    sent.clear()
    assert upload.upload(bundle, "weights", "one", s3) == 0
    # Of the same size, but other bytes; and one that an upload broken off did not get to.
    s3.put_object(Bucket="weights", Key="one/tokenizer.json", Body=b"[]")
    s3.delete_object(Bucket="weights", Key="one/bundle.json")
    upload.upload(bundle, "weights", "one", s3)
    assert sent == ["tokenizer.json", "bundle.json"]


def test_an_upload_that_fails_says_what_to_do(bundle: Path, s3: Any) -> None:
    with pytest.raises(
        upload.UploadError, match=r"could not be uploaded to s3://nowhere/one \(.*run make deploy again"
    ):
        upload.upload(bundle, "nowhere", "one", s3)


def test_old_bundles_go_but_for_the_one_before(s3: Any) -> None:
    # All of one second for moto: the order among those is then by name, which is enough to see that one stays.
    for prefix in ("a", "b", "live", "c"):
        for name in ("bundle.json", "weights-001.safetensors"):
            s3.put_object(Bucket="weights", Key=f"{prefix}/{name}", Body=b"")
    gone = upload.tidy("weights", "live", s3)
    assert len(gone) == 2
    left = {key.partition("/")[0] for key in keys(s3)}
    assert left == {"live", "a", "b", "c"} - set(gone)
    assert upload.tidy("weights", "live", s3) == []


def test_an_address_without_a_bundle_is_refused_before_it_is_deployed(s3: Any) -> None:
    assert "has no bundle.json that you may read" in str(check_address("s3://weights/8b", s3))
    s3.put_object(Bucket="weights", Key="8b/bundle.json", Body=b"{}")
    assert check_address("s3://weights/8b/", s3) is None


def test_a_stack_that_is_gone_is_not_waited_for(aws: State) -> None:
    assert not stack_state.delete_stack(client, "Overture-Weights")


def test_a_refusal_of_s3_is_no_missing_file(bundle: Path) -> None:
    class Refusing:
        def head_object(self, **_: str) -> None:
            raise ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "HeadObject")  # type: ignore[typeddict-item]

    with pytest.raises(upload.UploadError, match="could not be uploaded"):
        upload.upload(bundle, "weights", "one", Refusing())

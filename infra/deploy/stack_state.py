"""What is on AWS already: the stack's state, its image, its reserved concurrency, and what a destroyed stack leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from infra.settings import TAG

Client = Callable[[str], Any]


class Files(NamedTuple):
    """Files in a bucket."""

    bucket: str
    keys: Sequence[str]


#: States in which nothing can be deployed, and what to do about each.
STUCK = {
    "ROLLBACK_COMPLETE": "its first deployment failed and was undone: run make destroy, then make deploy",
    "ROLLBACK_FAILED": "its first deployment failed, and so did undoing it: run make destroy, then make deploy",
    "REVIEW_IN_PROGRESS": "an earlier deployment stopped before it began: run make destroy, then make deploy",
    "DELETE_FAILED": "a resource could not be deleted: the AWS console, CloudFormation, Events, names it; delete it "
    "there and run make destroy again",
    "UPDATE_ROLLBACK_FAILED": "an update could not be undone: in the AWS console, CloudFormation, choose Continue "
    "update rollback, then run make deploy again",
}


def find_status(client: Client, stack: str) -> str | None:
    """CloudFormation's state of the stack; None if there is no such stack."""
    from botocore.exceptions import ClientError

    try:
        return str(client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            return None
        raise


def check_status(client: Client, stack: str) -> str | None:
    """The sentence for a stack that cannot be deployed now."""
    status = find_status(client, stack)
    if status in STUCK:
        return f"The stack {stack} is in state {status}: {STUCK[status]}."
    if status is not None and status.endswith("_IN_PROGRESS"):
        return f"The stack {stack} is being changed ({status}): wait until that has ended, and run make deploy again."
    return None


def find_output(client: Client, stack: str, name: str) -> str | None:
    """A stack's output; None without the stack or the output."""
    if find_status(client, stack) is None:
        return None
    outputs = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    return next((str(one["OutputValue"]) for one in outputs if one["OutputKey"] == name), None)


def find_resources(client: Client, stack: str, kind: str, prefix: str = "") -> list[str]:
    """The physical names of the stack's resources of a type whose logical id begins so."""
    if find_status(client, stack) is None:
        return []
    pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return [
        str(one["PhysicalResourceId"])
        for page in pages
        for one in page["StackResourceSummaries"]
        # A resource that was never made has no physical name.
        if one["ResourceType"] == kind and one["LogicalResourceId"].startswith(prefix) and one.get("PhysicalResourceId")
    ]


def find_resource(client: Client, stack: str, kind: str, prefix: str) -> str | None:
    """The physical name of the one resource of a type whose logical id begins so."""
    return next(iter(find_resources(client, stack, kind, prefix)), None)


def delete_stack(client: Client, stack: str) -> bool:
    """Deletes a stack and waits until it is gone; False if there is none."""
    if find_status(client, stack) is None:
        return False
    cloudformation = client("cloudformation")
    cloudformation.delete_stack(StackName=stack)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack)
    return True


def own_reservation(client: Client, stack: str) -> int:
    """The concurrency that the deployed storyteller has reserved already."""
    function = find_output(client, stack, "StorytellerFunction")
    if function is None:
        return 0
    found = client("lambda").get_function_concurrency(FunctionName=function)
    return int(found.get("ReservedConcurrentExecutions", 0))


def own_log_role(client: Client, stack: str) -> str | None:
    """The name of the stack's role for API Gateway's logs."""
    return find_resource(client, stack, "AWS::IAM::Role", "WebSocketLogRole")


def account_log_role(client: Client) -> str | None:
    """The name of the role that the account's API Gateway writes logs with."""
    arn = client("apigateway").get_account().get("cloudwatchRoleArn")
    return str(arn).rpartition("/")[2] if arn else None


def choose_log_role(client: Client, stack: str) -> str:
    """The setting `api_log_role`: the account's role, if it has one that is not this stack's."""
    account = account_log_role(client)
    return "account" if account and account != own_log_role(client, stack) else "stack"


def log_role_to_release(client: Client, stack: str) -> str | None:
    """The role that API Gateway logs with, if it is this stack's, or of a stack of ours that is gone already."""
    from botocore.exceptions import ClientError

    own = own_log_role(client, stack)
    role = own or account_log_role(client)
    if own or role is None:
        return own
    try:
        tags = client("iam").list_role_tags(RoleName=role)["Tags"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        return None
    return role if any(one["Key"] == TAG for one in tags) else None


def other_stacks(client: Client, tag: str) -> list[str]:
    """The tags of further stacks of ours in the region, by their functions."""
    pages = client("resourcegroupstaggingapi").get_paginator("get_resources")
    found = pages.paginate(TagFilters=[{"Key": TAG}], ResourceTypeFilters=["lambda:function"])
    tags = [one for page in found for resource in page["ResourceTagMappingList"] for one in resource["Tags"]]
    return sorted({str(one["Value"]) for one in tags if one["Key"] == TAG} - {tag})


def release_log_role(client: Client, role: str) -> None:
    """Takes a role of ours out of API Gateway's settings, if it is still there, and deletes it."""
    from botocore.exceptions import ClientError

    if account_log_role(client) == role:
        remove = {"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}
        client("apigateway").update_account(patchOperations=[remove])
    iam = client("iam")
    try:
        for one in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=role, PolicyArn=one["PolicyArn"])
        iam.delete_role(RoleName=role)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise


def mark_live(client: Client, stack: str, tag: str) -> None:
    """Moves the tag of the live image, which never expires, to the image that the alias `live` runs."""
    from botocore.exceptions import ClientError

    function = find_output(client, stack, "StorytellerFunction")
    repository = find_resource(client, stack, "AWS::ECR::Repository", "Images")
    if function is None or repository is None:
        return
    code = client("lambda").get_function(FunctionName=function, Qualifier="live")["Code"]
    name, _, digest = str(code.get("ResolvedImageUri", "")).partition("@")
    if not digest or not name.endswith(f"/{repository}"):
        return  # of a bare `cdk deploy`: the image is in the CDK's repository
    ecr = client("ecr")
    (image,) = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageDigest": digest}])["images"]
    given = {"imageManifest": image["imageManifest"], "imageTag": tag}
    if image.get("imageManifestMediaType"):
        given["imageManifestMediaType"] = image["imageManifestMediaType"]
    try:
        ecr.put_image(repositoryName=repository, **given)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ImageAlreadyExistsException":
            raise


def activate_tag(client: Client, tag: str) -> bool:
    """Lets the budget count by the stack's tag; False where AWS does not list the tag yet, or does not let us."""
    from botocore.exceptions import ClientError

    status = [{"TagKey": tag, "Status": "Active"}]
    try:
        answer = client("ce").update_cost_allocation_tags_status(CostAllocationTagsStatus=status)
    except ClientError:
        return False
    return not answer.get("Errors")


def asset_images(client: Client, stack: str) -> list[tuple[str, str]]:
    """The stack's images in the CDK's own repository, as repository and tag (of a bare `cdk deploy`)."""
    text, name = _read_template(client, stack), r"cdk-\w+-container-assets-\d+-[a-z0-9-]+"
    return list(dict.fromkeys(re.findall(f"({name}):([0-9a-f]{{64}})", text)))


def asset_files(client: Client, stack: str) -> Files | None:
    """The CDK's bucket and the stack's files in it: packages of functions, and the page."""
    text = _read_template(client, stack)
    bucket = re.search(r"cdk-\w+-assets-\d+-[a-z0-9-]+", text)
    keys = sorted(set(re.findall(r"[0-9a-f]{64}\.zip", text)))
    return Files(bucket[0], keys) if bucket and keys else None


def delete_asset_files(client: Client, files: Files) -> None:
    """Deletes files that a stack no longer has.

    Functions run from copies of their own. Another stack with the same files needs them at its next deployment alone,
    which uploads what is missing.
    """
    objects = [{"Key": key} for key in files.keys]
    client("s3").delete_objects(Bucket=files.bucket, Delete={"Objects": objects, "Quiet": True})


def _read_template(client: Client, stack: str) -> str:
    """The deployed template as text, with the account's number in it; empty without the stack."""
    if find_status(client, stack) is None:
        return ""
    template = client("cloudformation").get_template(StackName=stack)["TemplateBody"]
    text = template if isinstance(template, str) else json.dumps(template)
    return text.replace("${AWS::AccountId}", str(client("sts").get_caller_identity()["Account"]))


def delete_log_groups(client: Client, functions: Sequence[str]) -> list[str]:
    """Deletes the log groups that Lambda itself made for functions, and that no stack deletes; returns their names."""
    from botocore.exceptions import ClientError

    deleted = []
    for name in (f"/aws/lambda/{function}" for function in functions):
        try:
            client("logs").delete_log_group(logGroupName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
        else:
            deleted.append(name)
    return deleted

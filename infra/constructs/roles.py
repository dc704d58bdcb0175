"""A log group with a retention and a least-privilege role, for every function of the stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aws_cdk import CfnResource, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.constructs.nag_suppressions import suppress
from infra.settings import Settings

#: The CloudWatch namespace of all functions' metrics.
NAMESPACE = "Overture"
#: Front invokes the storyteller, whose destination invokes Front, which invokes it for the next visitor in line. Lambda
#: takes a chain of more than 16 for a runaway loop and drops the event; `concurrency` and the kill switch limit ours.
RECURSIVE_LOOP = lambda_.RecursiveLoop.ALLOW


class RoleAndLogs(NamedTuple):
    role: iam.Role
    log_group: logs.LogGroup


def service_name(settings: Settings, function: str) -> str:
    """A function's name in metrics, logs and traces.

    It is the one dimension of its metrics: without the stack's name two stacks would count together.
    """
    return f"{settings.stack}-{function}"


def make_log_group(scope: Construct, name: str, settings: Settings) -> logs.LogGroup:
    """A log group that expires its events and is deleted with the stack."""
    group = logs.LogGroup(scope, name, removal_policy=RemovalPolicy.DESTROY)
    resource = group.node.default_child
    assert isinstance(resource, logs.CfnLogGroup)
    resource.retention_in_days = settings.retention  # the L2 property takes an enum, not a number
    return group


def make_role_and_logs(scope: Construct, settings: Settings) -> RoleAndLogs:
    """A log group, and a role that may write to it and to no other.

    AWSLambdaBasicExecutionRole, the CDK's default, may write to every log group of the account.
    """
    log_group = make_log_group(scope, "Logs", settings)
    role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    log_group.grant_write(role)
    suppress(role, "AwsSolutions-IAM5[Resource::*]", "X-Ray's actions cannot be narrowed to a resource.")
    return RoleAndLogs(role, log_group)


def log_bucket_deletion(scope: Construct, settings: Settings) -> None:
    """Gives the CDK's function that empties buckets a log group: Lambda would make one that outlives the stack."""
    provider = Stack.of(scope).node.find_child("Custom::S3AutoDeleteObjectsCustomResourceProvider")
    function = provider.node.find_child("Handler")
    assert isinstance(function, CfnResource)
    group = make_log_group(scope, "DeletionLogs", settings)
    function.add_property_override("LoggingConfig.LogGroup", group.log_group_name)


def allow(role: iam.IRole, actions: Sequence[str], *resources: str) -> None:
    role.add_to_principal_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources)))

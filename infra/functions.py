"""What every function of the stack has: a log group with an end, and a role with nothing to spare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.acknowledged import acknowledge
from infra.settings import Settings

#: Where Powertools puts the metrics of all functions.
NAMESPACE = "Overture"


class Footing(NamedTuple):
    """What a function stands on."""

    role: iam.Role
    log_group: logs.LogGroup


def make_log_group(scope: Construct, name: str, settings: Settings) -> logs.LogGroup:
    """A log group that forgets, and goes with the stack."""
    group = logs.LogGroup(scope, name, removal_policy=RemovalPolicy.DESTROY)
    resource = group.node.default_child
    assert isinstance(resource, logs.CfnLogGroup)
    resource.retention_in_days = settings.retention  # CDK's own property wants a word for each number
    return group


def make_footing(scope: Construct, settings: Settings) -> Footing:
    """A function's log group, and a role that may write to that one and no other.

    AWSLambdaBasicExecutionRole, which CDK gives otherwise, may write to every log group there is.
    """
    log_group = make_log_group(scope, "Logs", settings)
    role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    log_group.grant_write(role)
    acknowledge(role, "AwsSolutions-IAM5[Resource::*]", "X-Ray's actions cannot be narrowed to a resource.")
    return Footing(role, log_group)


def allow(role: iam.IRole, actions: Sequence[str], *resources: str) -> None:
    """Lets a role do that, there."""
    role.add_to_principal_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources)))

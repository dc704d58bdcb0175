"""The DynamoDB table of sessions, leases, tickets and counters."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct


class Database(Construct):
    """One table, billed by use. Every item expires."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        # Another name or type of a key replaces the table, and every session is lost: docs/operations.md, Upgrading.
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.aws_managed_key(),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires",
            # Deleted with the stack; AWS keeps a last backup for 35 days at no charge.
            removal_policy=RemovalPolicy.DESTROY,
        )

    def grant_sessions(self, role: iam.IRole) -> None:
        """Lets a role read and write items, and nothing else of the table."""
        self.table.grant(
            role,
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
        )

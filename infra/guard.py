"""What keeps a bill small: an alarm on GB-seconds that turns the storyteller off, and a budget that warns.

AWS Budgets hears of costs hours late, so it is only asked to write an e-mail. The kill switch acts
on what CloudWatch counted within minutes.
"""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Duration, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.acknowledged import acknowledge_runtime
from infra.functions import allow, make_footing
from infra.settings import Settings

CODE = Path(__file__).resolve().parent / "kill_switch"


class Guard(Construct):
    """The kill switch and the budget."""

    def __init__(self, scope: Construct, name: str, settings: Settings, *, storyteller: lambda_.Function) -> None:
        super().__init__(scope, name)
        footing = make_footing(self, settings)
        self.function = lambda_.Function(
            self,
            "Switch",
            description="Overture: sets the storyteller's reserved concurrency to 0 when the alarm rings",
            code=lambda_.Code.from_asset(str(CODE)),
            handler="handler.lambda_handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            timeout=Duration.seconds(30),
            role=footing.role,
            log_group=footing.log_group,
            environment={"STORYTELLER": storyteller.function_name},
        )
        acknowledge_runtime(self.function)
        allow(footing.role, ["lambda:PutFunctionConcurrency"], storyteller.function_arn)
        gb = settings.memory / 1024
        self.spent = cloudwatch.MathExpression(
            expression=f"{gb:g} * duration / 1000",
            label="GB-seconds",
            period=Duration.days(1),
            using_metrics={"duration": storyteller.metric_duration(statistic="Sum", period=Duration.days(1))},
        )
        # A period of a day slides with the clock: it is the last 24 hours, not since midnight.
        self.alarm = self.spent.create_alarm(
            self,
            "Ceiling",
            alarm_description=(
                f"The storyteller took {settings.ceiling} GB-seconds in 24 hours and is turned off: "
                "docs/operations.md, The kill switch."
            ),
            threshold=settings.ceiling,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        self.alarm.add_alarm_action(actions.LambdaAction(self.function))
        if settings.email:
            self._warn(settings)

    def _warn(self, settings: Settings) -> None:
        subscriber = budgets.CfnBudget.SubscriberProperty(address=settings.email, subscription_type="EMAIL")
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=f"{Stack.of(self).stack_name}-{settings.region}",
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=settings.budget, unit="USD"),
                cost_filters={"Service": ["AWS Lambda", "Amazon API Gateway", "Amazon DynamoDB"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type=kind, comparison_operator="GREATER_THAN", threshold=share
                    ),
                    subscribers=[subscriber],
                )
                for kind, share in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
        )

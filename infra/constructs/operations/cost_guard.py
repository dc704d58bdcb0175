"""Two limits on the bill: a kill switch on GB-seconds, and a budget that warns.

AWS Budgets learns of costs hours late, so it only sends e-mail. The kill switch acts within minutes on two counts:
Lambda's own `Duration`, which is always there but lacks a cold start's init, and the billed duration in each
invocation's report, which includes it.
"""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Duration, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.constructs.nag_suppressions import suppress_runtime
from infra.constructs.roles import NAMESPACE, allow, make_role_and_logs
from infra.regions import WITHOUT_BUDGETS
from infra.settings import TAG, Settings

CODE = Path(__file__).resolve().parent.parent / "kill_switch"


class CostGuard(Construct):
    """The kill switch and the budget."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        storyteller: lambda_.Function,
        storyteller_logs: logs.LogGroup,
    ) -> None:
        super().__init__(scope, name)
        self._settings = settings
        own = make_role_and_logs(self, settings)
        self.function = lambda_.Function(
            self,
            "Switch",
            description="Overture: sets the storyteller's reserved concurrency to 0 when an alarm fires",
            code=lambda_.Code.from_asset(str(CODE)),
            handler="handler.lambda_handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            timeout=Duration.seconds(30),
            role=own.role,
            log_group=own.log_group,
            environment={"STORYTELLER": storyteller.function_name},
        )
        suppress_runtime(self.function)
        allow(own.role, ["lambda:PutFunctionConcurrency"], storyteller.function_arn)
        billed = logs.MetricFilter(
            self,
            "Billed",
            log_group=storyteller_logs,
            # Lambda's own line at the end of each invocation, among the function's JSON lines.
            filter_pattern=logs.FilterPattern.string_value("$.type", "=", "platform.report"),
            metric_namespace=NAMESPACE,
            metric_name=f"BilledMs-{Stack.of(self).stack_name}",
            metric_value="$.record.metrics.billedDurationMs",
        )
        # CloudWatch's period of a day slides with the clock: the last 24 hours, not since midnight.
        day = Duration.days(1)
        self.spent = {
            "billed": self._gb_seconds("billed", billed.metric(statistic="Sum", period=day)),
            "handled": self._gb_seconds("handled", storyteller.metric_duration(statistic="Sum", period=day)),
        }
        self.alarms = [
            self._kill_at("BilledCeiling", self.spent["billed"]),
            self._kill_at("Ceiling", self.spent["handled"]),
        ]
        if settings.email and settings.region not in WITHOUT_BUDGETS:
            self._add_budget(settings)

    def _gb_seconds(self, name: str, milliseconds: cloudwatch.IMetric) -> cloudwatch.MathExpression:
        return cloudwatch.MathExpression(
            expression=f"{self._settings.memory_mb / 1024:g} * {name} / 1000",
            label=f"GB-seconds {name}",
            period=Duration.days(1),
            using_metrics={name: milliseconds},
        )

    def _kill_at(self, name: str, spent: cloudwatch.MathExpression) -> cloudwatch.Alarm:
        alarm = spent.create_alarm(
            self,
            name,
            alarm_description=(
                f"The storyteller took {self._settings.ceiling} GB-seconds in 24 hours and is turned off: "
                "docs/operations.md, The kill switch."
            ),
            threshold=self._settings.ceiling,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.LambdaAction(self.function))
        return alarm

    def _add_budget(self, settings: Settings) -> None:
        subscriber = budgets.CfnBudget.SubscriberProperty(address=settings.email, subscription_type="EMAIL")
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=f"{Stack.of(self).stack_name}-{settings.region}",
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=settings.budget, unit="USD"),
                # This stack alone. `make deploy` activates the tag for cost allocation.
                cost_filters={"TagKeyValue": [f"user:{TAG}${settings.tag}"]},
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

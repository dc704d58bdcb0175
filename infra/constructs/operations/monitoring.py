"""A dashboard of the functions' own metrics (EMF), alarms, and the topic that sends them by e-mail."""

from __future__ import annotations

from collections.abc import Callable

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.constructs.operations.cost_guard import CostGuard
from infra.constructs.roles import NAMESPACE, service_name
from infra.settings import Settings

_FIVE_MINUTES = Duration.minutes(5)
_DAY = Duration.days(1)


class Monitoring(Construct):
    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        front: lambda_.Function,
        ticket: lambda_.Function,
        authorizer: lambda_.Function,
        storyteller: lambda_.Function,
        table: dynamodb.TableV2,
        cost_guard: CostGuard,
    ) -> None:
        super().__init__(scope, name)
        self._settings = settings
        self._functions = {"front": front, "storyteller": storyteller, "ticket": ticket, "authorizer": authorizer}
        self.topic = sns.Topic(self, "Alarms", display_name=f"{settings.stack}: alarms", enforce_ssl=True)
        # `enforce_ssl` writes a topic policy, which replaces SNS's default one: CloudWatch must be allowed again.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if settings.email:
            self.topic.add_subscription(subscriptions.EmailSubscription(settings.email))
        for alarm in cost_guard.alarms:
            self._notify(alarm)
        self._alarm(
            "StorytellerErrors",
            storyteller.metric_errors(period=_FIVE_MINUTES),
            3,
            "The storyteller failed three times in five minutes: docs/operations.md, The storyteller fails.",
        )
        self._alarm(
            "StorytellerThrottled",
            storyteller.metric_throttles(period=_FIVE_MINUTES),
            5,
            "Throttled for a quarter of an hour: docs/operations.md, The storyteller is throttled.",
            # Each event that is tried again counts: a busy minute alone is the waiting line's business.
            periods=3,
        )
        self._alarm(
            "FrontErrors",
            self._failures("front", label="Errors and faults of Front"),
            3,
            "Front failed three times in five minutes: docs/operations.md, Front fails.",
        )
        self._alarm(
            "ConnectErrors",
            self._failures("ticket", "authorizer", label="Errors and faults of the ticket functions"),
            3,
            "No visitor can connect: docs/operations.md, Front fails.",
        )
        self._alarm(
            "DestinationsLost",
            storyteller.metric("DestinationDeliveryFailures", statistic="Sum", period=_FIVE_MINUTES),
            1,
            "Front did not get the record of an invocation: docs/operations.md, The storyteller fails.",
        )
        self._alarm(
            "TableThrottled",
            # Of the whole table: the throttled requests of one operation leave out transactions and queries.
            _sum(
                {
                    name: table.metric(f"{name.capitalize()}ThrottleEvents", statistic="Sum")
                    for name in ("read", "write")
                },
                label="Throttled requests",
            ),
            10,
            "The table throttles requests: docs/operations.md, Front fails.",
        )
        self.dashboard = self._make_dashboard(cost_guard)

    def _alarm(
        self, name: str, metric: cloudwatch.IMetric, threshold: float, description: str, *, periods: int = 1
    ) -> None:
        """Rings when the metric was at the threshold in that many periods, one after the other."""
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=description,
        )
        self._notify(alarm)

    def _failures(self, *services: str, label: str) -> cloudwatch.MathExpression:
        """What Lambda counts as errors, and the faults that a handler caught so as to answer its visitor."""
        found: dict[str, cloudwatch.IMetric] = {}
        for service in services:
            found[f"{service}_errors"] = self._functions[service].metric_errors()
            found[f"{service}_faults"] = self._own("Sum")(service, "Faults")
        return _sum(found, label=label)

    def _own(self, statistic: str) -> Callable[[str, str], cloudwatch.Metric]:
        """Makes metrics that the functions of this stack write themselves, by service and name."""

        def metric(service: str, name: str) -> cloudwatch.Metric:
            return cloudwatch.Metric(
                namespace=NAMESPACE,
                metric_name=name,
                dimensions_map={"service": service_name(self._settings, service)},
                statistic=statistic,
                period=_FIVE_MINUTES,
                label=f"{name} ({statistic})" if statistic != "Sum" else name,
            )

        return metric

    def _notify(self, alarm: cloudwatch.Alarm) -> None:
        alarm.add_alarm_action(actions.SnsAction(self.topic))

    def _make_dashboard(self, cost_guard: CostGuard) -> cloudwatch.Dashboard:
        count, mean = self._own("Sum"), self._own("Average")
        storyteller = self._functions["storyteller"]
        front = self._functions["front"]
        rows: list[list[cloudwatch.IWidget]] = [
            [
                _graph("Visitors", count("front", "Sessions"), count("front", "Resumed"), count("front", "Answers")),
                _graph("Refused", count("ticket", "TicketsRefused"), count("authorizer", "ConnectionsRefused")),
                _graph(
                    "Saved by written answers (tokens)",
                    count("front", "SavedTokens"),
                ),
            ],
            [
                _graph("Replies and tokens", count("storyteller", "Replies"), count("storyteller", "Tokens")),
                _graph(
                    "Time to first token (ms)",
                    mean("storyteller", "TimeToFirstToken"),
                    self._own("p95")("storyteller", "TimeToFirstToken"),
                ),
                _graph(
                    "Storytellers at work",
                    storyteller.metric("ConcurrentExecutions", statistic="Maximum", period=_FIVE_MINUTES),
                    storyteller.metric_throttles(period=_FIVE_MINUTES),
                ),
            ],
            [
                _graph("GB-seconds in 24 hours", *cost_guard.spent.values(), line=self._settings.ceiling),
                _graph("Front (ms)", front.metric_duration(), front.metric_duration(statistic="p95")),
                _graph(
                    "Energy (mWh): used by replies, saved by written answers",
                    count("storyteller", "MilliwattHours"),
                    count("front", "SavedMilliwattHours"),
                ),
                _graph(
                    "Carbon (mg CO2e): of replies, saved by written answers",
                    count("storyteller", "MilligramsCO2e"),
                    count("front", "SavedMilligramsCO2e"),
                ),
                _graph("Wakes spared by written answers", count("front", "WakesSpared")),
            ],
            [
                _by_day("A day: lines told, answered", count("storyteller", "Replies"), count("front", "Answers")),
                _by_day(
                    "A day: share of lines answered without the model",
                    cloudwatch.MathExpression(
                        expression="FILL(answers, 0) / (FILL(answers, 0) + FILL(replies, 0))",
                        label="share",
                        period=_DAY,
                        using_metrics={
                            "answers": count("front", "Answers"),
                            "replies": count("storyteller", "Replies"),
                        },
                    ),
                ),
                _by_day(
                    "A day: energy (mWh)",
                    count("storyteller", "MilliwattHours"),
                    count("front", "SavedMilliwattHours"),
                ),
                _by_day(
                    "A day: carbon (mg CO2e)",
                    count("storyteller", "MilligramsCO2e"),
                    count("front", "SavedMilligramsCO2e"),
                ),
            ],
            [
                _graph(
                    "Errors, and faults that were answered",
                    *(one.metric_errors(label=name) for name, one in self._functions.items()),
                    *(
                        count(name, "Faults").with_(label=f"{name}: faults")
                        for name in ("front", "ticket", "authorizer")
                    ),
                ),
            ],
        ]
        return cloudwatch.Dashboard(
            self, "Dashboard", dashboard_name=f"{self._settings.stack}-{self._settings.region}", widgets=rows
        )


def _sum(metrics: dict[str, cloudwatch.IMetric], *, label: str) -> cloudwatch.MathExpression:
    """A sum that has a value where one of its metrics has one: a failure is only written when there is one."""
    return cloudwatch.MathExpression(
        expression=" + ".join(f"FILL({name}, 0)" for name in metrics),
        label=label,
        period=_FIVE_MINUTES,
        using_metrics=metrics,
    )


def _graph(title: str, *metrics: cloudwatch.IMetric, line: float | None = None) -> cloudwatch.IWidget:
    lines = [] if line is None else [cloudwatch.HorizontalAnnotation(value=line, label="the kill switch")]
    return cloudwatch.GraphWidget(title=title, left=list(metrics), left_annotations=lines, width=8)


def _by_day(title: str, *metrics: cloudwatch.Metric | cloudwatch.MathExpression) -> cloudwatch.IWidget:
    """The sums of each of the last four weeks' days."""
    left: list[cloudwatch.IMetric] = [metric.with_(period=_DAY) for metric in metrics]
    return cloudwatch.GraphWidget(title=title, left=left, period=_DAY, start="-P28D", width=6)

"""`build=cloud`: a CodeBuild project on arm64 builds the image into the stack's repository.

For laptops without Docker, or that cannot push five gigabytes. The build's inputs are uploaded as one small archive; a
model too large for it is read from S3 (`bundle=s3://…`). A custom resource starts the build, and the storyteller's
function waits for it. The build answers CloudFormation with the image's digest; if it ends in any other way,
EventBridge calls the starter, which answers at once.
"""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Aws, CfnResource, CustomResource, Duration, IgnoreMode, Stack
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from infra.bundle import DOCKERFILE, WITHOUT_MODEL, model_key, split_address, world_argument
from infra.constructs.model.images import ignored
from infra.constructs.nag_suppressions import asset_bucket, suppress, suppress_runtime
from infra.constructs.roles import allow, make_log_group, make_role_and_logs
from infra.settings import ROOT, SettingError, Settings

CODE = Path(__file__).resolve().parent.parent / "cloud_build_starter"
#: A bundle larger than this does not go up with the sources.
MOST_UPLOADED = 500 * 1024 * 1024
#: CloudFormation waits for an hour at most, so a build that is late must end before.
_QUEUED, _BUILDING, _ANSWERED = Duration.minutes(10), Duration.minutes(45), Duration.hours(1)


class CloudBuild(Construct):
    """The project and its starter. `image_uri` is known when the build is done, `inputs` at synth already."""

    def __init__(self, scope: Construct, name: str, settings: Settings, *, repository: ecr.Repository) -> None:
        super().__init__(scope, name)
        source = s3_assets.Asset(self, "Source", path=str(ROOT), exclude=ignored(), ignore_mode=IgnoreMode.DOCKER)
        model, fetch = self._model(settings)
        project = codebuild.Project(
            self,
            "Project",
            description="Overture: builds the storyteller's image on arm64",
            environment=codebuild.BuildEnvironment(
                build_image=codebuild.LinuxArmBuildImage.AMAZON_LINUX_2023_STANDARD_3_0,
                compute_type=codebuild.ComputeType.LARGE,
                privileged=True,  # Docker in it
            ),
            source=codebuild.Source.s3(bucket=source.bucket, path=source.s3_object_key),
            timeout=_BUILDING,
            queued_timeout=_QUEUED,
            grant_report_group_permissions=False,
            logging=codebuild.LoggingOptions(
                cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=make_log_group(self, "BuildLogs", settings))
            ),
            build_spec=codebuild.BuildSpec.from_object(
                _buildspec(repository.repository_uri, world_argument(settings), fetch)
            ),
        )
        repository.grant_pull_push(project)
        if isinstance(model, s3_assets.Asset):
            model.grant_read(project)
        elif model is not None:
            bucket, prefix = split_address(model)
            arn = f"arn:{Aws.PARTITION}:s3:::{bucket}"
            project.add_to_role_policy(iam.PolicyStatement(actions=["s3:ListBucket"], resources=[arn]))
            project.add_to_role_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[f"{arn}/{prefix}/*"]))
            suppress(
                project,
                f"AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:s3:::{bucket}/{prefix}/*]",
                "All files of the model, and nothing beside them.",
            )
        self._suppress_findings(project)
        starter = self._starter(settings, project)
        self.inputs = f"{source.asset_hash} {model_key(settings)} {settings.world}"
        build = CustomResource(
            self,
            "Build",
            service_token=starter.function_arn,
            properties={"Project": project.project_name, "Inputs": self.inputs},
        )
        resource = build.node.default_child
        assert isinstance(resource, CfnResource)
        # As a number, which CloudFormation wants; the CDK's own property writes a string.
        resource.add_property_override("ServiceTimeout", _ANSWERED.to_seconds())
        build.node.add_dependency(project)
        self.image_uri = repository.repository_uri_for_digest(build.get_att_string("Digest"))

    def _model(self, settings: Settings) -> tuple[s3_assets.Asset | str | None, str]:
        """Where the model is (None: not in the image), and the command that fetches it."""
        if settings.weights == "s3":
            return None, f"touch model/{WITHOUT_MODEL}"
        folder = settings.bundle_folder
        if folder is None:
            address = settings.bundle.rstrip("/")
            return address, f"aws s3 cp --quiet --recursive {address} model"
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if size > MOST_UPLOADED:
            raise SettingError(
                f"bundle={settings.bundle} has {size >> 20} MB, too much to go up with the sources: "
                "add -c weights=s3, or copy it to S3 once (aws s3 cp --recursive) and name it with "
                "-c bundle=s3://bucket/prefix."
            )
        asset = s3_assets.Asset(self, "Model", path=str(folder))
        return (
            asset,
            f"aws s3 cp --quiet {asset.s3_object_url} model.zip && unzip -q model.zip -d model",
        )

    def _starter(self, settings: Settings, project: codebuild.Project) -> lambda_.Function:
        own = make_role_and_logs(self, settings)
        allow(own.role, ["codebuild:StartBuild"], project.project_arn)
        starter = lambda_.Function(
            self,
            "Starter",
            description="Overture: starts the image's build for CloudFormation",
            code=lambda_.Code.from_asset(str(CODE)),
            handler="handler.lambda_handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            timeout=Duration.seconds(60),
            role=own.role,
            log_group=own.log_group,
        )
        suppress_runtime(starter)
        events.Rule(
            self,
            "Ended",
            description="Overture: tells CloudFormation of a build that ended without an image",
            event_pattern=events.EventPattern(
                source=["aws.codebuild"],
                detail_type=["CodeBuild Build State Change"],
                detail={
                    "project-name": [project.project_name],
                    "build-status": events.Match.anything_but("IN_PROGRESS", "SUCCEEDED"),
                },
            ),
            targets=[targets.LambdaFunction(starter)],
        )
        return starter

    def _suppress_findings(self, project: codebuild.Project) -> None:
        stack = Stack.of(self)
        resource = project.node.default_child
        assert isinstance(resource, codebuild.CfnProject)
        assets = f"arn:aws:s3:::{asset_bucket(stack)}/*"
        logs = f"arn:aws:logs:{stack.region}:<AWS::AccountId>:log-group:/aws/codebuild"
        for rule, reason in {
            "CB4": "The project keeps no artifacts of its own; what it builds goes to ECR, encrypted there.",
            "CB3": "Docker needs privileged mode; the project builds this repository's Dockerfile only.",
            "IAM5[Resource::*]": "A login to ECR is the account's, not a repository's.",
            f"IAM5[Resource::{assets}]": "Sources and model lie in the CDK's bucket, under names that change.",
            f"IAM5[Resource::{logs}/<{stack.get_logical_id(resource)}>:*]": "The project's own log group.",
            **{
                f"IAM5[Action::s3:{action}*]": "Reading, as the CDK grants it."
                for action in ("GetBucket", "GetObject", "List")
            },
        }.items():
            suppress(project, f"AwsSolutions-{rule}", reason)


def _buildspec(repository: str, world: str, fetch: str) -> dict[str, object]:
    host = f"{Aws.ACCOUNT_ID}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}"
    return {
        "version": "0.2",
        "phases": {
            "build": {
                "on-failure": "ABORT",
                "commands": [
                    "mkdir -p model",
                    fetch,
                    f"aws ecr get-login-password | docker login --username AWS --password-stdin {host}",
                    "export TAG=build-$(date +%Y%m%d%H%M%S)",
                    f"docker buildx build --platform linux/arm64 --provenance=false --build-context model=model "
                    f"--build-arg WORLD={world} --file {DOCKERFILE} --tag {repository}:$TAG --push "
                    "--metadata-file built.json .",
                    "python3 infra/constructs/cloud_build_starter/handler.py",
                ],
            },
        },
    }

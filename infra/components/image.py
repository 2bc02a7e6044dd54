"""The service's image: built here, kept in ECR, run by digest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

from infra import config
from infra.components.common import Scope
from infra.content import image_tag

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ImageArgs:
    """Arguments of `Image`.

    Attributes:
        scope: The stack.
        settings: Platform and base image, or which image to run.
        key_arn: KMS key of the repository.
    """

    scope: Scope
    settings: config.Image
    key_arn: pulumi.Input[str]


class Image(pulumi.ComponentResource):
    """An ECR repository and the service's image in it.

    Attributes:
        digest: Reference with digest: what was built is what runs.
        repository_arn: Where tasks pull it from.
    """

    digest: pulumi.Output[str]
    repository_arn: pulumi.Output[str]

    def __init__(self, name: str, args: ImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the repository; build and push unless an image is named."""
        super().__init__("celery-fleet:index:Image", name, None, opts)
        scope, settings, child = args.scope, args.settings, pulumi.ResourceOptions(parent=self)
        repository = aws.ecr.Repository(
            name,
            name=f"{scope.names.prefix}/service",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=[
                aws.ecr.RepositoryEncryptionConfigurationArgs(encryption_type="KMS", kms_key=args.key_arn)
            ],
            force_delete=not scope.protect,
            tags=scope.tags.of(),
            opts=child,
        )
        aws.ecr.LifecyclePolicy(name, repository=repository.name, policy=json.dumps(_LIFECYCLE), opts=child)
        if settings.digest is None:
            self.digest = self._build(name, settings, repository)
        else:
            self.digest = pulumi.Output.concat(repository.repository_url, "@", settings.digest)
        self.repository_arn = repository.arn
        self.register_outputs({"digest": self.digest})

    def _build(self, name: str, settings: config.Image, repository: aws.ecr.Repository) -> pulumi.Output[str]:
        """Build, push, and return the reference with digest."""
        login = aws.ecr.get_authorization_token_output(registry_id=repository.registry_id)
        build = {"BASE": settings.base}
        tag = image_tag(_ROOT, build | {"platform": settings.platform})
        image = docker.Image(
            name,
            image_name=pulumi.Output.concat(repository.repository_url, ":", tag),
            build=docker.DockerBuildArgs(
                # Paths are relative to the repository, so that the state does not name the machine that built.
                context=".",
                dockerfile="service/Dockerfile",
                platform=settings.platform,
                args=build,
            ),
            registry=docker.RegistryArgs(
                server=repository.repository_url,
                username=login.user_name,
                password=pulumi.Output.secret(login.password),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return image.repo_digest


_LIFECYCLE = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "Keep thirty builds to roll back to",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 30},
            "action": {"type": "expire"},
        }
    ]
}

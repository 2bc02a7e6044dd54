"""The command with which a person reaches a port of a task that nobody else reaches."""

from __future__ import annotations

import json


def tunnel(region: str, cluster: str, service: str, port: int) -> str:
    """Return shell commands that forward a local port to the same port inside a task of a service.

    Session Manager's name for a container is `ecs:<cluster>_<task>_<runtime id>`, and a runtime id begins with the id
    of its task; all of them change with every deployment, so that they are looked up. AWS may run containers of its own
    in a task.

    Args:
        region: Where the cluster is.
        cluster: ECS cluster's name.
        service: ECS service's name.
        port: TCP port on the container's loopback address, and here.
    """
    ecs = f"aws ecs --region {region} --output text"
    task = f"{ecs} list-tasks --cluster {cluster} --service-name {service} --query 'taskArns[0]'"
    own = "\"tasks[0].containers[?name=='service'].runtimeId | [0]\""
    container = f"{ecs} describe-tasks --cluster {cluster} --tasks $({task}) --query {own}"
    ports = json.dumps({"portNumber": [str(port)], "localPortNumber": [str(port)]}, separators=(",", ":"))
    return (
        f"id=$({container}) && aws ssm start-session --region {region} --target ecs:{cluster}_${{id%%-*}}_$id "
        f"--document-name AWS-StartPortForwardingSession --parameters '{ports}'"
    )

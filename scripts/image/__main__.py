"""`python -m scripts.image STACK` builds the stack's image, starts a worker of it, and tells its size and speed."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from scripts.image.build import Built, build
from scripts.image.container import Container
from scripts.image.engine import Engine
from scripts.image.errors import ImageError
from scripts.image.local import differences, environment, files, free_port
from scripts.localcluster import LocalCluster, LocalClusterError
from scripts.render import Render, RenderError, render
from scripts.render.services import EcsService, redis_access_string, redis_user_name, services
from service.fleet import DEFAULT_QUEUE

#: Seconds until a worker must be ready, on a slow machine too.
PATIENCE = 300.0
_MB = 1_000_000


def main() -> int:
    """Build, start, measure; 1 means that something failed, and standard error says what."""
    parser = argparse.ArgumentParser(prog="python -m scripts.image", description=__doc__)
    parser.add_argument("stack")
    stack = parser.parse_args().stack
    # Also a request to end leaves no container behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        rendered, engine = render(stack), Engine()
        began = time.monotonic()
        image = build(engine, rendered)
        _show_size(image, time.monotonic() - began)
        _show_start(engine, rendered, image)
    except (ImageError, LocalClusterError, RenderError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _show_size(image: Built, seconds: float) -> None:
    print(f"{image.name}, built in {seconds:.0f} s")
    print(f"{image.size / _MB:8.1f} MB on disk, {image.own_size / _MB:.1f} MB of it above the base:")
    for layer in image.layers[1:]:
        print(f"{layer.size / _MB:8.1f} MB  {layer.made_by[:100]}")


def _show_start(engine: Engine, rendered: Render, image: Built) -> None:
    (service,) = (service for service in services(rendered) if service.queue == DEFAULT_QUEUE)
    cluster = LocalCluster(tls=True, username=redis_user_name(rendered), access_string=redis_access_string(rendered))
    with cluster:
        seconds, cpu = _start(engine, service, image, cluster)
    print(f"{seconds:8.1f} s from the container's start until {service.name} is ready, {cpu:.1f} s of cpu in it")


def _start(engine: Engine, service: EcsService, image: Built, cluster: LocalCluster) -> tuple[float, float]:
    port = free_port()
    values = environment(service, differences(cluster, health_port=port))
    with Container(engine, service, image.name, values, files(cluster)) as container:
        return container.wait_ready(port, PATIENCE), container.cpu_seconds()


if __name__ == "__main__":
    sys.exit(main())

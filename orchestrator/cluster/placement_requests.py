"""Requests for a place on the cluster, kept for the next trial when one gives them up.

Ray Tune asks for a place for every trial that waits, and takes the request back when the trial gets a worker that is
there already: two calls and a scheduling on the cluster a trial, for nothing. Knows Ray's resource managers; does not
know trials.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, final

from ray.air.execution import AcquiredResources, PlacementGroupResourceManager, ResourceManager, ResourceRequest

KEEP_SECONDS = 2.0
"""A request that nobody takes over for so long is given up, so that it holds nothing that others want."""


@final
class RequestPool(ResourceManager):
    """Ray's manager of placement groups, behind a desk that keeps requests which are taken back."""

    def __init__(self) -> None:
        self._manager = PlacementGroupResourceManager()
        self._kept: Counter[ResourceRequest] = Counter()
        self._kept_since: dict[ResourceRequest, float] = {}

    def request_resources(self, resource_request: ResourceRequest) -> None:
        if self._kept[resource_request]:
            self._kept[resource_request] -= 1
        else:
            self._manager.request_resources(resource_request)

    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        self._kept[resource_request] += 1
        self._kept_since[resource_request] = time.monotonic()

    def has_resources_ready(self, resource_request: ResourceRequest) -> bool:
        return bool(self._manager.has_resources_ready(resource_request))

    def acquire_resources(self, resource_request: ResourceRequest) -> AcquiredResources | None:
        return self._manager.acquire_resources(resource_request)

    def free_resources(self, acquired_resource: AcquiredResources) -> None:
        self._manager.free_resources(acquired_resource)

    def get_resource_futures(self) -> list[Any]:
        """Called by Ray Tune before it waits for an event."""
        for resource_request, since in list(self._kept_since.items()):
            if time.monotonic() - since > KEEP_SECONDS:
                del self._kept_since[resource_request]
                for _ in range(self._kept.pop(resource_request, 0)):
                    self._manager.cancel_resource_request(resource_request)
        return list(self._manager.get_resource_futures())

    def update_state(self) -> None:
        self._manager.update_state()

    def clear(self) -> None:
        self._kept.clear()
        self._kept_since.clear()
        self._manager.clear()

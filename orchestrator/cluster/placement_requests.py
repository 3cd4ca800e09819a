"""Reuses cancelled requests for placement groups for the next trials.

Ray Tune requests a placement group for every trial that waits, and cancels the request when the trial gets a worker
that already exists: two calls and one scheduling on the cluster per trial, all wasted. Knows Ray's resource managers;
does not know trials.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, final

from ray.air.execution import AcquiredResources, PlacementGroupResourceManager, ResourceManager, ResourceRequest

KEEP_SECONDS = 2.0
"""A cancelled request that is not reused within this time is given up, because it may hold resources."""


@final
class RequestPool(ResourceManager):
    """Ray's manager of placement groups, except that cancelled requests are kept for reuse for `KEEP_SECONDS`."""

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
        """Return what Ray Tune waits for. Called before each wait, so requests that were kept too long end here."""
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

"""The architectures with which a search begins, before its sampler proposes its own."""

from __future__ import annotations

from orchestrator.config import SamplerSettings
from orchestrator.errors import ConfigError, InputError
from orchestrator.record import CandidatesQueued, find_network
from search_spaces import CellSpace


def queue_candidates(settings: SamplerSettings, space: CellSpace) -> CandidatesQueued:
    """Find the architectures that `sampler.start_with` names, and return the event that queues them.

    Raises:
        ConfigError: a name is not an architecture, or is one that is not in the space.
    """
    params = []
    for name in settings.start_with:
        try:
            architecture = find_network(name).architecture
        except InputError as error:
            raise ConfigError(f"sampler.start_with: {error}") from error
        try:
            params.append(space.encode(architecture))
        except ValueError as error:
            raise ConfigError(f"sampler.start_with has {name!r}, which is not in the space: {error}") from error
    return CandidatesQueued(params=params)

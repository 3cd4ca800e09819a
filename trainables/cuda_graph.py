"""Replays a function as one CUDA graph, so that the host launches one graph instead of a thousand kernels.

Knows torch; does not know what the function computes. On a CPU the function is called as it is.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch

EAGER_CALLS = 3
"""Calls before the capture. They initialise libraries and create what stays, such as the momentum."""


class DeviceStream:
    """The stream of trainings on a GPU, with the memory that the graphs of one share; on a CPU it does nothing.

    A capture is not allowed on the default stream, and a gradient is added on the stream on which its weight was first
    used. So all steps run on one stream of their own, before the capture too.
    """

    def __init__(self, device: torch.device) -> None:
        is_gpu = device.type == "cuda"
        self.stream = _stream_of(device) if is_gpu else None
        self.pool = torch.cuda.graph_pool_handle() if is_gpu else None

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Run a block on the stream, after what the surrounding stream has started, and before what it starts next."""
        if self.stream is None:
            yield
            return
        outer = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(outer)
        with torch.cuda.stream(self.stream):
            yield
        outer.wait_stream(self.stream)


@functools.cache
def _stream_of(device: torch.device) -> torch.cuda.Stream:
    """The one stream of all trainings of a process on a device, because cuBLAS keeps a work space for each stream."""
    return torch.cuda.Stream(device)


class Replayed:
    """A function without arguments or result that reads and writes tensors which stay where they are.

    Args:
        function: what to call; it must not wait for the device, and must do the same in each call.
        stream: the stream on which it is called.
        generators: sources of its random numbers, besides torch's global ones.
        enabled: whether to capture it; otherwise each call is eager.
    """

    failure: str | None = None
    """Why a capture failed; all calls are then eager."""

    def __init__(
        self,
        function: Callable[[], None],
        stream: DeviceStream,
        *,
        generators: tuple[torch.Generator, ...] = (),
        enabled: bool = True,
    ) -> None:
        self._function = function
        self._stream = stream
        self._generators = generators
        self._enabled = enabled and stream.stream is not None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._calls = 0

    @property
    def is_captured(self) -> bool:
        """Whether the next call replays a graph."""
        return self._graph is not None

    def __call__(self) -> None:
        """Call the function, or replay its graph."""
        if self._enabled and self._graph is None and self._calls >= EAGER_CALLS:
            self._capture()
        self._calls += 1
        if self._graph is None:
            self._function()
        else:
            self._graph.replay()

    def forget(self) -> None:
        """Drop the graph, because tensors of the function were replaced; a later call captures it anew."""
        self._graph, self._calls = None, 0

    def _capture(self) -> None:
        """Capture the function, which computes nothing yet. A failure leaves everything as it was."""
        graph = torch.cuda.CUDAGraph()
        try:
            for generator in self._generators:
                graph.register_generator_state(generator)
            # Other threads, such as the writer of checkpoints, may use the device meanwhile.
            with torch.cuda.graph(
                graph, pool=self._stream.pool, stream=self._stream.stream, capture_error_mode="thread_local"
            ):
                self._function()
        except RuntimeError as error:  # includes out of memory: an eager step may need less
            self._enabled = False
            self.failure = " ".join(str(error).split())[:200]
            assert self._stream.stream is not None, "else it is not enabled"
            everyones = torch.cuda.default_generators[self._stream.stream.device_index]
            for generator in (*self._generators, everyones):
                # Without a graph that was ended in order, they wait for its end for ever.
                generator.graphsafe_set_state(generator.clone_state())
            return
        self._graph = graph

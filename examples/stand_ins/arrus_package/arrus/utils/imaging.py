"""The steps of the stand-in's pipeline, after what the maker's do to the samples and to their description."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class Pipeline:
    def __init__(self, steps: Any, placement: str) -> None:
        assert placement == "/GPU:0"
        self._steps = steps

    def prepare(self, metadata: Any) -> Any:
        for step in self._steps:
            metadata = step.prepare(metadata)
        return metadata

    def process(self, data: Any) -> Any:
        for step in self._steps:
            data = step.process(data)
        return data


class RemapToLogicalOrder:
    def prepare(self, metadata: Any) -> Any:
        return metadata

    def process(self, data: Any) -> Any:
        return data


class Lambda:
    def __init__(self, function: Callable[[Any], Any], prepare_func: Callable[[Any], Any]) -> None:
        self.process, self.prepare = function, prepare_func


class Transpose:
    def __init__(self, axes: tuple[int, ...]) -> None:
        self._axes = axes

    def prepare(self, metadata: Any) -> Any:
        return metadata.copy(input_shape=tuple(metadata.input_shape[axis] for axis in self._axes))

    def process(self, data: Any) -> Any:
        return data.transpose(self._axes)


class BandpassFilter(RemapToLogicalOrder):
    """Does nothing: the stand-in's speckle has no other frequencies."""


class QuadratureDemodulation:
    def prepare(self, metadata: Any) -> Any:
        cycles = (
            metadata.context.sequence.pulse.center_frequency / metadata.data_description.sampling_frequency
        )
        self._down = 2 * np.exp(-2j * np.pi * cycles * np.arange(metadata.input_shape[-1]))
        return metadata.copy(is_iq_data=True, dtype="complex64")

    def process(self, data: Any) -> Any:
        return data * self._down


class Decimation:
    def __init__(self, decimation_factor: int, cic_order: int) -> None:
        self._factor, self._order = decimation_factor, cic_order

    def prepare(self, metadata: Any) -> Any:
        fs_hz = metadata.data_description.sampling_frequency / self._factor
        *shape, samples = metadata.input_shape
        return metadata.copy(
            data_desc=SimpleNamespace(sampling_frequency=fs_hz),
            input_shape=(*shape, math.ceil(samples / self._factor)),
        )

    def process(self, data: Any) -> Any:
        for _ in range(self._order):  # moving sums of the last samples
            data = sum(np.roll(data, k, axis=-1) for k in range(self._factor))
        return data[..., :: self._factor]


class RxBeamforming:
    def prepare(self, metadata: Any) -> Any:
        sequence, fs_hz = metadata.context.sequence, metadata.data_description.sampling_frequency
        sequences, lines, channels, samples = metadata.input_shape
        assert channels == 1  # so that an echo of depth z comes after 2 z / c and half the pulse
        f0_hz = sequence.pulse.center_frequency
        self._times_s = np.arange(samples) / fs_hz + sequence.pulse.n_periods / (2 * f0_hz)
        self._at = self._times_s * fs_hz
        self._up = np.exp(2j * np.pi * f0_hz * self._times_s) if metadata.is_iq_data else 1
        return metadata.copy(input_shape=(sequences, lines, samples))

    def process(self, data: Any) -> Any:
        rows = np.arange(data.shape[-1])
        lines = data[0, :, 0]
        return np.stack([np.interp(self._at, rows, line, right=0) for line in lines])[np.newaxis] * self._up

"""A stand-in for the maker's package `arrus`: of its published interface what `examples/arrus_sender.py` uses.

The scanner is speckle under one receiving element, pressed deeper with each sequence. As published, the output of the
pipeline goes to a queue of one, into arrays of the type that the metadata of the last step states.
"""

from __future__ import annotations

import itertools
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Self

import numpy as np

SAMPLING_HZ = 65e6


@dataclass(frozen=True)
class Metadata:
    context: Any
    data_description: Any
    input_shape: tuple[int, ...]
    is_iq_data: bool = False
    dtype: Any = "int16"

    def copy(self, **changes: Any) -> Metadata:
        names = {"data_desc": "data_description"}
        return replace(self, **{names.get(name, name): value for name, value in changes.items()})


class Device:
    def set_hv_voltage(self, voltage: int) -> None:
        assert 0 < voltage < 100


class Session:
    def __init__(self, cfg_path: str) -> None:
        convex = "convex" in cfg_path
        radius = 0.05 if convex else float("nan")
        model = SimpleNamespace(pitch=0.3e-3, curvature_radius=radius, is_convex_array=lambda: convex)
        probe = SimpleNamespace(model=model)
        self._device = SimpleNamespace(
            probe=[probe] if "list" in cfg_path else probe, sampling_frequency=SAMPLING_HZ
        )
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def get_device(self, path: str) -> Device:
        assert path == "/Us4R:0"
        return Device()

    def upload(self, scheme: Any) -> tuple[queue.Queue[Any], Metadata]:
        self._sequence, self._pipeline = scheme.tx_rx_sequence, scheme.processing
        sequence = self._sequence
        first, last = sequence.rx_sample_range
        shape = (1, len(sequence.tx_aperture_center_element), last - first, 1)
        metadata = Metadata(
            context=SimpleNamespace(device=self._device, sequence=sequence, medium=None),
            data_description=SimpleNamespace(sampling_frequency=SAMPLING_HZ / sequence.downsampling_factor),
            input_shape=shape,
        )
        self._input = metadata
        self._out = self._pipeline.prepare(metadata)
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=1)
        return self._queue, self._out

    def start_scheme(self) -> None:
        self._thread = threading.Thread(target=self._acquire)
        self._thread.start()

    def _acquire(self) -> None:
        _, lines, samples, _ = self._input.input_shape
        fs_hz = self._input.data_description.sampling_frequency
        cycles = self._sequence.pulse.center_frequency / fs_hz
        pulse = np.cos(2 * np.pi * cycles * np.arange(-12, 13)) * np.hanning(25)
        noise = np.random.default_rng(0).standard_normal((lines, samples + 200))
        speckle = np.stack([np.convolve(line, pulse, mode="same") for line in noise])
        for k in itertools.count():
            at = np.arange(samples) * (1 + 0.001 * (k % 20))
            pressed = np.stack([np.interp(at, np.arange(samples + 200), line) for line in speckle])
            channels = np.round(2000 * pressed).astype(np.int16)[np.newaxis, :, :, np.newaxis]
            output = np.zeros(self._out.input_shape, self._out.dtype)
            output[:] = self._pipeline.process(channels)
            with suppress(queue.Full):
                self._queue.put_nowait([output])
            if self._ended.wait(0.03):
                return

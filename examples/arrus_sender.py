"""RF or IQ of a us4us scanner to a live server, scan line by scan line.

    python examples/arrus_sender.py us4r.prototxt tcp://127.0.0.1:5555 --voltage 20

Needs the maker's package `arrus`, `cupy`, and `usert` in one Python. Written from the maker's public text,
github.com/us4useu/arrus: `api/python/examples/classical_beamforming.py` (session, sequence),
`api/python/arrus/utils/imaging.py` (steps of a pipeline, and the queue that its output goes to),
`api/python/arrus/metadata.py` and `devices/us4r.py` (what the output is like). Tried on a stand-in of that interface.

Copy it, and put your own sequence in the place of `SEQUENCE`.
"""

import argparse
import math
import queue

import arrus
import numpy as np
from arrus.ops.imaging import LinSequence
from arrus.ops.us4r import Pulse, Scheme
from arrus.utils.imaging import (
    BandpassFilter,
    Decimation,
    Lambda,
    Pipeline,
    QuadratureDemodulation,
    RemapToLogicalOrder,
    RxBeamforming,
    Transpose,
)

from usert.beam_space import half_way_pitch_mm
from usert.frame import Scan
from usert.runtime.clients.frame_sender import FrameSender

SEQUENCE = LinSequence(
    tx_aperture_center_element=np.arange(0, 128),  # one line over each element
    tx_aperture_size=64,
    tx_focus=20e-3,
    pulse=Pulse(center_frequency=6e6, n_periods=2, inverse=False),
    rx_aperture_center_element=np.arange(0, 128),
    rx_aperture_size=64,
    rx_sample_range=(0, 2048),
    downsampling_factor=2,  # 32.5 MHz
    pri=200e-6,
    tgc_start=14,
    tgc_slope=2e2,
    speed_of_sound=1540,
)


def rf_steps():
    """From channel data to beamformed RF, float32 (sequences, lines, samples)."""
    return (
        RemapToLogicalOrder(),
        Transpose(axes=(0, 1, 3, 2)),
        # without this the output would be cut to whole numbers, the type of channel data
        Lambda(lambda data: data.astype("float32"), lambda metadata: metadata.copy(dtype="float32")),
        BandpassFilter(),
        RxBeamforming(),
    )


def iq_steps():
    """The same as IQ, complex64, half as many samples."""
    return (
        RemapToLogicalOrder(),
        Transpose(axes=(0, 1, 3, 2)),
        BandpassFilter(),
        QuadratureDemodulation(),
        Decimation(decimation_factor=2, cic_order=2),
        RxBeamforming(),
    )


def scan_of(metadata):
    """Geometry and frequencies of what the pipeline puts out."""
    context, sequence = metadata.context, metadata.context.sequence
    probe = context.device.probe
    model = (probe[0] if isinstance(probe, (list, tuple)) else probe).model  # a list from 0.12 on
    sound_speed = sequence.speed_of_sound or context.medium.speed_of_sound
    first, second = sequence.tx_aperture_center_element[:2]
    pitch_mm = 1e3 * model.pitch * float(second - first)
    sampled_hz = context.device.sampling_frequency / sequence.downsampling_factor
    first_depth_mm = 1e3 * sound_speed / 2 * sequence.rx_sample_range[0] / sampled_hz
    fs_hz, f0_hz = metadata.data_description.sampling_frequency, sequence.pulse.center_frequency
    radius_mm = line_angle_deg = None
    if model.is_convex_array():
        radius_mm = 1e3 * model.curvature_radius
        line_angle_deg = math.degrees(pitch_mm / radius_mm)
        length_mm = 1e3 * sound_speed / 2 * metadata.input_shape[-1] / fs_hz
        pitch_mm = half_way_pitch_mm(radius_mm, line_angle_deg, first_depth_mm, length_mm)
    return Scan(
        fs_hz=fs_hz,
        f0_hz=f0_hz,
        sound_speed_m_s=sound_speed,
        line_pitch_mm=pitch_mm,
        demodulation_hz=f0_hz if metadata.is_iq_data else None,
        radius_mm=radius_mm,
        line_angle_deg=line_angle_deg,
        first_depth_mm=first_depth_mm,
    )


def samples_of(output, scan):
    """The first sequence of an output as samples by lines.

    The maker's beamformer turns IQ up again, by f0 and the time of each sample, so it is turned down here.
    """
    samples = output[0].T
    if scan.demodulation_hz is not None:
        cycles = scan.f0_hz / scan.fs_hz * np.arange(len(samples))
        samples = samples * np.exp(-2j * np.pi * cycles)[:, np.newaxis]
    return samples


def main():
    parser = argparse.ArgumentParser(
        description="Send RF or IQ of a us4us scanner to usert serve; Ctrl-C ends."
    )
    parser.add_argument("config", help="the maker's session file, such as us4r.prototxt")
    parser.add_argument("publish", help="where usert serve --rf connects, such as tcp://127.0.0.1:5555")
    parser.add_argument(
        "--voltage", type=int, required=True, help="of the transmitter, in V: mind its limits"
    )
    parser.add_argument("--iq", action="store_true", help="IQ instead of RF")
    arguments = parser.parse_args()
    with arrus.Session(arguments.config) as session, FrameSender(arguments.publish, stream="us4us") as sender:
        session.get_device("/Us4R:0").set_hv_voltage(arguments.voltage)
        pipeline = Pipeline(steps=iq_steps() if arguments.iq else rf_steps(), placement="/GPU:0")
        outputs, metadata = session.upload(Scheme(tx_rx_sequence=SEQUENCE, processing=pipeline))
        scan = scan_of(metadata)
        print(
            f"arrus: {scan.kind} on {sender.endpoint}, {metadata.input_shape} at {scan.fs_hz / 1e6:g} MHz",
            flush=True,
        )
        session.start_scheme()
        try:
            while True:
                try:
                    output = outputs.get(timeout=2)[0]
                except queue.Empty:
                    print("arrus: no frame for 2 s", flush=True)
                    continue
                sender.send(samples_of(output, scan), scan)
        except KeyboardInterrupt:
            print(f"arrus: {sender.sent} frames sent, dropped {sender.dropped}")


if __name__ == "__main__":
    main()

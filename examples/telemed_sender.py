"""RF of a Telemed ArtUs to a live server, by the maker's library `usgfw2wrapper.dll`; Windows, Python of 64 bit.

    python telemed_sender.py usgfw2wrapper.dll tcp://127.0.0.1:5555

Written from how the maker's example `ArtUsRF2python.py` calls that library (pcultrasound.com, research files, package
"ArtUs_RFDataControl_for-MATLAB_Python_LabVIEW"). Tried on a stand-in of that interface.

While it runs, typed lines change the scan: `depth 1`, `frequency -1` (steps), `window 5 30 16 111` (mm and lines, from
and to), `freeze`, `run`.
"""

import argparse
import cmath
import ctypes
import math
import queue
import re
import sys
import threading
import time
from contextlib import closing, suppress
from ctypes import byref, c_double, c_float, c_int, c_long, wintypes
from pathlib import Path

import numpy as np

from usert.beam_space import half_way_pitch_mm
from usert.errors import FrameError, OptionError
from usert.frame import Scan
from usert.runtime.clients.frame_sender import FrameSender

OF_RF = ("RF_Data_source_ID", "RF_window_get", "convert_units_to_pixels", "return_RF_data")
SOUND_SPEED_M_S = 1540  # by which the maker's example counts the samples of the window
PICTURE = 512  # pixels of the B-mode picture, each way
POLL_S, LOST_S = 0.003, 5.0


class Fault(Exception):
    """What is wrong with the device, in one line."""


def load(path):
    try:
        library = ctypes.CDLL(str(Path(path).resolve()))
    except OSError as error:
        here = f"{sys.platform}, {8 * ctypes.sizeof(ctypes.c_void_p)} bit"
        raise Fault(f"{error}; {path} needs Windows and Python of 64 bit, here is {here}") from None
    if missing := [name for name in OF_RF if not hasattr(library, name)]:
        raise Fault(f"{path} is not the library with RF: it has no {missing[0]}")
    return library


def ask(function, kinds, *given):
    """The numbers that a function of the library writes to its last arguments."""
    out = [kind() for kind in kinds]
    function(*given, *map(byref, out))
    return [number.value for number in out]


class ArtUs:
    """The device: `read` is polled between `open` and `close`."""

    def __init__(self, library, options):
        self.library, self.options = library, options

    def open(self):
        self.frozen, self._layout, self._last = False, None, np.zeros(0, np.int16)
        library = self.library
        library.on_init()
        if library.init_ultrasound_usgfw2() == 2:
            raise Fault("the maker's Usgfw2 is not installed")
        if (found := library.find_connected_probe()) != 101:
            raise Fault(f"no probe: find_connected_probe gave {found}, expected 101")
        if (made := library.data_view_function()) < 0:
            raise Fault(f"the probe cannot scan: data_view_function gave {made}")
        if (made := library.mixer_control_function(0, 0, PICTURE, PICTURE, 0, 0, 0)) < 0:
            raise Fault(f"no B-mode picture: mixer_control_function gave {made}")
        library.set_callback_scan_converter()
        library.frequency_control()
        library.depth_control()
        library.scan_type_control()
        library.turn_on_scan_type(0)  # B Standard: neither compounded nor widened
        if ask(library.RF_window_get, [c_long] * 5)[1] == 0:
            library.RF_data_controls()
        library.RF_Data_source_ID(1)  # output of the beamformer
        self._hz, _ = self._step("frequency", 0)
        (depth,), (first, last) = self._step("depth", 0), ask(library.RF_lines_get, [c_long] * 2)
        part = (last - first) // 4  # the middle half, as in the maker's example
        middle = (depth // 4, depth * 3 // 4, first + part, last - part)
        library.RF_window_set(*(self.options.window or middle))
        library.set_callback_Sample_Grabber()
        library.Run_ultrasound_scanning()

    def close(self):
        self.library.Freeze_ultrasound_scanning()
        self.library.Close_and_release()

    def _step(self, name, steps):
        if name == "depth":
            return ask(self.library.DepthSetPrevNext, [c_int], steps)
        return ask(self.library.B_FrequencySetPrevNext, [c_int, c_long], steps)

    def command(self, line):
        is_command = re.fullmatch(r"\s*[a-z]+(\s+[+-]?[0-9]{1,6})*\s*", line)
        name, *words = line.split() if is_command else [""]
        numbers = [int(word) for word in words]
        match name, numbers:
            case "freeze", []:
                self.library.Freeze_ultrasound_scanning()
                self.frozen = True
            case "run", []:
                self.library.Run_ultrasound_scanning()
                self.frozen = False
            case "depth" | "frequency", [steps]:
                print(f"telemed: {name} {self._step(name, steps)[0]}", flush=True)
                self._hz, _ = self._step("frequency", 0)
            case "window", [_, _, _, _]:
                self.library.RF_window_set(*numbers)
                *self.options.window, _ = ask(
                    self.library.RF_window_get, [c_long] * 5
                )  # when it is opened again
            case _:
                print(f"telemed: {line.strip()!r} is no command: see the top of this file", flush=True)

    def read(self):
        """The newest frame and its scan, or None where it is not new."""
        layout = self._ask_layout()
        if layout != self._layout:
            self._layout, self._scan = layout, self._scan_of(*layout)
        top, bottom, _, _, lines, period_ns, *_ = layout
        samples = 2_000_000 * (bottom - top) // (SOUND_SPEED_M_S * period_ns)
        frame = np.zeros(samples * lines, np.int16)
        pointer = frame.ctypes.data_as(ctypes.c_void_p)
        ask(self.library.return_RF_data, [c_int, c_double, c_int, c_int], pointer, frame.size)
        # nothing else tells a frame from the last one, also where the window has changed and the frame has not
        both = min(frame.size, self._last.size)
        same = both and np.array_equal(frame[:both], self._last[:both])
        if same or not frame.any() or layout != self._ask_layout():
            return None
        self._last = frame
        return frame.reshape(lines, samples)[:, self.options.skip :].T, self._scan

    def _ask_layout(self):
        """What shape and scan depend on: window (mm, lines), ns a sample, mm a pixel, frequency."""
        (period_ns,) = ask(self.library.get_sampling_period, [c_int])
        window = ask(self.library.RF_window_get, [c_long] * 5)
        return *window, period_ns, *ask(self.library.get_resolution, [c_float] * 2), self._hz

    def _scan_of(self, top, bottom, first, last, lines, period_ns, mm_across, mm_down, hz):
        if bottom <= top or lines < 2 or period_ns <= 0:
            raise Fault(f"no RF: {lines} lines from {top} to {bottom} mm, {period_ns} ns a sample")
        options, mhz = self.options, hz / 1e6
        # a last digit of 1 or 2, as in 5.02, is how the device states harmonic imaging
        if not options.f0_mhz and (hz <= 0 or str(mhz)[-1] in "12"):
            raise Fault(f"f0 is not known: the device states {mhz:g} MHz, harmonic or none; give --f0-mhz")
        pitch_mm, radius_mm, angle_deg = options.line_pitch_mm, options.radius_mm, options.line_angle_deg
        if pitch_mm is None and angle_deg is None:  # from the lines' places in the picture
            ends, places = [], self.library.convert_units_to_pixels
            for line in (first, last):
                x1, y1, x2, y2 = ask(places, [c_float] * 4, line, 0, top, bottom)
                ends.append((complex(x1 * mm_across, y1 * mm_down), complex(x2 * mm_across, y2 * mm_down)))
            down, last_down = (end - start for start, end in ends)
            across, turn = ends[1][0] - ends[0][0], abs(cmath.phase(last_down / down))
            if any(abs(abs(line) / (bottom - top) - 1) > 0.03 for line in (down, last_down)):
                raise Fault("the picture's scale is not that of the window: give --line-pitch-mm")
            if turn > math.radians(1):
                angle_deg = math.degrees(turn) / (lines - 1)
                radius_mm = abs(across) / (2 * math.sin(turn / 2)) - top
            elif abs((down.conjugate() * across).real) > 0.03 * abs(down * across):
                raise Fault("the lines are steered: set the steering angle to 0")
            else:
                pitch_mm = abs(across) / (lines - 1)
        if angle_deg is not None:
            pitch_mm = half_way_pitch_mm(radius_mm, angle_deg, top, bottom - top)
        scan = Scan(
            fs_hz=1e9 / period_ns,
            f0_hz=1e6 * options.f0_mhz or hz,
            sound_speed_m_s=SOUND_SPEED_M_S,
            line_pitch_mm=pitch_mm,
            radius_mm=radius_mm,
            line_angle_deg=angle_deg,
            first_depth_mm=top + options.skip * SOUND_SPEED_M_S * period_ns * 0.5e-6,
        )
        shape = f"line pitch {pitch_mm:.3g} mm"
        if angle_deg is not None:
            shape = f"radius {radius_mm:.3g} mm, {angle_deg:.3g} degrees a line"
        rates = f"{scan.fs_hz / 1e6:g} MHz, f0 {scan.f0_hz / 1e6:g} MHz"
        print(f"telemed: {top} to {bottom} mm, lines {first} to {last}, {rates}, {shape}", flush=True)
        return scan


def handle_window_messages():
    """As a program with a window does in its loop: the library's picture is one."""
    if sys.platform == "win32":
        user32, message = ctypes.windll.user32, wintypes.MSG()
        while user32.PeekMessageW(byref(message), None, 0, 0, 1):
            user32.TranslateMessage(byref(message))
            user32.DispatchMessageW(byref(message))


def open_again(device):
    while True:
        device.close()
        try:
            return device.open()
        except Fault as fault:
            print(f"telemed: {fault}; trying again", flush=True)
            time.sleep(2)


def run(device, sender, typed):
    device.open()
    seen_s = time.monotonic()
    while True:
        handle_window_messages()
        with suppress(queue.Empty):
            device.command(typed.get(timeout=POLL_S))
        if (frame := device.read()) is not None:
            sender.send(*frame)
            seen_s = time.monotonic()
        elif device.frozen:
            seen_s = time.monotonic()
        elif time.monotonic() - seen_s > LOST_S:
            print(f"telemed: no new frame for {LOST_S:g} s, the device is opened again", flush=True)
            open_again(device)
            seen_s = time.monotonic()


def main():
    parser = argparse.ArgumentParser(description="Send RF of a Telemed ArtUs to usert serve; Ctrl-C ends.")
    parser.add_argument("library", help="the maker's usgfw2wrapper.dll, of the package with RF")
    parser.add_argument("publish", help="where usert serve --rf connects, such as tcp://127.0.0.1:5555")
    ends = ("FROM_MM", "TO_MM", "FIRST", "LAST")
    parser.add_argument("--window", type=int, nargs=4, metavar=ends, help="depths and lines with RF")
    parser.add_argument("--skip", type=int, default=3, help="samples before the echoes of each line")
    parser.add_argument("--f0-mhz", type=float, default=0, help="where the device's frequency is not it")
    parser.add_argument("--line-pitch-mm", type=float, help="where the picture does not tell it")
    parser.add_argument("--radius-mm", type=float, help="of a convex probe, instead of --line-pitch-mm")
    parser.add_argument("--line-angle-deg", type=float, help="between its lines")
    options = parser.parse_args()
    if (options.radius_mm is None) != (options.line_angle_deg is None):
        parser.error("--radius-mm and --line-angle-deg go together")
    typed = queue.SimpleQueue()
    threading.Thread(target=lambda: [typed.put(line) for line in sys.stdin], daemon=True).start()
    try:
        device = ArtUs(load(options.library), options)
        with FrameSender(options.publish, stream="telemed") as sender, closing(device):
            try:
                print(f"telemed: rf on {sender.endpoint}; Ctrl-C ends", flush=True)
                run(device, sender, typed)
            except KeyboardInterrupt:
                print(f"telemed: {sender.sent} frames sent, dropped {sender.dropped}")
    except (Fault, FrameError, OptionError) as error:
        sys.exit(f"telemed: {error}")


if __name__ == "__main__":
    main()

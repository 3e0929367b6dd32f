"""3D Slicer module: strain of `usert bridge igtl` over B-mode, without what must not be read, and its age.

One file: add its folder in 3D Slicer under Edit, Application Settings, Modules, Additional module paths, and start 3D
Slicer again; the module is under IGT, and needs the extension SlicerOpenIGTLink. It runs in 3D Slicer's own Python,
from 3.9 on, and needs nothing of usert.

What decides what is shown is in the functions before the classes. They know no 3D Slicer, and are tested without it
(`tests/runtime/bridges/test_slicer_module.py`); of the classes the logic has been run in 3D Slicer's core
(`without_slicer.py`), the panel nowhere. Not a medical device.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

try:
    import ctk
    import qt
    import slicer
    import vtk
    from slicer.ScriptedLoadableModule import (
        ScriptedLoadableModule,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleWidget,
    )
except ImportError:  # outside of 3D Slicer
    ctk = qt = slicer = vtk = None
    ScriptedLoadableModule = ScriptedLoadableModuleLogic = ScriptedLoadableModuleWidget = object

BLANK_PERCENT = -100.0
"""Strain that the bridge sends for a pixel that must not be read, unless it was told another."""
LEAST_PERCENT = -50.0
"""Strain of tissue is above this: what is not is blank, and transparent."""
STALE_MS = 500.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class View:
    """What the slice views show."""

    text: str
    """A line in the corner of the views."""
    drawn: bool
    """Whether strain is drawn at all."""
    coloured: bool
    """Whether it is drawn in colours; in grey it is of the past."""


def status_of(text: str | None) -> dict:
    """The fields of the text in the device `usert_status`; none for text that is not such a status."""
    try:
        fields = json.loads(text or "")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) and isinstance(fields.get("state"), str) else {}


def clock_id() -> str:
    """Name of this machine's monotonic clock, by the rule of usert; empty where processes share no such name."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def age_of(status: dict, arrived_ns: int, now_ns: int, clock: str) -> tuple[float, bool] | None:
    """Age of the newest image in ms, and whether it is exact; else it is a lower bound. None without an image.

    The bridge sends the age that the image had when it was read, beside that moment by the monotonic clock of its
    machine. Where 3D Slicer reads that clock, too, what has passed since is added; where it does not, what has passed
    since the status arrived here, which lacks the way from the bridge. Wall clocks are not compared.

    `arrived_ns` and `now_ns` are of the monotonic clock here, whose name is `clock`.
    """
    if "age_ms" not in status:
        return None
    read_ns = status.get("age_read_ns", 0)
    same = bool(clock) and status.get("age_clock") == clock and 0 < read_ns <= now_ns
    since_ns = now_ns - (read_ns if same else arrived_ns)
    return status["age_ms"] + since_ns / 1e6, same and bool(status.get("age_exact"))


def masked(strain: np.ndarray, quality: np.ndarray, least_quality: float) -> np.ndarray | None:
    """Strain in percent, blank where its quality is less than `least_quality`, or it is blank or no number already.

    None where the two are not of one shape: one of them is of another image.
    """
    if strain.shape != quality.shape:
        return None
    readable = (quality >= least_quality) & (strain > LEAST_PERCENT) & np.isfinite(strain)
    return np.where(readable, strain, BLANK_PERCENT).astype(np.float32)


def what_to_show(status: dict, age: tuple[float, bool] | None, connected: bool, stale_ms: float) -> View:
    """What the views show of the newest image, `age` being its age by now."""
    if age is None:
        return View("strain: waiting for images" if connected else "strain: NOT CONNECTED", False, False)
    ms, exact = age
    said = ("" if exact else ">") + (f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1e3:.0f} s")
    if not connected:
        return View(f"strain: NOT CONNECTED, image {said} old", True, False)
    if ms > stale_ms or status["state"] == "stale":
        return View(f"strain: STALE, image {said} old", True, False)
    reason = f" ({status['reason']})" if status.get("reason") else ""
    if status["state"] not in ("live", "held"):
        return View(f"strain: {status['state']}{reason}, {said}", False, False)
    return View(f"strain: {status['state']}{reason}, {said}", True, True)


def colours(coloured: bool) -> np.ndarray:
    """256 colours (256, 3) from 0 to 1: blue over white to red, or dark over white to dark grey."""
    ends = [(0.13, 0.4, 0.67), (0.7, 0.09, 0.17)] if coloured else [(0.35, 0.35, 0.35)] * 2
    at = np.linspace(-1, 1, 256)[:, np.newaxis]
    return 1 - np.abs(at) * (1 - np.where(at < 0, ends[0], ends[1]))


class UsertStrain(ScriptedLoadableModule):
    """The module, as 3D Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Usert strain"
        parent.categories = ["IGT"]
        parent.contributors = ["usert"]
        parent.helpText = "Strain of `usert bridge igtl` over B-mode. Not a medical device. For research."


class UsertStrainLogic(ScriptedLoadableModuleLogic):
    """Receives the devices of one bridge, and shows them."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.prefix = "usert"
        self.stale_ms = STALE_MS
        self.least_quality = 0.0
        self.range_percent = 2.0
        self.opacity = 0.6
        self.status = {}
        self._arrived_ns = 0
        self._connector = self._shown = self._observed = self._layers = self._drawn = None
        self._tables = {}

    @property
    def connected(self):
        return (
            self._connector is not None
            and self._connector.GetState() == slicer.vtkMRMLIGTLConnectorNode.StateConnected
        )

    def connect(self, host, port):
        """Connect to the bridge, and again whenever it comes back."""
        self.disconnect()
        self._connector = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLIGTLConnectorNode", "usert bridge")
        self._connector.SetTypeClient(host, port)
        self._connector.Start()

    def disconnect(self):
        if self._connector is not None:
            self._connector.Stop()
            slicer.mrmlScene.RemoveNode(self._connector)
        if self._observed is not None:
            self._observed[0].RemoveObserver(self._observed[1])
        self._connector = self._observed = None

    def tick(self):
        """Look for the devices, and show the age by now. Returns the line that the views show."""
        if self._shown is not None and self._shown.GetScene() is None:  # the scene was closed
            self._shown = self._layers = self._drawn = None
            self._tables = {}
        node = self._device("status")
        if node is not None and (self._observed is None or self._observed[0] is not node):
            self._observed = node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._take)
            self._take()
        return self._show()

    def _device(self, name):
        return slicer.mrmlScene.GetFirstNodeByName(f"{self.prefix}_{name}")

    def _take(self, caller=None, event=None):
        """The status is the last message of an image: what it tells of is here."""
        self.status = status_of(self._device("status").GetText())
        self._arrived_ns = time.monotonic_ns()
        strain, quality = self._device("strain"), self._device("quality")
        if self.status.get("state") in ("live", "held") and strain is not None and quality is not None:
            least = max(self.least_quality, self.status.get("readable_quality", 0.0))
            values = masked(slicer.util.arrayFromVolume(strain), slicer.util.arrayFromVolume(quality), least)
            if values is not None:
                self._draw(values, strain)
        self._show()

    def _draw(self, values, strain):
        if self._shown is None:
            self._shown = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Usert strain shown")
            self._shown.CreateDefaultDisplayNodes()
        matrix = vtk.vtkMatrix4x4()
        strain.GetIJKToRASMatrix(matrix)
        self._shown.SetIJKToRASMatrix(matrix)
        slicer.util.updateVolumeFromArray(self._shown, values)

    def _show(self):
        age = age_of(self.status, self._arrived_ns, time.monotonic_ns(), clock_id())
        view = what_to_show(self.status, age, self.connected, self.stale_ms)
        if self._shown is not None:
            self._display(view)
        for name in slicer.app.layoutManager().sliceViewNames():
            slice_view = slicer.app.layoutManager().sliceWidget(name).sliceView()
            slice_view.cornerAnnotation().SetText(vtk.vtkCornerAnnotation.UpperRight, view.text)
            slice_view.scheduleRender()
        return view.text

    def _display(self, view):
        bmode = self._device("bmode")
        layers = bmode.GetID() if bmode is not None else "keep-current"
        if layers != self._layers:
            slicer.util.setSliceViewerLayers(background=layers, foreground=self._shown, fit=True)
            self._layers = layers
        drawn = view.coloured, self.range_percent, self.opacity * view.drawn
        if drawn == self._drawn:
            return
        display = self._shown.GetDisplayNode()
        display.SetAndObserveColorNodeID(self._table(view.coloured).GetID())
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(-self.range_percent, self.range_percent)
        display.SetThreshold(LEAST_PERCENT, -LEAST_PERCENT)
        display.ApplyThresholdOn()
        slicer.util.setSliceViewerLayers(foregroundOpacity=self.opacity * view.drawn)
        self._drawn = drawn

    def _table(self, coloured):
        if coloured not in self._tables:
            name = "Usert strain" if coloured else "Usert strain of the past"
            table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
            table.SetTypeToUser()
            table.SetNumberOfColors(256)
            for entry, (red, green, blue) in enumerate(colours(coloured)):
                table.SetColor(entry, str(entry), red, green, blue, 1.0)
            self._tables[coloured] = table
        return self._tables[coloured]


class UsertStrainWidget(ScriptedLoadableModuleWidget):
    """The panel of the module."""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = UsertStrainLogic()
        form = qt.QFormLayout()
        self.layout.addLayout(form)
        self.line = qt.QLabel("not connected")
        if not hasattr(slicer, "vtkMRMLIGTLConnectorNode"):
            self.line.text = "Install the extension SlicerOpenIGTLink, and start 3D Slicer again."
            form.addRow(self.line)
            return
        self.host = qt.QLineEdit("127.0.0.1")
        self.port = qt.QSpinBox()
        self.port.maximum = 65535
        self.port.value = 18944
        self.button = qt.QPushButton("Connect")
        self.button.checkable = True
        self.button.toggled.connect(self.onConnect)
        for name, widget in (("Host", self.host), ("Port", self.port), ("", self.button), ("", self.line)):
            form.addRow(name, widget)
        for label, attribute, least, most, step in (
            ("Least quality", "least_quality", 0.0, 1.0, 0.01),
            ("Range, ± percent", "range_percent", 0.1, 10.0, 0.1),
            ("Opacity", "opacity", 0.0, 1.0, 0.05),
            ("Stale from, ms", "stale_ms", 50.0, 5000.0, 50.0),
        ):
            slider = ctk.ctkSliderWidget()
            slider.minimum, slider.maximum, slider.singleStep = least, most, step
            slider.value = getattr(self.logic, attribute)
            slider.valueChanged.connect(lambda value, name=attribute: setattr(self.logic, name, value))
            form.addRow(label, slider)
        self.layout.addStretch(1)
        self.timer = qt.QTimer()
        self.timer.setInterval(100)
        self.timer.timeout.connect(self.onTick)

    def onConnect(self, on):
        if on:
            self.logic.connect(self.host.text, self.port.value)
            self.timer.start()
        else:
            self.logic.disconnect()
            self.onTick()
            self.timer.stop()

    def onTick(self):
        self.line.text = self.logic.tick()

    def cleanup(self):
        if hasattr(self, "timer"):
            self.timer.stop()
            self.logic.disconnect()

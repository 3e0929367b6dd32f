"""The module for 3D Slicer without 3D Slicer: its functions, on what a real bridge sends; its classes on a stand-in.

3D Slicer itself was not run. The stand-in holds nodes by name and notes calls, and knows nothing of how they are drawn.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from igtl_ends import heard, pyigtl_client
from live import Feed, running, wait_until
from tiny_bundle import QUALITY, STRAIN

from usert.runtime.bridges.igtl_bridge import BridgeConfig, IgtlBridge
from usert.runtime.bridges.igtl_devices import BLANK_PERCENT
from usert.runtime.protocol import age
from usert.runtime.server.server import StrainServer

FILE = Path(__file__).parents[3] / "examples" / "slicer" / "UsertStrain.py"
SHAPE = (1, 3, 2)
STATUS = {"state": "live", "age_ms": 40.0, "age_exact": True, "age_clock": "boot", "age_read_ns": 10**9}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file, loaded as 3D Slicer loads it, under its own name."""
    spec = importlib.util.spec_from_file_location("UsertStrain", FILE)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "UsertStrain", loaded)
    spec.loader.exec_module(loaded)
    return loaded


def test_it_is_written_for_the_python_of_slicer_and_imports_nothing_of_usert() -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        )
    }
    slicers = {"ctk", "qt", "slicer", "slicer.ScriptedLoadableModule", "vtk"}
    assert imported - slicers == {"__future__", "dataclasses", "json", "numpy", "pathlib", "time"}


def test_what_is_no_status_has_no_fields(module: ModuleType) -> None:
    for text in (None, "", "{", "[]", '{"age_ms": 3}', '{"state": 3}'):
        assert module.status_of(text) == {}
    assert module.status_of('{"state": "stale"}') == {"state": "stale"}


def test_the_age_counts_by_the_clock_of_the_bridge_where_it_is_ours(module: ModuleType) -> None:
    at = 10**9 + 30_000_000
    assert module.age_of(STATUS, at, at + 5_000_000, "boot") == (75.0, True)
    assert module.age_of(STATUS | {"age_exact": False}, at, at, "boot") == (70.0, False)


@pytest.mark.parametrize(
    ("changes", "clock"),
    [
        ({}, "another"),
        ({}, ""),
        ({"age_clock": ""}, ""),
        ({"age_read_ns": 10**12}, "boot"),
        ({"age_read_ns": 0}, "boot"),
    ],
)
def test_else_from_the_arrival_on_and_is_a_lower_bound(module: ModuleType, changes: Any, clock: str) -> None:
    at = 10**9 + 30_000_000
    assert module.age_of(STATUS | changes, at, at + 5_000_000, clock) == (45.0, False)


def test_without_an_image_there_is_no_age(module: ModuleType) -> None:
    assert module.age_of({"state": "stale"}, 0, 10**9, "boot") is None
    assert module.age_of({}, 0, 10**9, "boot") is None


def test_pixels_of_too_little_quality_are_blank(module: ModuleType) -> None:
    strain = np.array([[[1, 2], [BLANK_PERCENT, np.nan], [-3, np.inf]]], np.float32)
    quality = np.array([[[0.9, 0.4], [1, 1], [0.5, 1]]], np.float32)
    shown = module.masked(strain, quality, 0.5)
    assert shown.dtype == np.float32
    blank = module.BLANK_PERCENT
    np.testing.assert_array_equal(shown, [[[1, blank], [blank, blank], [-3, blank]]])
    assert blank == BLANK_PERCENT
    assert shown.max() > module.LEAST_PERCENT > blank  # a threshold between them hides what is blank
    assert module.masked(strain, quality[:, :2], 0.5) is None


@pytest.mark.parametrize(
    ("status", "known", "connected", "text", "drawn", "coloured"),
    [
        ({}, None, False, "strain: NOT CONNECTED", False, False),
        ({"state": "stale"}, None, True, "strain: waiting for images", False, False),
        ({"state": "live"}, (63.4, True), True, "strain: live, 63 ms", True, True),
        ({"state": "live"}, (63.4, False), True, "strain: live, >63 ms", True, True),
        (
            {"state": "held", "reason": "quality"},
            (300.0, True),
            True,
            "strain: held (quality), 300 ms",
            True,
            True,
        ),
        ({"state": "idle", "reason": ""}, (20.0, True), True, "strain: idle, 20 ms", False, False),
        ({"state": "live"}, (501.0, False), True, "strain: STALE, image >501 ms old", True, False),
        ({"state": "stale"}, (90.0, True), True, "strain: STALE, image 90 ms old", True, False),
        ({"state": "live"}, (75_400.0, False), False, "strain: NOT CONNECTED, image >75 s old", True, False),
    ],
)
def test_what_is_shown(
    module: ModuleType, status: Any, known: Any, connected: bool, text: str, drawn: bool, coloured: bool
) -> None:
    view = module.what_to_show(status, known, connected, 500.0)
    assert (view.text, view.drawn, view.coloured) == (text, drawn, coloured)


def test_colours_go_both_ways_and_those_of_the_past_are_grey(module: ModuleType) -> None:
    table, grey = module.colours(True), module.colours(False)
    assert table.shape == grey.shape == (256, 3)
    assert 0 <= min(table.min(), grey.min()) <= max(table.max(), grey.max()) <= 1
    assert table[0, 2] > table[0, 0]  # blue
    assert table[-1, 0] > table[-1, 2]  # red
    assert table[127].min() > 0.99
    assert np.ptp(grey, axis=1).max() == 0


def test_on_what_a_real_bridge_sends(module: ModuleType, feed: Feed, server: StrainServer) -> None:
    """On one machine the age is exact, and not less than what the bridge said."""
    assert module.clock_id() in (age.clock_id(), "")
    bridge = IgtlBridge(BridgeConfig(strain=server.publish_endpoint, port=0, stale_ms=60_000.0))
    with running(bridge), pyigtl_client(bridge.broadcaster.port) as client:
        wait_until(lambda: bridge.broadcaster.served == 1)
        feed.prime()
        sent = feed.next()
        status: dict[str, Any] = {}
        while status.get("sequence") != sent.frame.sequence:
            status = module.status_of(heard(client, "usert_status").string)
        arrived_ns = time.monotonic_ns()
        strain, quality = (heard(client, f"usert_{name}").image for name in ("strain", "quality"))
    ms, exact = module.age_of(status, arrived_ns, time.monotonic_ns(), module.clock_id())
    assert exact is bool(module.clock_id())
    assert ms >= status["age_ms"]
    assert module.what_to_show(status, (ms, exact), True, 60_000.0).coloured
    shown = module.masked(strain, quality, status["readable_quality"])
    np.testing.assert_array_equal(shown, np.full_like(strain, np.float32(100 * STRAIN)))
    assert (module.masked(strain, quality, QUALITY + 0.01) == BLANK_PERCENT).all()


class Scene:
    """Nodes by name."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}

    def AddNewNodeByClass(self, kind: str, name: str) -> Any:
        self.nodes[name] = MagicMock(kind=kind)
        return self.nodes[name]

    def GetFirstNodeByName(self, name: str) -> Any:
        return self.nodes.get(name)

    def RemoveNode(self, node: Any) -> None:
        self.nodes = {name: other for name, other in self.nodes.items() if other is not node}


@pytest.fixture
def slicer(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in of what the module uses."""
    stand_in = MagicMock(mrmlScene=Scene(), vtkMRMLIGTLConnectorNode=SimpleNamespace(StateConnected=2))
    stand_in.util.arrayFromVolume = lambda node: node.array
    stand_in.util.updateVolumeFromArray = lambda node, array: setattr(node, "array", array)
    stand_in.app.layoutManager().sliceViewNames.return_value = ["Red"]
    monkeypatch.setattr(module, "slicer", stand_in)
    for name in ("vtk", "qt", "ctk"):
        monkeypatch.setattr(module, name, MagicMock())
    return stand_in


def arrive(slicer: Any, status: dict[str, Any], percent: float = 1.0) -> None:
    """What OpenIGTLinkIF does with an image and its status."""
    nodes = slicer.mrmlScene.nodes
    for name, array in (
        ("strain", np.full(SHAPE, percent)),
        ("quality", np.linspace(0, 1, 6).reshape(SHAPE)),
    ):
        nodes.setdefault(f"usert_{name}", MagicMock()).array = array
    nodes.setdefault("usert_status", MagicMock()).GetText.return_value = json.dumps(status)


def test_the_classes_show_it_grey_it_and_let_go_of_it(module: ModuleType, slicer: Any) -> None:
    nodes = slicer.mrmlScene.nodes
    logic = module.UsertStrainLogic()
    logic.connect("127.0.0.1", 18944)
    connector = nodes["usert bridge"]
    connector.SetTypeClient.assert_called_once_with("127.0.0.1", 18944)
    connector.GetState.return_value = 2
    assert logic.tick() == "strain: waiting for images"
    logic.least_quality = 0.5
    fresh = STATUS | {
        "age_clock": module.clock_id(),
        "age_read_ns": time.monotonic_ns(),
        "readable_quality": 0.1,
    }
    logic.stale_ms = 1e9
    arrive(slicer, fresh)
    assert logic.tick().startswith("strain: live, ")
    shown = nodes["Usert strain shown"]
    np.testing.assert_array_equal(shown.array.ravel(), [BLANK_PERCENT] * 3 + [1] * 3)
    assert "Usert strain" in nodes
    assert "Usert strain of the past" not in nodes
    event = nodes["usert_status"].AddObserver.call_args.args[1]
    arrive(
        slicer, fresh | {"state": "stale"}, BLANK_PERCENT
    )  # the bridge blanks it: the last one stays, in grey
    event()
    assert shown.array.max() == 1
    assert "STALE" in logic.tick()
    grey = nodes["Usert strain of the past"]
    display = shown.GetDisplayNode()
    display.SetAndObserveColorNodeID.assert_called_with(grey.GetID())
    connector.GetState.return_value = 1
    assert "NOT CONNECTED" in logic.tick()
    logic.disconnect()
    connector.Stop.assert_called_once_with()
    assert connector not in slicer.mrmlScene.nodes.values()
    nodes["usert_status"].RemoveObserver.assert_called_once()


def test_the_panel_connects_and_without_the_extension_says_so(module: ModuleType, slicer: Any) -> None:
    widget = module.UsertStrainWidget.__new__(module.UsertStrainWidget)
    widget.layout = MagicMock()
    module.ScriptedLoadableModuleWidget = MagicMock()
    widget.setup()
    widget.host.text, widget.port.value = "10.0.0.7", 18945
    widget.onConnect(True)
    connector = slicer.mrmlScene.nodes["usert bridge"]
    connector.SetTypeClient.assert_called_once_with("10.0.0.7", 18945)
    connector.GetState.return_value = 2
    widget.onTick()
    assert widget.line.text == "strain: waiting for images"
    widget.onConnect(False)
    assert widget.line.text == "strain: NOT CONNECTED"
    widget.cleanup()
    del slicer.vtkMRMLIGTLConnectorNode
    widget.setup()
    assert "SlicerOpenIGTLink" in widget.line.text

"""The module `UsertStrain.py` in the core of 3D Slicer, without its window: what an axial view shows, as a PNG.

    pip install slicer-core pyigtl
    python examples/slicer/without_slicer.py shown.png [--port 18944] [--seconds 10] [--stale-ms 500]

Scene, volumes, colours, slice view and `slicer.util` are 3D Slicer's own (PyPI's `slicer-core`). What stands for
SlicerOpenIGTLink is `Connector`, by pyigtl; the panel is not run.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import slicer
import vtk
from pyigtl import OpenIGTLinkClient

DEVICES = "usert_strain", "usert_quality", "usert_bmode", "usert_status"
SIZE = 480, 480


class Connector:
    """Receives the devices of a bridge into nodes of their names, as SlicerOpenIGTLink does."""

    StateConnected = 2

    def __init__(self, host: str, port: int) -> None:
        self._client = OpenIGTLinkClient(host, port)

    def GetState(self) -> int:
        return self.StateConnected if self._client.is_connected() else 1

    def receive(self) -> None:
        """Take what has come, the status last: the module reads the others when it changes."""
        came = {message.device_name: message for message in self._client.get_latest_messages()}
        for name in (name for name in DEVICES if name in came):
            message = came[name]
            kind = "vtkMRMLTextNode" if name == "usert_status" else "vtkMRMLScalarVolumeNode"
            node = slicer.mrmlScene.GetFirstNodeByName(name) or slicer.mrmlScene.AddNewNodeByClass(kind, name)
            if name == "usert_status":
                node.SetText(message.string)
                continue
            node.CreateDefaultDisplayNodes()
            slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(message.image))
            matrix = vtk.vtkMatrix4x4()
            matrix.DeepCopy(message.ijk_to_world_matrix.ravel())
            node.SetIJKToRASMatrix(matrix)


def axial_view() -> slicer.vtkMRMLSliceLogic:
    """The logic of the one slice view of a new scene, which becomes 3D Slicer's."""
    slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(slicer.mrmlScene)
    slicer.colours = slicer.vtkMRMLColorLogic()  # kept: its tables go with it
    slicer.colours.SetMRMLScene(slicer.mrmlScene)
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    node = logic.AddSliceNode("Red")
    node.SetOrientation("Axial")
    node.SetDimensions(*SIZE, 1)
    return logic


def module(connector: Connector, logic: slicer.vtkMRMLSliceLogic) -> ModuleType:
    """`UsertStrain.py`, with stand-ins for the window and for what draws the panel."""
    annotation = vtk.vtkCornerAnnotation()
    view = SimpleNamespace(cornerAnnotation=lambda: annotation, scheduleRender=lambda: None)
    logics = vtk.vtkCollection()
    logics.AddItem(logic)
    layout = SimpleNamespace(
        sliceViewNames=lambda: ["Red"],
        sliceWidget=lambda name: SimpleNamespace(sliceView=lambda: view),
        mrmlSliceLogics=lambda: logics,
    )
    slicer.app = SimpleNamespace(layoutManager=lambda: layout)
    slicer.vtkMRMLIGTLConnectorNode = type(connector)
    names = "ScriptedLoadableModule", "ScriptedLoadableModuleLogic", "ScriptedLoadableModuleWidget"
    sys.modules["slicer.ScriptedLoadableModule"] = SimpleNamespace(**dict.fromkeys(names, object))  # type: ignore[assignment]
    sys.modules["qt"] = sys.modules["ctk"] = MagicMock()
    sys.path.insert(0, str(Path(__file__).parent))
    return importlib.import_module("UsertStrain")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("picture", help="the PNG to write")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=18944)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--stale-ms", type=float, default=500)
    options = parser.parse_args()
    view = axial_view()
    connector = Connector(options.host, options.port)
    logic = module(connector, view).UsertStrainLogic()
    logic._connector, logic.stale_ms = connector, options.stale_ms
    line, end = "", time.monotonic() + options.seconds
    while time.monotonic() < end:
        connector.receive()
        if (told := logic.tick()) != line:
            line = told
            print(line, flush=True)
        time.sleep(0.05)
    view.GetSliceNode().UpdateMatrices()
    view.UpdatePipeline()
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(options.picture)
    shown = view.GetImageDataConnection()
    shown.GetProducer().Update()
    writer.SetInputConnection(shown)
    writer.Write()


if __name__ == "__main__":
    main()

"""The configuration files for PLUS are whole, and their images are read by the words that the page gives.

PLUS itself was not run on them.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from pyigtl.messages import ImageMessage

from usert.formats.plus import Orientation
from usert.runtime.bridges.igtl_frames import FrameReader, ImageReading

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "examples" / "plus").glob("*.xml"))
PAGE = (ROOT / "docs" / "openigtlink.md").read_text(encoding="utf-8")
COMMAND = re.search(r"^usert bridge igtl-rf .*--device .*$", PAGE, re.M)
MOST_NAME = 20
"""Characters of a device name in OpenIGTLink's header."""


def only(tree: Any, path: str) -> Any:
    (found,) = tree.findall(path)
    return found


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_the_table_of_the_page_names_all_files_and_no_others() -> None:
    assert set(re.findall(r"^\| `(\S+\.xml)` \|", PAGE, re.M)) == {file.name for file in FILES}
    assert len(FILES) > 3


def test_what_a_file_refers_to_is_there(path: Path) -> None:
    tree = ElementTree.parse(path)
    sources = {source.get("Id"): source for source in tree.iter("DataSource")}
    channels = {channel.get("Id"): channel.get("VideoDataSourceId") for channel in tree.iter("OutputChannel")}
    assert channels.keys() and set(channels.values()) <= sources.keys()  # noqa: PT018
    source = sources[channels[only(tree, "PlusOpenIGTLinkServer").get("OutputChannelId")]]
    assert (source.get("Type"), source.get("PortName")) == ("Video", "Rf")
    assert Orientation.parse(source.get("PortUsImageOrientation", "")) is not None
    assert [message.get("Type") for message in tree.iter("Message")] == ["IMAGE"]


def test_a_file_says_that_it_was_not_tried_and_where_it_is_from(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    comment = text[: text.index("-->")]
    assert "NOT TRIED" in comment
    assert "src/PlusDataCollection/" in comment
    assert "Change:" in comment


def test_device_and_port_are_those_of_the_command(path: Path) -> None:
    tree = ElementTree.parse(path)
    image = only(tree, ".//Image")
    name = f"{image.get('Name')}_{image.get('EmbeddedTransformToFrame')}"
    assert len(name) <= MOST_NAME
    assert COMMAND is not None
    words = shlex.split(COMMAND[0])
    assert words[words.index("--device") + 1] == name
    port = only(tree, "PlusOpenIGTLinkServer").get("ListeningPort")
    assert words[words.index("--receive") + 1] == f"127.0.0.1:{port}"


def test_an_image_with_its_spacing_is_read_by_the_words_of_the_page(path: Path) -> None:
    tree = ElementTree.parse(path)
    image, transform = only(tree, ".//Image"), only(tree, "CoordinateDefinitions/Transform")
    assert transform.get("From") == image.get("Name")
    assert transform.get("To") == image.get("EmbeddedTransformToFrame")
    matrix = np.array(transform.get("Matrix").split(), float).reshape(4, 4)
    row = re.search(rf"^\| `{path.name}` \|.*\| `(.*)` \|$", PAGE, re.M)
    assert row is not None
    words = shlex.split(row[1])
    given = {word.strip("-"): value for word, value in zip(words[::2], words[1::2], strict=True)}
    assert given.keys() <= {"orientation", "kind"}
    reading = ImageReading(f0_hz=5e6, **given)  # type: ignore[arg-type]
    scan_lines = np.arange(6 * 40, dtype=np.int32).reshape(6, 40)  # a row a scan line, as PLUS sends them
    samples, scan = FrameReader(reading).read(ImageMessage(scan_lines[np.newaxis], matrix))
    pairs = 1 + (reading.kind == "rf-lines")
    np.testing.assert_array_equal(samples, scan_lines[::pairs].T)
    assert scan.axial_pitch_mm == pytest.approx(matrix[0, 0], rel=1e-6)
    assert scan.line_pitch_mm == pytest.approx(pairs * matrix[1, 1], rel=1e-6)

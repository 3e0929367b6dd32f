"""`--fan`: what a person writes is the geometry that `usert.beam_space` reads."""

from __future__ import annotations

import math

import pytest

from usert.beam_space import BeamSpace
from usert.commands.fan_option import Fan, parse_fan
from usert.errors import OptionError
from usert.frame import Scan


@pytest.mark.parametrize("text", ["", "60", "60:", "-1:50", "60:180", "60:0", "501:50", "a:b", "60:50:40"])
def test_what_is_no_fan_is_one_line(text: str) -> None:
    with pytest.raises(OptionError, match=r"^--fan: got "):
        parse_fan(text)


def test_from_the_first_line_to_the_last(scan: Scan) -> None:
    assert parse_fan(" 0:90.0 ") == Fan(0, 90)
    space = BeamSpace.of(parse_fan("60:58").over(scan, 128), (400, 128))
    for line, side in ((0, -1), (127, 1)):
        z, x = space.place_mm(0, line)
        assert math.degrees(math.atan2(x, 60 + z)) == pytest.approx(29 * side)
    assert parse_fan("0:15").over(scan, 1).line_angle_deg == 15

"""Blocks and the grid between: beside torch's pooling and resizing, and on a straight line."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional

from usert.network.grids import block_mean, box_mean, box_min, interpolated


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("rows", "lines"), [(1, 1), (8, 1), (1, 4), (2, 2), (32, 16)])
def test_block_mean_is_average_pooling(batch: int, rows: int, lines: int) -> None:
    image = torch.randn(batch, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block_mean(image, rows, lines), functional.avg_pool2d(image, (rows, lines)))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("rows", "lines"), [(1, 1), (9, 3), (5, 5), (1, 7), (15, 1)])
def test_box_mean_is_average_pooling_with_nothing_outside(channels: int, rows: int, lines: int) -> None:
    image = torch.randn(2, channels, 24, 19, generator=torch.Generator().manual_seed(2))
    expected = functional.avg_pool2d(image, (rows, lines), 1, (rows // 2, lines // 2))
    torch.testing.assert_close(box_mean(image, rows, lines), expected)


@pytest.mark.parametrize("size", range(1, 26, 2))
def test_box_min_is_the_least_of_the_points_that_there_are(size: int) -> None:
    image = torch.randn(2, 2, 33, 29, generator=torch.Generator().manual_seed(3))
    for rows, lines in ((size, 1), (1, size), (size, 5)):
        expected = -functional.max_pool2d(-image, (rows, lines), 1, (rows // 2, lines // 2))
        assert torch.equal(box_min(image, rows, lines), expected)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("factor", [1, 2, 3, 8])
@pytest.mark.parametrize(("dim", "sides"), [(2, (0, 0, 1, 1)), (3, (1, 1, 0, 0))])
def test_interpolation_is_bilinear_resizing(
    batch: int, factor: int, dim: int, sides: tuple[int, ...]
) -> None:
    field = torch.randn(batch, 2, 5, 7, generator=torch.Generator().manual_seed(1))
    factors = (float(factor), 1.0) if dim == 2 else (1.0, float(factor))
    expected = functional.interpolate(field, scale_factor=factors, mode="bilinear", align_corners=False)
    longer = functional.pad(field, sides, mode="replicate")
    torch.testing.assert_close(interpolated(longer, factor, dim), expected)


@pytest.mark.parametrize("factor", [2, 5, 8])
def test_a_straight_line_stays_one(factor: int) -> None:
    points = torch.arange(-1.0, 5.0)[None, None, :, None]
    samples = interpolated(points, factor, 2)
    torch.testing.assert_close(samples[0, 0].diff(dim=0), torch.full((4 * factor - 1, 1), 1 / factor))
    torch.testing.assert_close(block_mean(samples, factor), points[:, :, 1:-1])

"""The graph's strain and quality are those of the core, and any frame shape comes back as it went in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from usert.export.graph import QUALITY_WINDOW, LocalCorrelation, Strain, StrainGraph
from usert.network.liteflownet import LiteFlowNet
from usert.quality import local_ncc
from usert.strain import axial_strain


@pytest.mark.parametrize("rows", [96, 150, 192])
def test_strain_is_that_of_the_core(rows: int) -> None:
    rng = np.random.default_rng(0)
    padded = -(-rows // 32) * 32
    displacement = rng.standard_normal((padded, 7)).cumsum(axis=0).astype(np.float32)
    got = Strain(65)(torch.from_numpy(displacement)[None, None], rows)[0, 0].numpy()
    np.testing.assert_allclose(got, axial_strain(displacement[:rows], 65), atol=2e-6)


def test_quality_is_the_correlation_of_the_core() -> None:
    rng = np.random.default_rng(1)
    first = rng.standard_normal((128, 24)).astype(np.float32)
    second = (first + 0.5 * rng.standard_normal((128, 24))).astype(np.float32)
    correlation = LocalCorrelation(QUALITY_WINDOW)
    a, b = (torch.from_numpy(frame)[None, None] for frame in (first, second))
    got = correlation(a, b, torch.ones(128, 1), torch.ones(1, 24))[0, 0].numpy()
    np.testing.assert_allclose(got, local_ncc(first, second, window=QUALITY_WINDOW), atol=1e-4)


def test_identical_frames_have_quality_1_and_silence_0() -> None:
    correlation = LocalCorrelation(QUALITY_WINDOW)
    noise = torch.randn(1, 1, 96, 16)
    everywhere = torch.ones(96, 1), torch.ones(1, 16)
    torch.testing.assert_close(correlation(noise, noise, *everywhere), torch.ones_like(noise))
    assert float(correlation(noise, torch.zeros_like(noise), *everywhere).max()) == 0.0


@pytest.mark.parametrize("shape", [(96, 32), (77, 45)])
def test_any_shape_comes_back(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    graph = StrainGraph(LiteFlowNet(finest=3), strain_window=33).eval()
    frame = torch.randint(-3000, 3000, shape, dtype=torch.int16)
    with torch.inference_mode():
        displacement, strain, quality = graph(frame, frame)
    assert displacement.shape == (2, *shape)
    assert strain.shape == quality.shape == shape
    assert all(torch.isfinite(part).all() for part in (displacement, strain, quality))


def test_frames_without_signal_give_finite_output_of_no_quality() -> None:
    graph = StrainGraph(LiteFlowNet(finest=4), strain_window=33).eval()
    flat = torch.full((64, 32), 1000, dtype=torch.int16)
    with torch.inference_mode():
        displacement, strain, quality = graph(flat, flat)
    assert torch.isfinite(displacement).all()
    assert torch.isfinite(strain).all()
    assert float(quality.max()) == 0.0


def test_an_even_strain_window_is_refused() -> None:
    with pytest.raises(ValueError, match="got 64"):
        StrainGraph(LiteFlowNet(finest=4), strain_window=64)


def test_a_masked_corner_has_no_quality() -> None:
    """A scanner fills what it does not show with zeros, and with a mean that is not zero they are an offset."""
    rng = np.random.default_rng(4)
    frame = (1000 * rng.standard_normal((192, 96)) + 20).astype(np.int16)
    frame[96:, 48:] = 0
    graph = StrainGraph(LiteFlowNet(finest=4), strain_window=33).eval()
    with torch.inference_mode():
        quality = graph(torch.from_numpy(frame), torch.from_numpy(frame))[2]
    assert float(quality[170:, 60:].max()) < 0.1
    assert float(quality[:60, :40].median()) > 0.5

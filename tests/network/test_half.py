"""Half precision where it may be, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from usert.bundle import Bundle, default_bundle_path
from usert.network.half import in_half
from usert.network.liteflownet import LiteFlowNet
from usert.network.weights import load_weights

CARRIES_FLOW = ("upsample_flow", "scale_x", "scale_y", "window")


@pytest.fixture(scope="module")
def network() -> LiteFlowNet:
    default = Bundle.load(default_bundle_path(), verify=False)
    return load_weights(default.folder / default.manifest.weights.file, finest=3).eval()


def test_what_carries_flow_stays_float32_and_the_rest_is_the_stored_weights(network: LiteFlowNet) -> None:
    half = in_half(network)
    for (name, weight), whole in zip(half.named_parameters(), network.parameters(), strict=True):
        carries = any(part in name for part in CARRIES_FLOW)
        assert weight.dtype == (torch.float32 if carries else torch.float16), name
        assert torch.equal(weight.float(), whole), name
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("batch", [1, 2])
def test_the_flow_is_float32_and_hardly_another(network: LiteFlowNet, batch: int) -> None:
    """Far from the origin float16 itself steps by .03 samples: a flow in it would show."""
    rng = torch.Generator().manual_seed(0)
    first = torch.randn(batch, 3, 128, 64, generator=rng)
    second = torch.roll(first, 40, dims=2) + 0.02 * torch.randn(first.shape, generator=rng)
    with torch.inference_mode():
        whole, half = network(first, second), in_half(network)(first, second)
    assert half.dtype == torch.float32
    assert (half - whole).square().mean().sqrt() < 0.02
    assert not torch.equal(half, half.half().float())


def test_without_normalised_features_too() -> None:
    torch.manual_seed(0)
    network = LiteFlowNet(finest=4, normalise_features=False).eval()
    first, second = torch.randn(2, 1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.isfinite(in_half(network)(first, second)).all()

"""Checkpointing: the same values and gradients from less."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from usert.network import checkpoint
from usert.network.checkpoint import Checkpointing, Fine, in_strips, recomputed
from usert.network.liteflownet import LiteFlowNet

MODES: tuple[Checkpointing, ...] = ("blocks", "fine")


@pytest.fixture(autouse=True)
def low_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips so low that small frames have several at levels 2 to 4."""
    monkeypatch.setitem(checkpoint.PLANS, "fine", Fine(rows=8))


def network(*, finest: int = 2, normalise: bool = True) -> LiteFlowNet:
    """Random weights that give flows of some pixels."""
    torch.manual_seed(0)
    made = LiteFlowNet(finest=finest, normalise_features=normalise)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith(("matching.head.6.weight", "subpixel.head.6.weight")):
                parameter.mul_(10)
            elif name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1)  # a bias that padding does not have shows at strips' edges
    return made


def frames(batch: int = 1, shape: tuple[int, int] = (64, 64)) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, batch, 3, *shape, generator=torch.Generator().manual_seed(1))
    return first, second


def step(net: nn.Module, first: Tensor, second: Tensor, *, bf16: bool = False) -> tuple[Tensor, Tensor]:
    """The forward displacement of a step as in fine-tuning, and all gradients as one vector."""
    net.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        with torch.no_grad():
            backward = net(second, first)
        forward = net(first, second)
    loss = (forward + 0.1 * backward).square().mean() + forward.diff(dim=2).abs().mean()
    loss.backward()
    gradients = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return forward.detach(), torch.cat(gradients)


def apart(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def saved_bytes(function: Callable[[], Tensor]) -> int:
    """Bytes that autograd keeps of `function`, each storage once."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        result = function()
    assert result.requires_grad
    return sum(sizes.values())


CASES = [(1, 2, True), (2, 2, False), (2, 3, True), (2, 6, True), (1, 6, False)]


@pytest.mark.parametrize(("batch", "finest", "normalise"), CASES)
def test_same_displacement_and_gradients(batch: int, finest: int, normalise: bool) -> None:
    net = network(finest=finest, normalise=normalise)
    pair = frames(batch)
    plain, gradients = step(net, *pair)
    assert plain.abs().max() > 0.5
    net.checkpointing = "blocks"
    blocks, of_blocks = step(net, *pair)
    assert torch.equal(blocks, plain)
    assert torch.equal(of_blocks, gradients)
    net.checkpointing = "fine"  # another order of sums; a value at a kink may fall to its other side
    fine, of_fine = step(net, *pair)
    assert apart(fine, plain) < 5e-6
    assert apart(of_fine, gradients) < 1e-3


@pytest.mark.parametrize(("batch", "finest", "normalise"), [(1, 2, True), (2, 3, False)])
def test_fine_is_exact_in_double_precision(
    batch: int, finest: int, normalise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the order of sums does not show: the difference above is rounding, and nothing else."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    net = network(finest=finest, normalise=normalise).double()
    first, second = (one.double() for one in frames(batch))
    plain, gradients = step(net, first, second)
    net.checkpointing = "fine"
    fine, of_fine = step(net, first, second)
    assert fine.dtype == torch.float64
    assert apart(fine, plain) < 1e-12
    assert apart(of_fine, gradients) < 1e-12


def test_same_under_autocast() -> None:
    net = network(finest=3)
    pair = frames()
    exact, of_exact = step(net, *pair)
    plain, gradients = step(net, *pair, bf16=True)
    net.checkpointing = "blocks"
    blocks, of_blocks = step(net, *pair, bf16=True)
    assert torch.equal(blocks, plain)
    assert apart(of_blocks, gradients) < 1e-6
    net.checkpointing = "fine"
    fine, of_fine = step(net, *pair, bf16=True)
    # no further from plain bfloat16 than bfloat16 is from float32
    assert apart(fine, plain) <= apart(plain, exact)
    assert apart(of_fine, gradients) <= apart(gradients, of_exact)


@pytest.mark.parametrize("rows", [1, 5, 8, 64])
@pytest.mark.parametrize("stride", [1, 2])
def test_strips_are_exact(rows: int, stride: int) -> None:
    """In float64, where the order of sums does not show; strips lower than the halo, and uneven ones, too."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 7, padding=3),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Conv2d(8, 4, 3, stride, padding=1),
        nn.LeakyReLU(0.1, inplace=True),
    ).double()
    image = torch.randn(2, 3, 36, 10, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 4, 36 // stride, 10 // stride, dtype=torch.float64)

    def gradients(result: Tensor) -> tuple[Tensor, ...]:
        return result, *torch.autograd.grad((result * weight).sum(), (image, *layers.parameters()))

    plain = gradients(layers(image))
    cut = gradients(in_strips(layers, image, grid=36 // stride, halo=4, rows=rows))
    for a, b in zip(cut, plain, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_too_small_a_halo_shows() -> None:
    """What the test above would miss if it could not see it."""
    layer = nn.Conv2d(1, 1, 7, padding=3)
    image = torch.randn(1, 1, 32, 8)
    with torch.no_grad():
        assert apart(in_strips(layer, image, grid=32, halo=3, rows=8), layer(image)) < 1e-6
        assert apart(in_strips(layer, image, grid=32, halo=2, rows=8), layer(image)) > 1e-3


def test_in_place_activations_do_not_reach_the_inputs() -> None:
    """Level outputs are in-place results that later checkpoints read again."""
    net = network(finest=3)
    pair = frames()
    before = [one.clone() for one in pair]
    for mode in MODES:
        net.checkpointing = mode
        once = step(net, *pair)
        again = step(net, *pair)
        assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(pair, before, strict=True))


def test_an_input_written_over_is_refused() -> None:
    """The safety net: whoever writes into the input of a checkpoint does not get wrong gradients in silence."""
    image = torch.randn(4, requires_grad=True)
    middle = image * 1
    result = recomputed(lambda x: x * x, middle)
    middle.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_saves_a_multiple_less() -> None:
    net = network()
    pair = frames(shape=(192, 64))  # more rows than the halos
    saved = {}
    for mode in ("none", *MODES):
        net.checkpointing = mode
        saved[mode] = saved_bytes(lambda: net.cascade(*pair)[-1][2])
    assert saved["none"] > 5 * saved["blocks"]
    assert saved["none"] > 5 * saved["fine"]


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_checkpointed_in_eval_or_without_gradients(
    mode: Checkpointing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("checkpoint was called")

    net = network(finest=4)
    net.checkpointing = mode
    pair = frames()
    with torch.no_grad():
        plain = network(finest=4)(*pair)
        monkeypatch.setattr(checkpoint, "checkpoint", never)
        assert apart(net(*pair), plain) < 2e-6
        assert torch.equal(net.eval()(*pair), plain)
    net(*pair).sum().backward()  # eval, but with gradients
    with pytest.raises(AssertionError, match="checkpoint was called"):
        net.train()(*pair)


@pytest.mark.parametrize("mode", MODES)
def test_exports_the_plain_graph(mode: Checkpointing) -> None:
    net = network(finest=6).eval()
    pair = frames()
    plain = torch.export.export(net, pair).graph
    net.checkpointing = mode
    assert str(torch.export.export(net, pair).graph) == str(plain)


def test_is_no_part_of_the_weights() -> None:
    net = LiteFlowNet(finest=5, checkpointing="fine")
    other = copy.deepcopy(net)
    other.checkpointing = "none"
    assert net.state_dict().keys() == other.state_dict().keys() == LiteFlowNet(finest=5).state_dict().keys()
    assert LiteFlowNet(finest=5).checkpointing == "none"


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="checkpointing: got 'some', expected one of none, blocks, fine"):
        LiteFlowNet(finest=6, checkpointing="some")  # type: ignore[arg-type]


# the transposed convolutions' gradients, whatever the mode
@pytest.mark.filterwarnings("ignore:Grad strides do not match bucket view strides")
@pytest.mark.parametrize("mode", MODES)
def test_works_in_ddp(mode: Checkpointing) -> None:
    """One process: the hooks are the same, and each parameter must be ready exactly once."""
    net = network(finest=3)
    pair = frames()
    plain, gradients = step(net, *pair)
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        net.checkpointing = mode
        forward, parallel = step(nn.parallel.DistributedDataParallel(net), *pair)
    finally:
        torch.distributed.destroy_process_group()
    assert apart(forward, plain) < 5e-6
    assert apart(parallel, gradients) < 1e-3

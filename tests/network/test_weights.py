"""Weights files: ours, the published ones, and what is neither."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_weights import published
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from usert.errors import WeightsError
from usert.network.liteflownet import LiteFlowNet
from usert.network.weights import load_published, load_weights, published_name, read_info, save_weights

META = {"usert_weights": "1", "finest": "4", "normalise_features": "1", "recipe": "r"}


def small(seed: int = 0) -> LiteFlowNet:
    torch.manual_seed(seed)
    return LiteFlowNet(finest=4)


def parameters(network: LiteFlowNet) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def test_round_trip_in_half_precision(tmp_path: Path) -> None:
    network, path = small(), tmp_path / "weights.safetensors"
    save_weights(network, path, recipe="a recipe in a line")
    info = read_info(path)
    assert (info.finest, info.normalise_features, info.recipe) == (4, True, "a recipe in a line")
    loaded = load_weights(path)
    assert not loaded.training
    assert loaded.finest == 4
    for name, value in parameters(loaded).items():
        assert torch.equal(value, parameters(network)[name].half().float()), name
    with safe_open(path, framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_small_network_has_half_of_the_channels(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(LiteFlowNet(finest=2, size="small"), path, recipe="r")
    network = load_weights(path)
    assert (network.size, read_info(path).size) == ("small", "small")
    halves, full = parameters(network), parameters(LiteFlowNet(finest=2))
    assert halves.keys() == full.keys()
    kept = re.compile(r"head\.6|distance|scale_|upsample")  # flow, taps of R and the cost volume
    for name, value in full.items():
        assert halves[name].shape[0] == value.shape[0] / (1 if kept.search(name) else 2), name


def test_a_size_that_no_network_has(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(parameters(small()), path, {**META, "size": "tiny"})
    with pytest.raises(WeightsError, match="size 'tiny'"):
        read_info(path)


def test_others_may_read_the_file_as_they_may_any_other(tmp_path: Path) -> None:
    path, plain = tmp_path / "weights.safetensors", tmp_path / "plain"
    plain.touch()
    save_weights(small(), path, recipe="r")
    assert path.stat().st_mode == plain.stat().st_mode


def test_finer_levels_can_be_left_out_but_not_invented(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(small(), path, recipe="r")
    assert load_weights(path, finest=5).finest == 5
    with pytest.raises(WeightsError, match=r"level 2, .*\b4\b"):
        load_weights(path, finest=2)


def test_values_beyond_half_precision_are_not_written(tmp_path: Path) -> None:
    network, path = small(), tmp_path / "weights.safetensors"
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] = 1e6
    with pytest.raises(WeightsError, match=r"features\.levels\.0\.0\.weight"):
        save_weights(network, path, recipe="r")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"w\.safetensors: .*No such file"):
        save_weights(small(), tmp_path / "nowhere" / "w.safetensors", recipe="r")


def one_less(tensors: dict[str, Tensor]) -> None:
    del tensors["levels.4.matching.head.0.weight"]


def one_more(tensors: dict[str, Tensor]) -> None:
    tensors["levels.9.extra"] = torch.zeros(1)


def another_shape(tensors: dict[str, Tensor]) -> None:
    tensors["levels.4.matching.head.0.bias"] = torch.zeros(7)


def not_finite(tensors: dict[str, Tensor]) -> None:
    tensors["levels.4.matching.head.0.bias"][0] = torch.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_less, r"missing levels\.4\.matching\.head\.0\.weight; unknown none; wrong shape none"),
        (one_more, r"missing none; unknown levels\.9\.extra;"),
        (another_shape, r"wrong shape levels\.4\.matching\.head\.0\.bias \(7,\) instead of \(128,\)"),
        (not_finite, r"not finite, in levels\.4\.matching\.head\.0\.bias$"),
    ],
)
def test_keys_that_do_not_fit_are_named(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    tensors, path = parameters(small()), tmp_path / "weights.safetensors"
    change(tensors)
    save_file(tensors, path, metadata=META)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"usert_weights": "2"}, "got weights format '2', expected '1'"),
        ({"finest": "nine"}, "got finest 'nine'"),
        ({"finest": "9"}, "got finest '9'"),
        ({"normalise_features": "yes"}, "normalise_features 'yes'"),
    ],
)
def test_metadata_that_do_not_fit(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata=META | change)
    for read in (read_info, load_weights):
        with pytest.raises(WeightsError, match=message):
            read(path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 4096])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w: .*safetensors.*: .+") as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match=r"w: not a PyTorch state_dict") as caught:
        load_published(path)
    assert "weights_only" not in str(caught.value), "no advice to trust the file"
    assert "\n" not in str(caught.value)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(small(), path, recipe="r")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"weights\.safetensors: "):
        load_weights(path)


@pytest.mark.parametrize("load", [load_weights, load_published, read_info])
def test_a_missing_file(tmp_path: Path, load: Callable[[Path], object]) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("prefix", ["net", "module"])
def test_published_weights_find_their_places(tmp_path: Path, prefix: str) -> None:
    state, path = published(prefix), tmp_path / "network-default.pytorch"
    torch.save(state, path)
    network = load_published(path)
    assert (network.finest, network.normalise_features, network.training) == (2, False, False)
    loaded = parameters(network)
    assert {published_name(key) for key in state} == set(loaded)
    for key, value in state.items():
        name = published_name(key)
        assert name is not None
        assert torch.equal(loaded[name], value), key
    some = {
        f"{prefix}Features.{prefix}Thr.2.bias": "features.levels.2.2.bias",
        f"{prefix}Matching.0.{prefix}Upflow.weight": "levels.2.matching.upsample_flow.weight",
        f"{prefix}Matching.1.{prefix}Upcorr.weight": "levels.3.matching.upsample_cost.weight",
        f"{prefix}Subpixel.4.{prefix}Main.6.weight": "levels.6.subpixel.head.6.weight",
        f"{prefix}Regularization.0.{prefix}Dist.1.weight": "levels.2.regularization.distance.1.weight",
        f"{prefix}Regularization.3.{prefix}Dist.0.bias": "levels.5.regularization.distance.bias",
        f"{prefix}Regularization.2.{prefix}ScaleY.weight": "levels.4.regularization.scale_y.weight",
    }
    assert {key: published_name(key) for key in some} == some


def test_published_keys_without_a_place_and_contradictions_are_named(tmp_path: Path) -> None:
    state, path = published("net"), tmp_path / "network-default.pytorch"
    state["netSubpixel.0.netFeat.0.bias"] += 1
    state["netMatching.1.netFeat.0.weight"] = torch.zeros(1)  # a place at level 2 only
    state["netElse.weight"] = torch.zeros(1)
    torch.save(state, path)
    with pytest.raises(WeightsError) as caught:
        load_published(path)
    assert str(caught.value) == (
        f"{path}: keys without a place: netMatching.1.netFeat.0.weight, netElse.weight; "
        "keys that contradict a shared one: netSubpixel.0.netFeat.0.bias"
    )


def test_published_weights_of_which_some_are_missing(tmp_path: Path) -> None:
    state, path = published("net"), tmp_path / "network-default.pytorch"
    del state["netRegularization.2.netScaleX.bias"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"missing levels\.4\.regularization\.scale_x\.bias;"):
        load_published(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}])
def test_a_pickle_that_is_no_state_dict(tmp_path: Path, content: object) -> None:
    path = tmp_path / "file.pytorch"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"got .*state_dict"):
        load_published(path)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pytorch"
    torch.save(LiteFlowNet(finest=6), path)  # a whole object, not a state_dict
    with pytest.raises(WeightsError, match=r"file\.pytorch: not a PyTorch state_dict; usert's own end in"):
        load_published(path)

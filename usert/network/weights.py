"""Weights of the network: our own file, and the published ones from a user's file.

Ours is one safetensors file in half precision, of which an exported graph reads the same bytes. Its metadata
say what network they fit and where they come from. The published weights of LiteFlowNet are for research use
only; they are read from a file the user names, by an explicit map from the names that the well-known PyTorch
port gives them (S. Niklaus, pytorch-liteflownet, GPL-3.0: the names only, checked against its run.py at
commit 0720619).

Knows nothing of training. Invariant: every key of a file is placed, or the error names those that were not.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import cast, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import WeightsError
from ..front_end import FrontEnd
from .liteflownet import KERNEL, LiteFlowNet
from .widths import SIZES, NetworkSize

FORMAT = "1"
OURS = ".safetensors"
"""Suffix of our own files; any other file is taken for published weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """The metadata of a weights file."""

    finest: int
    """Finest pyramid level of the network."""
    normalise_features: bool
    front_end: FrontEnd
    """Front end of the network (`usert.front_end`); `rf` where the file has no such key."""
    size: NetworkSize
    """Widths of its layers (`usert.network.widths`); `full` where the file has no such key."""
    recipe: str
    """Recipe of the training, a line or TOML."""


def save_weights(network: LiteFlowNet, path: Path, *, recipe: str) -> None:
    """Write the weights as float16 beside `path`, then rename the file; the parameters in memory are not changed.

    Errors: `WeightsError` for values that float16 cannot hold, or a place that cannot be written.
    """
    tensors = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in network.named_parameters()
    }
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{path}: not written: {name} holds values that float16 cannot")
    metadata = {
        "usert_weights": FORMAT,
        "finest": str(network.finest),
        "normalise_features": str(int(network.normalise_features)),
        "front_end": network.front_end,
        "size": network.size,
        "recipe": recipe,
    }
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(save(tensors, metadata))  # `save_file` makes it readable to its owner alone
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise WeightsError(f"{path}: cannot write the weights: {error.strerror}") from error


def read_info(path: Path) -> WeightsInfo:
    """Read the metadata of a weights file. Errors: `WeightsError` for a file that is missing or not ours."""
    return _read(path)[0]


def load_weights(path: Path, *, finest: int | None = None) -> LiteFlowNet:
    """Load a network from our own file, down to level `finest`, by default all that the file has.

    Errors: `WeightsError` for a file that is missing, damaged, not ours or without that level.
    """
    info, tensors = _read(path)
    finest = info.finest if finest is None else finest
    if finest < info.finest:
        raise WeightsError(f"{path}: got finest level {finest}, the file goes down to {info.finest} only")
    network = LiteFlowNet(
        finest=finest,
        normalise_features=info.normalise_features,
        front_end=info.front_end,
        size=info.size,
    )
    skipped = tuple(f"levels.{level}." for level in range(info.finest, finest))
    kept = {name: value for name, value in tensors.items() if not name.startswith(skipped)}
    _place(network, kept, path)
    return network.eval()


def load_published(path: Path, *, finest: int | None = None) -> LiteFlowNet:
    """Load published weights, named as in the well-known PyTorch port (research use only), down to level `finest`.

    The default is all five levels. Errors: `WeightsError` for another kind of file; it names every key without a place.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # whose text advises to trust the file
        raise WeightsError(f"{path}: not a PyTorch state_dict; usert's own end in {OURS}") from error
    except Exception as error:  # whatever else unpickling makes of a broken or foreign file
        raise WeightsError(
            f"{path}: not a PyTorch state_dict: {type(error).__name__}: {_line(error)}; usert's own end in {OURS}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: got {type(state).__name__}, expected a state_dict of tensors")
    network = LiteFlowNet(normalise_features=False)
    known = {name for name, _ in network.named_parameters()}
    placed: dict[str, Tensor] = {}
    lost, clashing = [], []
    for key, value in state.items():
        name = published_name(str(key))
        if name not in known:
            lost.append(str(key))
        elif name in placed and not torch.equal(placed[name], value):
            clashing.append(str(key))
        else:
            placed[name] = value
    if lost or clashing:
        raise WeightsError(
            f"{path}: keys without a place: {', '.join(lost) or 'none'}; "
            f"keys that contradict a shared one: {', '.join(clashing) or 'none'}"
        )
    _place(network, placed, path)
    if finest is not None and finest > network.finest:
        coarser = network.down_to(finest)
        coarser.load_state_dict(network.state_dict(), strict=False)
        network = coarser
    return network.eval()


def published_name(key: str) -> str | None:
    """Our name of the port's parameter `key`, or None. Older files write `module` where newer write `net`."""
    key = key.replace("module", "net")
    if match := re.fullmatch(r"netFeatures\.net(One|Two|Thr|Fou|Fiv|Six)\.(\d+)\.(weight|bias)", key):
        level = ("One", "Two", "Thr", "Fou", "Fiv", "Six").index(match[1])
        return f"features.levels.{level}.{match[2]}.{match[3]}"
    match = re.fullmatch(r"net(Matching|Subpixel|Regularization)\.([0-4])\.net([A-Za-z]+)\.(.+)", key)
    if not match:
        return None
    level, part, rest = int(match[2]) + 2, match[3], match[4]
    prefix = f"levels.{level}"
    if match[1] == "Regularization":
        places = {
            "Feat": f"{prefix}.regularization.reduce.{rest}",
            "Main": f"{prefix}.regularization.body.{rest}",
            # the coarse levels have one convolution where the fine ones have two
            "Dist": f"{prefix}.regularization.distance.{rest.removeprefix('0.') if level >= 5 else rest}",
            "ScaleX": f"{prefix}.regularization.scale_x.{rest}",
            "ScaleY": f"{prefix}.regularization.scale_y.{rest}",
        }
    else:
        unit = f"{prefix}.{match[1].lower()}"
        places = {"Feat": f"{prefix}.reduce.{rest}", "Main": f"{unit}.head.{rest}"}
        if match[1] == "Matching":
            places |= {"Upflow": f"{unit}.upsample_flow.{rest}", "Upcorr": f"{unit}.upsample_cost.{rest}"}
    return places.get(part)


def _read(path: Path) -> tuple[WeightsInfo, dict[str, Tensor]]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file: {_line(error)}") from error
    if metadata.get("usert_weights") != FORMAT:
        raise WeightsError(
            f"{path}: got weights format {metadata.get('usert_weights')!r}, expected {FORMAT!r}, "
            "as `usert pretrain` writes it"
        )
    finest, normalise = metadata.get("finest"), metadata.get("normalise_features")
    if finest not in {str(level) for level in KERNEL} or normalise not in ("0", "1"):
        raise WeightsError(
            f"{path}: got finest {finest!r} and normalise_features {normalise!r} in its metadata, "
            f"expected a level of {sorted(KERNEL)} and '0' or '1'"
        )
    front_end = metadata.get("front_end", "rf")
    if front_end not in get_args(FrontEnd):
        raise WeightsError(f"{path}: got front end {front_end!r}, expected {' or '.join(get_args(FrontEnd))}")
    size = metadata.get("size", "full")
    if size not in SIZES:
        raise WeightsError(f"{path}: got network size {size!r}, expected {' or '.join(SIZES)}")
    info = WeightsInfo(
        finest=int(finest),
        normalise_features=normalise == "1",
        front_end=cast(FrontEnd, front_end),
        size=cast(NetworkSize, size),
        recipe=metadata.get("recipe", "not told"),
    )
    return info, tensors


def _place(network: LiteFlowNet, tensors: dict[str, Tensor], path: Path) -> None:
    wanted = dict(network.named_parameters())
    missing = sorted(set(wanted) - set(tensors))
    unknown = sorted(set(tensors) - set(wanted))
    both = sorted(set(wanted) & set(tensors))
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in both
        if wanted[name].shape != tensors[name].shape
    ]
    if missing or unknown or shapes:
        raise WeightsError(
            f"{path}: does not fit LiteFlowNet: missing {', '.join(missing) or 'none'}; "
            f"unknown {', '.join(unknown) or 'none'}; wrong shape {', '.join(shapes) or 'none'}"
        )
    if spoilt := [name for name in both if not torch.isfinite(tensors[name]).all()]:
        raise WeightsError(f"{path}: holds values that are not finite, in {', '.join(spoilt)}")
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(tensors[name])


def _line(error: Exception) -> str:
    """The first line of an error's text, or its kind."""
    return (str(error).splitlines() or [type(error).__name__])[0]

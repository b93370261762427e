"""Fully sharded data parallelism (``trainer.strategy=fsdp``): for towers that do not fit on one device.

The towers hold nearly all weights, so they are sharded (PyTorch's FSDP2, ``fully_shard``), each process keeping its
part of weights, gradients, optimiser state and moving average. Heads, prototypes and scales are used outside of any
forward pass, by the losses; they stay whole everywhere, and their gradients are averaged as DistributedDataParallel
would.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from lgdea.models.lgdea_model import LgdeaModel

FSDP = "fsdp"


def trainer_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Replace ``strategy: fsdp`` by a strategy that leaves the sharding to the module; other settings stay."""
    if settings.get("strategy") != FSDP:
        return settings
    devices, nodes = settings.get("devices", "auto"), settings.get("num_nodes", 1)
    per_node = devices if isinstance(devices, int) and devices > 0 else torch.cuda.device_count()
    strategy = ModelParallelStrategy(
        data_parallel_size=per_node * nodes, tensor_parallel_size=1, save_distributed_checkpoint=False
    )
    return {**settings, "strategy": strategy}


def shard_towers(model: LgdeaModel, mesh: DeviceMesh) -> None:
    """Shard both towers' weights over the processes of ``mesh``; between passes each keeps only its part."""
    from torch.distributed.fsdp import fully_shard

    for tower in (model.image_tower, model.text_tower):
        fully_shard(tower, mesh=mesh, reshard_after_forward=True)


def is_sharded(tensor: Tensor) -> bool:
    """Return whether this process holds only a part of ``tensor``."""
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def local_part(tensor: Tensor) -> Tensor:
    """Return the part of ``tensor`` that this process holds: a view; all of it where nothing is sharded."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined, no-any-return]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average over all processes the gradients of the parameters that are not sharded; one collective."""
    whole = [p.grad for p in parameters if p.grad is not None and not is_sharded(p)]
    if not whole:
        return
    flat = torch.cat([gradient.flatten() for gradient in whole])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(whole, flat.split([g.numel() for g in whole]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> None:
    """Scale all gradients so that their norm over all processes is at most ``largest``; 0 does nothing."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if largest <= 0 or not gradients:
        return
    squares = [local_part(g).float().pow(2).sum() for g in gradients if is_sharded(g)]
    total = torch.stack(squares).sum() if squares else torch.zeros((), device=gradients[0].device)
    dist.all_reduce(total)
    for gradient in gradients:
        if not is_sharded(gradient):
            total = total + gradient.float().pow(2).sum()
    share = (largest / (total.sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        local_part(gradient).mul_(share)


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Collect all weights, unsharded, on the CPU; every process must call this, only the first gets them."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}

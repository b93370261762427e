"""Two processes with half a batch each must learn what one process learns from the whole batch."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lgdea.objectives.contrastive import histogram_info_nce, info_nce
from lgdea.objectives.gather import gather, world_size

BATCH, DIM = 8, 6


class Towers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(5, DIM), nn.Linear(7, DIM)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        x = gather(nn.functional.normalize(self.image(images), dim=-1))
        y = gather(nn.functional.normalize(self.text(texts), dim=-1))
        loss = info_nce(self.scale.exp() * x @ y.T)
        return loss + histogram_info_nce((4 * x).softmax(-1), (4 * y).softmax(-1), temperature=0.1)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, 5, generator=generator), torch.randn(BATCH, 7, generator=generator)


def towers() -> Towers:
    torch.manual_seed(0)
    return Towers()


def worker(rank: int, processes: int, port: int, out: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    model = DistributedDataParallel(towers())
    rows = slice(rank * BATCH // processes, (rank + 1) * BATCH // processes)
    images, texts = data()
    loss = model(images[rows], texts[rows])
    loss.backward()
    if rank == 0:
        gradients = {name: p.grad for name, p in model.module.named_parameters()}
        torch.save({"loss": loss.detach(), **gradients}, out)
    dist.barrier()  # a process that leaves while the other still talks to it aborts
    dist.destroy_process_group()


def test_gather_is_identity_alone():
    x = torch.randn(3, 2, requires_grad=True)
    assert gather(x) is x
    assert world_size() == 1


def test_two_processes_learn_what_one_learns(tmp_path: Path):
    model = towers()
    loss = model(*data())
    loss.backward()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, args=(2, port, str(tmp_path / "gradients.pt")), nprocs=2)
    other = torch.load(tmp_path / "gradients.pt", weights_only=True)
    torch.testing.assert_close(other.pop("loss"), loss.detach(), atol=1e-5, rtol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(other[name], parameter.grad, atol=1e-5, rtol=0)

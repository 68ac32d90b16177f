"""The processes that train one model together: everyone takes the same steps, on the mean of all gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed, nn


class Peers:
    """Know one process's place among those that train together; who is alone has nothing to share."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @classmethod
    @contextmanager
    def meet(cls, rank: int, count: int, folder: Path) -> Iterator["Peers"]:
        """Wait for the others in a new folder that all know."""
        distributed.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=count)
        try:
            yield cls(rank, count)
        finally:
            distributed.destroy_process_group()

    def share_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over all processes."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        together /= self.count
        for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def share_state(self, model: nn.Module) -> None:
        """Give all processes the weights and statistics of the first."""
        if self.count > 1:
            for tensor in model.state_dict().values():
                distributed.broadcast(tensor, 0)

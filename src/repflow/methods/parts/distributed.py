"""Communication between the processes of a data-parallel training."""

import torch
import torch.distributed
from torch import Tensor


@torch.no_grad()
def gathered(rows: Tensor) -> Tensor:
    """All-gather rows of all processes, concatenated by rank: [B, ...] to [ranks x B, ...], without gradients.

    Every process must have the same B. With a single process, its own rows.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows.detach()
    parts = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)

"""The optimizers of the training tools."""

import math

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates (https://kellerjordan.github.io/posts/muon), float32, batched by shape."""

    def __init__(self, matrices: list[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for matrix in group["params"]:
                by_shape.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in by_shape.items():
                updates = torch.stack([self._direction(matrix, group["momentum"]) for matrix in matrices])
                scale = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
                for matrix, update in zip(matrices, orthogonalise(updates), strict=True):
                    matrix.add_(update, alpha=-scale)

    def _direction(self, matrix: nn.Parameter, momentum: float) -> Tensor:
        """The Nesterov momentum of one matrix."""
        gradient = matrix.grad if matrix.grad is not None else torch.zeros_like(matrix)
        state = self.state[matrix]
        state.setdefault("momentum", torch.zeros_like(matrix)).lerp_(gradient, 1 - momentum)
        direction: Tensor = gradient.lerp(state["momentum"], momentum)
        return direction


def muon_and_adamw(model: nn.Module, matrix_rate: float, other_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices, AdamW for embeddings and norms."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in named if p.ndim != 2 or "embed" in name]
    return [Muon(matrices, matrix_rate), torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.95), weight_decay=0.0)]


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Five Newton-Schulz steps on a batch of matrices: about the nearest orthogonal ones."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x

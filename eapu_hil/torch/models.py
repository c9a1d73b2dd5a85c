"""Small models to train with EaPU, in plain torch.nn. Everything with more than one dimension can live on pairs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TransformerBlock(nn.Module):
    """A pre-norm transformer block: attention, then two layers with GELU, each added to its input."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self._heads, self._causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) -> the same."""
        x = x + self.out(self._attend(self.qkv(self.norm1(x))))
        hidden: Tensor = self.down(F.gelu(self.up(self.norm2(x))))
        return x + hidden

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, length, _ = qkv.shape
        heads = qkv.view(batch, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=self._causal)
        return mixed.transpose(1, 2).reshape(batch, length, -1)


class CharModel(nn.Module):
    """A character-level language model: embeddings, causal blocks, one linear layer to the next character."""

    def __init__(
        self, characters: int, context: int = 64, width: int = 64, blocks: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        self.context = context
        self.characters, self.positions = nn.Embedding(characters, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, causal=True) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters)
        for table in (self.characters, self.positions):
            bound = 1 / math.sqrt(width)  # as the linear layers, so that one r_wg suits all
            nn.init.uniform_(table.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Characters (batch, length) as int64 -> logits (batch, length, characters)."""
        places = torch.arange(x.shape[1], device=x.device)
        hidden = self.characters(x) + self.positions(places)
        logits: Tensor = self.head(self.norm(self.blocks(hidden)))
        return logits


class _Residual(nn.Module):
    """A pre-activation residual block (He et al., doi 10.1007/978-3-319-46493-0_38): norm, ReLU, 3x3, twice."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels_in), nn.BatchNorm2d(channels_out)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        past = x if self.shortcut is None else self.shortcut(active)
        change: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return past + change


class PreActResNet(nn.Module):
    """A pre-activation ResNet: a convolution, stages of `blocks` blocks that halve the image, mean, linear."""

    def __init__(
        self, channels: int, classes: int, widths: tuple[int, ...] = (16, 32, 64), blocks: int = 2
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        before = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stages.append(_Residual(before, width, stride=2 if stage > 0 and block == 0 else 1))
                before = width
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(before)
        self.head = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, channels, height, width) -> logits (batch, classes)."""
        features = F.relu(self.norm(self.stages(self.stem(x))))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


class VisionTransformer(nn.Module):
    """A vision transformer (arXiv 2010.11929): patches, positions, blocks, the mean of all places, linear."""

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        patch: int = 2,
        width: int = 64,
        blocks: int = 3,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if size % patch:
            raise ValueError(f"images of {size} pixels do not divide into patches of {patch}")
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn((size // patch) ** 2, width) / math.sqrt(width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, causal=False) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, channels, size, size) -> logits (batch, classes)."""
        hidden = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(hidden)).mean(dim=1))
        return logits

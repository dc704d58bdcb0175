"""A Llama to train: the plainest form of the architecture, with Hugging Face's parameter names.

No cache, no masks but the causal one: rows come full. Inference is the storyteller's engine's, not this.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model_build.demo.attention import attend
from model_build.demo.recipe import Recipe


class Norm(nn.Module):
    """RMSNorm over the last dimension."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to the same."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Grouped-query causal attention with rotary positions."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head = recipe.heads, recipe.kv_heads, recipe.head
        self.q_proj = nn.Linear(recipe.width, self.heads * self.head, bias=False)
        self.k_proj = nn.Linear(recipe.width, self.kv_heads * self.head, bias=False)
        self.v_proj = nn.Linear(recipe.width, self.kv_heads * self.head, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head, recipe.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, tokens, width] to the same."""
        batch, tokens, _ = x.shape
        q = _turn(self.q_proj(x).view(batch, tokens, self.heads, self.head).transpose(1, 2), cos, sin)
        k = _turn(self.k_proj(x).view(batch, tokens, self.kv_heads, self.head).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(batch, tokens, self.kv_heads, self.head).transpose(1, 2)
        q = (q * self.head**-0.5).unflatten(1, (self.kv_heads, self.heads // self.kv_heads))
        y = attend(q, k, v).flatten(1, 2)
        out: Tensor = self.o_proj(y.transpose(1, 2).reshape(batch, tokens, -1))
        return out


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return (x * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(recipe.width, recipe.hidden, bias=False)
        self.up_proj = nn.Linear(recipe.width, recipe.hidden, bias=False)
        self.down_proj = nn.Linear(recipe.hidden, recipe.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to the same."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """Attention and SwiGLU, each on the normed residual."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.input_layernorm = Norm(recipe.width, recipe.eps)
        self.self_attn = Attention(recipe)
        self.post_attention_layernorm = Norm(recipe.width, recipe.eps)
        self.mlp = Mlp(recipe)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, tokens, width] to the same."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Llama(nn.Module):
    """Token ids in, loss out. The embedding is also the head."""

    cos: Tensor
    sin: Tensor

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(recipe.vocabulary, recipe.width)
        self.layers = nn.ModuleList(Layer(recipe) for _ in range(recipe.layers))
        self.norm = Norm(recipe.width, recipe.eps)
        rates = recipe.theta ** -(torch.arange(0, recipe.head, 2).float() / recipe.head)
        angles = torch.outer(torch.arange(recipe.context).float(), rates).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * recipe.layers) ** 0.5 if deep else 0.02)

    def states(self, ids: Tensor) -> Tensor:
        """What the head reads, [batch, tokens, width], for ids [batch, tokens]."""
        x = self.embed_tokens(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def forward(self, ids: Tensor) -> Tensor:
        """Logits [batch, tokens, vocabulary] for ids [batch, tokens]."""
        return F.linear(self.states(ids), self.embed_tokens.weight)

    def loss(self, states: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """The weighted mean cross entropy for states [batch, tokens, width], and both others [batch, tokens]."""
        asked = weights > 0  # the head is a fifth of the work: spare it what nobody asks
        logits = F.linear(states[asked], self.embed_tokens.weight).float()
        each = F.cross_entropy(logits, targets[asked], reduction="none")
        return (each * weights[asked]).sum() / weights.sum().clamp(min=1)


def widen(weights: dict[str, Tensor], hidden: int) -> dict[str, Tensor]:
    """The weights with `hidden` units in each MLP: what was there, and new ones that read at random and as yet say
    nothing, so the model is the same function until it is trained on. Weights that have as many stay as they are."""
    widened = dict(weights)
    for name, weight in weights.items():
        if name.endswith(("gate_proj.weight", "up_proj.weight")):
            more = max(0, hidden - weight.shape[0])
            widened[name] = torch.cat((weight, torch.randn(more, weight.shape[1]) * weight.std()))
        elif name.endswith("down_proj.weight"):
            more = max(0, hidden - weight.shape[1])
            widened[name] = torch.cat((weight, torch.zeros(weight.shape[0], more)), 1)
    return widened

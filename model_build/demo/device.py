"""What this processor multiplies fast. Knows nothing of a model."""

from __future__ import annotations

import torch

#: Whether it has instructions for bfloat16. Without them bfloat16 is emulated: five products of matrices of 256 by 256
#: took 46 times as long as in float32 on a processor with AVX2 alone.
BF16: bool = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()

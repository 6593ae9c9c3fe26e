from __future__ import annotations

import pytest
import torch

from dftfast.kernels.triton.dropout import dropped


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_kept_grows(device, dtype):
    x = torch.randn(70, 33, device=device).to(dtype)
    y = dropped(x, 0.25, 1234567890123)
    kept = y != 0
    torch.testing.assert_close(y[kept], (x[kept].float() / 0.75).to(dtype), rtol=0, atol=0)


def test_the_right_share_is_kept_and_the_seed_says_which(device):
    x = torch.ones(100, 100, device=device)
    kept = dropped(x, 0.3, 5) > 0
    assert abs(kept.float().mean().item() - 0.7) < 0.02
    assert torch.equal(kept, dropped(x, 0.3, 5) > 0)
    assert not torch.equal(kept, dropped(x, 0.3, 6) > 0)


def test_no_rows(device):
    assert dropped(torch.empty(0, 8, device=device), 0.5, 1).shape == (0, 8)

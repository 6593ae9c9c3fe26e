"""Fused operators for training and sampling language models; needs nothing but torch (and triton)."""

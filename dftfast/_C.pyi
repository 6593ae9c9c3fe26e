"""The C++ kernels of csrc/, as its bindings export them.

Addresses are `Tensor.data_ptr()` of contiguous CPU tensors, 0 where there is none. Nothing here
checks shapes, sizes or element types: dftfast.kernels does that before it calls. `dtype` is 0 for
float32, 1 for bfloat16, 2 for float16. Every kernel works on `threads` threads without the GIL.
"""

# Signatures take as few lines as in csrc/.
# fmt: off

from collections.abc import Mapping, Sequence
from typing import TypeAlias

_Address: TypeAlias = int

def isa() -> str:
    """Instruction set in use: scalar, avx2, avx512, avx512bf16 or amx."""

def keep_heap(bytes: int, /) -> bool:
    """From now on take arrays from one heap of huge pages, and give none back to the system."""

def fast_bf16() -> bool:
    """Whether large bf16 products are faster than fp32 ones on this processor."""

class Documents:
    """Packed documents; `rows` of their tokens, or 0 where tokens lie end to end."""

    def __init__(
        self, *, dtype: int, num_rows: int, heads: int, kv_heads: int, head_dim: int, threads: int,
        offsets: _Address, documents: int, rows: _Address, tokens: int,
    ) -> None:
        """q, k and v have `num_rows` rows, the documents `tokens` tokens."""

def causal_attention(
    documents: Documents, q: _Address, k: _Address, v: _Address, out: _Address, lse: _Address, /,
) -> None:
    """Attention inside packed documents; `lse` gets the log-sum-exp of every row of scores."""

def causal_attention_backward(
    documents: Documents, dout: _Address, q: _Address, k: _Address, v: _Address, out: _Address,
    lse: _Address, dq: _Address, dk: _Address, dv: _Address, /,
) -> None:
    """Gradients of `causal_attention` by q, k and v."""

def paged_attention(
    dtype: int, q: _Address, k_cache: _Address, v_cache: _Address, table: _Address,
    query_offsets: _Address, lengths: _Address, out: _Address, tokens: int, sequences: int,
    table_width: int, blocks: int, page: int, heads: int, kv_heads: int, head_dim: int,
    scale: float, threads: int, /,
) -> None:
    """Attention of each sequence's last tokens over its pages of the cache."""

def store_kv(
    k: _Address, v: _Address, k_cache: _Address, v_cache: _Address, slots: _Address, tokens: int,
    bytes: int, rows: int, /,
) -> None:
    """Copies row t of k and v, each of `bytes`, to row slots[t] of the caches; none for -1."""

class Decoder:
    """A bf16 decoder; the caller keeps alive what the addresses point to."""

    def __init__(
        self, *, layers: Sequence[Mapping[str, _Address]], embed: _Address, norm: _Address,
        head: _Address, hidden: int, inner: int, heads: int, kv_heads: int, head_dim: int,
        vocab: int, eps: float,
    ) -> None:
        """A layer: qkv, qkv_bias, o, gate_up, down, input_norm, post_norm, q_norm, k_norm."""

    def step(
        self, *, tokens: _Address, slots: _Address, cos: _Address, sin: _Address, table: _Address,
        table_stride: int, query_offsets: _Address, lengths: _Address, rows: _Address,
        num_tokens: int, num_sequences: int, num_rows: int, cache: _Address, num_blocks: int,
        logits: _Address, threads: int,
    ) -> None:
        """The forward pass over a paged cache; fp32 logits after the tokens `rows`."""

def advise_huge_pages(address: _Address, bytes: int, /) -> None:
    """Asks the system for huge pages; nothing happens where it refuses."""

def packed_panel() -> int:
    """Outputs of a packed matrix are padded to a multiple of this."""

def pack_matrix(
    weight: _Address, outputs: int, inputs: int, packed: _Address, threads: int, /
) -> None:
    """Writes a bf16 matrix [outputs, inputs] in the order that `packed_product` reads."""

def packed_product(
    x: _Address, rows: int, inputs: int, packed: _Address, bias: _Address, outputs: int,
    y: _Address, wide: bool, threads: int, /,
) -> None:
    """y = x Wᵀ + bias with a packed W: bf16 in and out, y in fp32 where `wide`."""

def check_targets(target: _Address, size: int, vocab: int, /) -> None:
    """Raises ValueError for the first target outside the vocabulary."""

def logprob_tile_forward(
    dtype: int, logits: _Address, rows: int, vocab: int, target: _Address, temperature: float,
    logprob: _Address, entropy: _Address, lse: _Address, threads: int, /,
) -> None:
    """Every row's log-probability of its target, entropy and log-sum-exp, in fp32."""

def logprob_tile_backward(
    dtype: int, logits: _Address, rows: int, vocab: int, target: _Address, temperature: float,
    lse: _Address, entropy: _Address, grad_logprob: _Address, grad_entropy: _Address, threads: int,
    /,
) -> None:
    """Replaces logits by the gradient by them; `grad_entropy` may be 0."""

def logprob_tile_forward_backward(
    dtype: int, logits: _Address, rows: int, vocab: int, target: _Address, temperature: float,
    logprob: _Address, entropy: _Address, lse: _Address, grad_logprob: _Address, threads: int, /,
) -> None:
    """Both for a row at a time, without a gradient by the entropy."""

class LowRank:
    """An adapter of a bf16 layer, on a processor with AMX; a and b bf16, widths multiples of 32."""

    def __init__(
        self, *, columns: int, out: int, rank: int, splits: Sequence[int], a: _Address,
        b: _Address, scale: float,
    ) -> None:
        """a [parts * rank, columns], b [out, rank]; `splits` are the widths of the parts."""
    def add(self, *, tokens: int, x: _Address, u: _Address, y: _Address, threads: int) -> None:
        """u = x aT; y += scale * u bT."""
    def backward(
        self, *, tokens: int, dy: _Address, x: _Address, u: _Address, dx: _Address, da: _Address,
        db: _Address, threads: int,
    ) -> None:
        """Adds to dx (bf16), writes da and db (float32); each may be 0."""

def dropout_factor(
    factor: _Address, n: int, probability: float, seed: int, threads: int, /
) -> None:
    """factor[i] = 0 with the given probability, else 1 / (1 - probability), in fp32."""

def ngram_counts(
    tokens: _Address, size: int, offsets: _Address, sequences: int, n: int, vocab: int,
    exclude: _Address, exclude_size: int, keys: _Address, scratch: _Address, wide: bool,
    threads: int, /,
) -> list[tuple[int, int]]:
    """Slices of `keys` that hold the distinct keys, ascending; their counts are in `scratch`."""

def ngram_distances(
    keys_p: _Address, counts_p: _Address, size_p: int, keys_q: _Address, counts_q: _Address,
    size_q: int, out: _Address, wide: bool, threads: int, /,
) -> None:
    """Euclidean distance and Jensen-Shannon divergence in bits of two histograms, as float64."""

def ngram_lookup(
    tokens: _Address, size: int, offsets: _Address, sequences: int, n: int, vocab: int,
    keys: _Address, values: _Address, keys_size: int, out: _Address, wide: bool, threads: int, /,
) -> None:
    """out[i] = the value of the n-gram that ends at token i; left as it was where there is none."""

class RbfTile:
    """Dot products of some rows of x with some of y, and what turns them into kernel values."""

    def __init__(
        self, dots: _Address, rows: int, columns: int, row: int, column: int, x: _Address,
        y: _Address, d: int, x_norm: _Address, y_norm: _Address, rate: _Address, k: int,
        exclude_diagonal: bool, threads: int, /,
    ) -> None:
        """Rows row .. row + rows of x against rows column .. column + columns of y."""

def rbf_values(tile: RbfTile, sums: _Address, /) -> None:
    """Adds every row's kernel values, one sum for each of the k rates, to `sums` in float64."""

def rbf_weights(tile: RbfTile, factor: _Address, row_sums: _Address, /) -> None:
    """Replaces the dot products by factor-weighted kernel values; adds them up by row."""

def rms_norm(
    dtype: int, x: _Address, residual: _Address, weight: _Address, y: _Address, total: _Address,
    rows: int, d: int, eps: float, threads: int, /,
) -> None:
    """total = x + residual, which may be 0; y = total / rms(total) * weight."""

def rms_norm_backward(
    dtype: int, dy: _Address, dtotal: _Address, x: _Address, weight: _Address, dx: _Address,
    dweight: _Address, rows: int, d: int, eps: float, threads: int, /,
) -> None:
    """Gradients of `rms_norm`; `dtotal` and `dweight` may be 0."""

def qk_norm_rope(
    dtype: int, qkv: _Address, q_weight: _Address, k_weight: _Address, cos: _Address,
    sin: _Address, q: _Address, k: _Address, v: _Address, tokens: int, heads: int, kv_heads: int,
    head_dim: int, eps: float, threads: int, /,
) -> None:
    """Splits qkv; norms queries and keys, where there are weights; turns them by position."""

def qk_norm_rope_backward(
    dtype: int, dq: _Address, dk: _Address, dv: _Address, qkv: _Address, q_weight: _Address,
    k_weight: _Address, cos: _Address, sin: _Address, dqkv: _Address, dq_weight: _Address,
    dk_weight: _Address, tokens: int, heads: int, kv_heads: int, head_dim: int, eps: float,
    threads: int, /,
) -> None:
    """Gradients of `qk_norm_rope`; those of the weights may be 0."""

def rope(
    dtype: int, q: _Address, k: _Address, q_weight: _Address, k_weight: _Address, cos: _Address,
    sin: _Address, q_out: _Address, k_out: _Address, tokens: int, heads: int, kv_heads: int,
    head_dim: int, angles: int, eps: float, threads: int, /,
) -> None:
    """`qk_norm_rope` of separate queries and keys; token t has row t mod `angles` of cos, sin."""

def rope_backward(
    dtype: int, dq_out: _Address, dk_out: _Address, q: _Address, k: _Address, q_weight: _Address,
    k_weight: _Address, cos: _Address, sin: _Address, dq: _Address, dk: _Address,
    dq_weight: _Address, dk_weight: _Address, tokens: int, heads: int, kv_heads: int,
    head_dim: int, angles: int, eps: float, threads: int, /,
) -> None:
    """Gradients of `rope`; q and k may be 0 without weights, the weights' gradients always."""

def swiglu(
    dtype: int, gate: _Address, up: _Address, y: _Address, rows: int, width: int, stride: int,
    threads: int, /,
) -> None:
    """y = silu(gate) * up; rows of gate and of up are `stride` elements apart, those of y dense."""

def swiglu_backward(
    dtype: int, dy: _Address, gate: _Address, up: _Address, dgate: _Address, dup: _Address,
    rows: int, width: int, stride: int, threads: int, /,
) -> None:
    """Gradients of `swiglu`, with the stride of gate and up."""

def sample_tokens(
    logits: _Address, dtype: int, rows: int, vocab: int, temperature: _Address, top_k: _Address,
    top_p: _Address, min_p: _Address, seed: _Address, request_id: _Address, position: _Address,
    token: _Address, logprob: _Address, sampler_logprob: _Address, entropy: _Address, threads: int,
    /,
) -> None:
    """One draw a row, with the model's and the sampler's log-probability of it."""

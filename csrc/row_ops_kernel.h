// The row kernels, compiled once for each instruction set.
#pragma once

#include <algorithm>
#include <cmath>

#include <omp.h>

#include "row_ops.h"
#include "rows.h"
#include "scratch.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

inline Floats rounded(Floats x, const float*) { return x; }
inline Floats rounded(Floats x, const bfloat16* p) { return x.rounded(p); }
inline Floats rounded(Floats x, const float16*) {
  float16 raw[kWidth];
  x.store(raw);
  return Floats::load(raw);
}

// Equal runs of rows, one a thread: body(first, last, thread).
template <class Body>
void deal(int64_t rows, int64_t width, int threads, const Body& body) {
  if (rows * width < 16384) threads = 1;
#pragma omp parallel num_threads(threads)
  {
    const int64_t n = omp_get_num_threads(), t = omp_get_thread_num();
    body(rows * t / n, rows * (t + 1) / n, static_cast<int>(t));
  }
}

// Sums [d] of one weight's gradient, of every thread's rows.
class Parts {
 public:
  Parts(bool wanted, int64_t d, int threads)
      : d_(wanted ? d : 0), threads_(threads), sums_(d_, threads) {
    for (int t = 0; t < threads; ++t) std::memset(sums_.of(t), 0, d_ * sizeof(float));
  }
  float* of(int thread) const { return d_ ? sums_.of(thread) : nullptr; }
  void add_up(float* out) const {
    for (int64_t i = 0; i < d_; ++i) {
      out[i] = 0;
      for (int t = 0; t < threads_; ++t) out[i] += sums_.of(t)[i];
    }
  }

 private:
  int64_t d_;
  int threads_;
  Scratch<float> sums_;
};

// Adds up f(i) over the vectors of a row, in four sums: one would wait for itself.
template <class F>
float sum_over(int64_t d, const F& f) {
  Floats sums[4];
  for (Floats& sum : sums) sum = Floats::all(0);
  int64_t i = 0;
  for (; i + 4 * kWidth <= d; i += 4 * kWidth)
    for (int n = 0; n < 4; ++n) sums[n] = f(i + n * kWidth, sums[n]);
  for (; i < d; i += kWidth) sums[0] = f(i, sums[0]);
  return (sums[0] + sums[1] + (sums[2] + sums[3])).sum();
}

template <class T>
float inverse_rms(const T* x, int64_t d, float eps) {
  const float squares = sum_over(d, [&](int64_t i, Floats sum) {
    const Floats v = load_at(x, i, d);
    return fma(v, v, sum);
  });
  return 1 / std::sqrt(squares / static_cast<float>(d) + eps);
}

template <class T>
void rms_norm(const NormShape& s, const T* x, const T* residual, const float* weight, T* y,
              T* total) {
  deal(s.rows, s.d, s.threads, [&](int64_t first, int64_t last, int) {
    for (int64_t at = first * s.d; at < last * s.d; at += s.d) {
      const T* row = x + at;
      if (residual) {
        for (int64_t i = 0; i < s.d; i += kWidth)
          store_at(load_at(x + at, i, s.d) + load_at(residual + at, i, s.d), total + at, i, s.d);
        row = total + at;
      }
      const Floats scale = Floats::all(inverse_rms(row, s.d, s.eps));
      for (int64_t i = 0; i < s.d; i += kWidth)
        store_at(rounded(load_at(row, i, s.d) * scale, row) * load_at(weight, i, s.d), y + at, i,
                 s.d);
    }
  });
}

// dx = (g - n mean(g n)) / rms with g = dy w and n = x / rms, and dtotal added where given;
// dw += dy n where wanted.
template <class G, class T>
void norm_row_backward(const G* dy, const T* x, const float* weight, float eps, int64_t d,
                       const T* dtotal, T* dx, float* dw) {
  const float scale = inverse_rms(x, d, eps);
  const float dot = sum_over(d, [&](int64_t i, Floats sum) {
    return fma(load_at(dy, i, d) * load_at(weight, i, d), load_at(x, i, d), sum);
  });
  const Floats factor = Floats::all(scale);
  const Floats pull = Floats::all(-dot / static_cast<float>(d) * scale * scale * scale);
  for (int64_t i = 0; i < d; i += kWidth) {
    const Floats up = load_at(dy, i, d), v = load_at(x, i, d);
    Floats grad = fma(v, pull, up * load_at(weight, i, d) * factor);
    if (dtotal) grad = grad + load_at(dtotal, i, d);
    store_at(grad, dx, i, d);
    if (dw) store_at(fma(up, v * factor, load_at(dw, i, d)), dw, i, d);
  }
}

template <class T>
void rms_norm_backward(const NormShape& s, const T* dy, const T* dtotal, const T* x,
                       const float* weight, T* dx, float* dweight) {
  const Parts parts(dweight, s.d, s.threads);
  deal(s.rows, s.d, s.threads, [&](int64_t first, int64_t last, int thread) {
    for (int64_t at = first * s.d; at < last * s.d; at += s.d)
      norm_row_backward(dy + at, x + at, weight, s.eps, s.d, dtotal ? dtotal + at : nullptr,
                        dx + at, parts.of(thread));
  });
  parts.add_up(dweight);
}

// out = the pairs (x[i], x[i + half]) turned by the angle; by minus the angle for sign = -1.
template <class In, class Out>
void rotate(const In* x, const float* cos, const float* sin, int64_t half, float sign, Out* out) {
  for (int64_t i = 0; i < half; i += kWidth) {
    const Floats a = load_at(x, i, half), b = load_at(x + half, i, half);
    const Floats c = load_at(cos, i, half), t = load_at(sin, i, half) * Floats::all(sign);
    store_at(a * c - b * t, out, i, half);
    store_at(fma(a, t, b * c), out + half, i, half);
  }
}

// The heads of a token: queries, then keys.
template <class T>
T* head_at(const RopeShape& s, const Heads& rows, int64_t token, int64_t head) {
  return head < s.heads
             ? static_cast<T*>(rows.q) + token * rows.q_stride + head * s.head_dim
             : static_cast<T*>(rows.k) + token * rows.kv_stride + (head - s.heads) * s.head_dim;
}

template <class T>
void copy_values(const RopeShape& s, const Heads& from, const Heads& to, int64_t token) {
  if (from.v)
    std::memcpy(static_cast<T*>(to.v) + token * to.kv_stride,
                static_cast<T*>(from.v) + token * from.kv_stride,
                s.kv_heads * s.head_dim * sizeof(T));
}

template <class T>
void qk_norm_rope(const RopeShape& s, const Heads& in, const float* q_weight, const float* k_weight,
                  const float* cos, const float* sin, const Heads& out) {
  const int64_t D = s.head_dim, H = s.heads, heads = H + s.kv_heads, half = D / 2;
  const Scratch<T> rooms(D, s.threads);
  deal(s.tokens, heads * D, s.threads, [&](int64_t first, int64_t last, int thread) {
    T* normed = rooms.of(thread);
    for (int64_t t = first; t < last; ++t) {
      const int64_t angle = t % s.angles * half;
      for (int64_t head = 0; head < heads; ++head) {
        const T* x = head_at<T>(s, in, t, head);
        const float* weight = head < H ? q_weight : k_weight;
        if (weight) {
          const Floats scale = Floats::all(inverse_rms(x, D, s.eps));
          for (int64_t i = 0; i < D; i += kWidth)
            store_at(rounded(load_at(x, i, D) * scale, x) * load_at(weight, i, D), normed, i, D);
          x = normed;
        }
        rotate(x, cos + angle, sin + angle, half, 1.0f, head_at<T>(s, out, t, head));
      }
      copy_values<T>(s, in, out, t);
    }
  });
}

template <class T>
void qk_norm_rope_backward(const RopeShape& s, const Heads& dout, const Heads& in,
                           const float* q_weight, const float* k_weight, const float* cos,
                           const float* sin, const Heads& din, float* dq_weight, float* dk_weight) {
  const int64_t D = s.head_dim, H = s.heads, heads = H + s.kv_heads, half = D / 2;
  const Parts q_parts(dq_weight, D, s.threads), k_parts(dk_weight, D, s.threads);
  const Scratch<float> ups(D, s.threads);
  deal(s.tokens, heads * D, s.threads, [&](int64_t first, int64_t last, int thread) {
    float* up = ups.of(thread);
    for (int64_t t = first; t < last; ++t) {
      const int64_t angle = t % s.angles * half;
      for (int64_t head = 0; head < heads; ++head) {
        const bool query = head < H;
        const float* weight = query ? q_weight : k_weight;
        const T* down = head_at<T>(s, dout, t, head);
        T* to = head_at<T>(s, din, t, head);
        if (!weight) {
          rotate(down, cos + angle, sin + angle, half, -1.0f, to);
          continue;
        }
        rotate(down, cos + angle, sin + angle, half, -1.0f, up);
        norm_row_backward<float, T>(up, head_at<T>(s, in, t, head), weight, s.eps, D, nullptr, to,
                                    (query ? q_parts : k_parts).of(thread));
      }
      copy_values<T>(s, dout, din, t);
    }
  });
  q_parts.add_up(dq_weight);
  k_parts.add_up(dk_weight);
}

inline Floats sigmoid(Floats x) {
  return Floats::all(1) / (Floats::all(1) + exp(Floats::all(0) - x));
}

template <class T>
void swiglu(const Gated& in, T* y, int64_t rows, int64_t n, int threads) {
  deal(rows, n, threads, [&](int64_t first, int64_t last, int) {
    for (int64_t r = first; r < last; ++r) {
      const T* gate = static_cast<T*>(in.gate) + r * in.stride;
      const T* up = static_cast<T*>(in.up) + r * in.stride;
      for (int64_t i = 0; i < n; i += kWidth) {
        const Floats g = load_at(gate, i, n);
        store_at(rounded(g * sigmoid(g), gate) * load_at(up, i, n), y + r * n, i, n);
      }
    }
  });
}

template <class T>
void swiglu_backward(const T* dy, const Gated& in, const Gated& din, int64_t rows, int64_t n,
                     int threads) {
  const Floats one = Floats::all(1);
  deal(rows, n, threads, [&](int64_t first, int64_t last, int) {
    for (int64_t r = first; r < last; ++r) {
      const T* gate = static_cast<T*>(in.gate) + r * in.stride;
      const T* up = static_cast<T*>(in.up) + r * in.stride;
      T* dgate = static_cast<T*>(din.gate) + r * din.stride;
      T* dup = static_cast<T*>(din.up) + r * din.stride;
      for (int64_t i = 0; i < n; i += kWidth) {
        const Floats g = load_at(gate, i, n), s = sigmoid(g), d = load_at(dy + r * n, i, n);
        store_at(d * load_at(up, i, n) * s * fma(g, one - s, one), dgate, i, n);
        store_at(d * g * s, dup, i, n);
      }
    }
  });
}

}  // namespace

extern const RowKernels row_kernels;
const RowKernels row_kernels = {
    [](const NormShape& s, const void* x, const void* residual, const float* weight, void* y,
       void* total) {
      with_element_type(s.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        rms_norm<T>(s, As<T>{x}, As<T>{residual}, weight, As<T>{y}, As<T>{total});
      });
    },
    [](const NormShape& s, const void* dy, const void* dtotal, const void* x, const float* weight,
       void* dx, float* dweight) {
      with_element_type(s.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        rms_norm_backward<T>(s, As<T>{dy}, As<T>{dtotal}, As<T>{x}, weight, As<T>{dx}, dweight);
      });
    },
    [](const RopeShape& s, const Heads& in, const float* q_weight, const float* k_weight,
       const float* cos, const float* sin, const Heads& out) {
      with_element_type(s.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        qk_norm_rope<T>(s, in, q_weight, k_weight, cos, sin, out);
      });
    },
    [](const RopeShape& s, const Heads& dout, const Heads& in, const float* q_weight,
       const float* k_weight, const float* cos, const float* sin, const Heads& din,
       float* dq_weight, float* dk_weight) {
      with_element_type(s.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        qk_norm_rope_backward<T>(s, dout, in, q_weight, k_weight, cos, sin, din, dq_weight,
                                 dk_weight);
      });
    },
    [](Dtype dtype, const Gated& in, void* y, int64_t rows, int64_t width, int threads) {
      with_element_type(dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        swiglu<T>(in, As<T>{y}, rows, width, threads);
      });
    },
    [](Dtype dtype, const void* dy, const Gated& in, const Gated& din, int64_t rows, int64_t width,
       int threads) {
      with_element_type(dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        swiglu_backward<T>(As<T>{dy}, in, din, rows, width, threads);
      });
    },
};

}  // namespace DFTFAST_SIMD
}  // namespace dftfast

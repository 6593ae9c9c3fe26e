// The attention kernels, compiled once for each instruction set.
#pragma once

#include "attention_backward.h"
#include "attention_forward.h"
#if defined(DFTFAST_TILES)
#include "tile_attention.h"
#endif

namespace dftfast {
namespace DFTFAST_SIMD {

#if defined(DFTFAST_TILES)
template <class T>
constexpr bool kOnTiles = std::is_same<T, bfloat16>::value;
#else
template <class T>
constexpr bool kOnTiles = false;
#endif

extern const AttentionKernels attention_kernels;
const AttentionKernels attention_kernels = {
    [](const Packed& p, const void* q, const void* k, const void* v, void* out, float* lse) {
      with_element_type(p.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        if constexpr (kOnTiles<T>)
          if (p.heads.fill_tiles())
            return tile_forward(p, As<T>{q}, As<T>{k}, As<T>{v}, As<T>{out}, lse);
        forward<T>(p, As<T>{q}, As<T>{k}, As<T>{v}, As<T>{out}, lse);
      });
    },
    [](const Packed& p, const void* dout, const void* q, const void* k, const void* v,
       const void* out, const float* lse, void* dq, void* dk, void* dv) {
      with_element_type(p.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        if constexpr (kOnTiles<T>)
          if (p.heads.fill_tiles())
            return tile_backward(p, As<T>{dout}, As<T>{q}, As<T>{k}, As<T>{v}, As<T>{out}, lse,
                                 {As<T>{dq}, As<T>{dk}, As<T>{dv}});
        backward<T>(p, As<T>{dout}, As<T>{q}, As<T>{k}, As<T>{v}, As<T>{out}, lse, As<T>{dq},
                    As<T>{dk}, As<T>{dv});
      });
    },
    [](const Paged& p, const void* q, const void* k_cache, const void* v_cache, void* out) {
      with_element_type(p.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        paged<T>(p, As<T>{q}, As<T>{k_cache}, As<T>{v_cache}, As<T>{out});
      });
    },
};

}  // namespace DFTFAST_SIMD
}  // namespace dftfast

// The body of sample_tokens*.cpp, compiled once for each instruction set. No template of the
// standard library: the linker would keep one instruction set's copy of it for all.
#include <cfloat>
#include <cmath>

#include "philox.h"
#include "sample_tokens.h"
#include "simd.h"

namespace dftfast {
namespace DFTFAST_SIMD {

constexpr int kBuckets = 1024;

template <class T>
inline Floats load_left(const T* p, int64_t left, float fill) {
  return left >= Floats::width ? Floats::load(p) : load_part(p, static_cast<int>(left), fill);
}

inline int64_t shares(int64_t n) { return (n + kShare - 1) / kShare; }
inline int64_t share_end(int64_t begin, int64_t n) {
  return begin + kShare < n ? begin + kShare : n;
}

template <class T>
float maximum(const T* x, int64_t n, float* share_top) {
  float top = -__builtin_inff();
  for (int64_t begin = 0; begin < n; begin += kShare) {
    Floats highest = Floats::all(-__builtin_inff());
    for (int64_t i = begin; i < share_end(begin, n); i += Floats::width)
      highest = max(highest, load_left(x + i, n - i, -__builtin_inff()));
    const float own = share_top[begin / kShare] = highest.max();
    top = own > top ? own : top;
  }
  return top;
}

struct Sums {
  double mass, weighted;
};

// Of e = exp((x - top) * inverse) and of e (x - top), and share_mass of e.
template <class T>
Sums sums(const T* x, int64_t n, float top, float inverse, double* share_mass) {
  const Floats highest = Floats::all(top), rate = Floats::all(inverse);
  Sums total{0, 0};
  for (int64_t begin = 0; begin < n; begin += kShare) {
    Floats mass = Floats::all(0), weighted = Floats::all(0);
    for (int64_t i = begin; i < share_end(begin, n); i += Floats::width) {
      const Floats z = load_left(x + i, n - i, -__builtin_inff()) - highest;
      const Floats below = max(Floats::all(-FLT_MAX), z);  // so that 0 · -inf is 0
      const Floats e = exp(below * rate);
      mass = mass + e;
      weighted = fma(e, below, weighted);
    }
    total.mass += share_mass[begin / kShare] = mass.sum();
    total.weighted += weighted.sum();
  }
  return total;
}

// mass[i] = exp((x[i] - top) * inverse); returns their sum.
template <class T>
double masses(const T* x, int64_t n, float top, float inverse, float* mass) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kShare) {
    Floats sum = Floats::all(0);
    for (int64_t i = begin; i < share_end(begin, n); i += Floats::width) {
      const Floats e = exp((load_left(x + i, n - i, -__builtin_inff()) - Floats::all(top)) *
                           Floats::all(inverse));
      e.store(mass + i);
      sum = sum + e;
    }
    total += sum.sum();
  }
  return total;
}

// The first entry at which the running sum reaches the target, from which the sum before it is
// taken off. Where rounding leaves the whole sum below it: the last entry with a weight.
template <class Number>
int64_t reach(const Number* weight, int64_t n, double& target) {
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!(weight[i] > 0)) continue;
    at = i;
    if (weight[i] >= target) break;
    target -= weight[i];
  }
  return at;
}

// The largest v such that the mass of the entries x >= v reaches the target: a histogram between
// the lowest and the highest entry, then one of the bucket in which the target is reached, until
// its entries are all equal.
float select(const float* x, const float* mass, int64_t n, float high, double target,
             const SamplerScratch& s) {
  Floats lowest = Floats::all(high);
  for (int64_t i = 0; i < n; i += Floats::width)
    lowest = min(lowest, load_left(x + i, n - i, high));
  float low = -(Floats::all(0) - lowest).max();
  while (low < high) {
    const double per_unit = kBuckets / (static_cast<double>(high) - low), from = high;
    auto bucket = [&](float v) {
      const int b = static_cast<int>((from - v) * per_unit);
      return b < kBuckets ? b : kBuckets - 1;
    };
    double histogram[kBuckets] = {};
    for (int64_t i = 0; i < n; ++i) histogram[bucket(x[i])] += mass[i];
    int found = 0;
    while (found < kBuckets - 1 && histogram[found] < target) target -= histogram[found++];
    int64_t count = 0;
    const float top = high;
    high = low, low = top;
    for (int64_t i = 0; i < n; ++i) {
      if (bucket(x[i]) != found) continue;
      const float v = x[i];
      s.some_mass[count] = mass[i];
      s.some_value[count++] = v;
      high = v > high ? v : high;
      low = v < low ? v : low;
    }
    x = s.some_value, mass = s.some_mass, n = count;
  }
  return high;
}

// A number that the k-th largest entry reaches: so many shares hold one at least as large.
inline float bound_of_top_k(int64_t k, int64_t n, float top, const SamplerScratch& s) {
  int64_t count = 0;
  for (int64_t i = 0; i < shares(n); ++i)
    if (s.share_top[i] >= -FLT_MAX) s.mass[count] = 1, s.value[count++] = s.share_top[i];
  return count < k ? -FLT_MAX : select(s.value, s.mass, count, top, k, s);
}

// The entries of at least `bound` become candidates. Returns their number.
template <class T>
int64_t collect(const T* x, int64_t n, float bound, const SamplerScratch& s) {
  int64_t count = 0;
  for (int64_t begin = 0; begin < n; begin += kShare) {
    if (s.share_top[begin / kShare] < bound) continue;
    for (int64_t i = begin; i < share_end(begin, n); i += Floats::width) {
      const Floats v = load_left(x + i, n - i, -__builtin_inff());
      unsigned kept = Floats::not_greater(Floats::all(bound), v);
      if (!kept) continue;
      float lanes[Floats::width];
      v.store(lanes);
      for (; kept; kept &= kept - 1) {
        const int lane = __builtin_ctz(kept);
        s.value[count] = lanes[lane];
        s.index[count++] = static_cast<int32_t>(i + lane);
      }
    }
  }
  return count;
}

inline int64_t keep_from(float floor, int64_t n, const SamplerScratch& s) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float v = s.value[i];
    s.value[count] = v;
    s.index[count] = s.index[i];
    count += v >= floor;
  }
  return count;
}

struct Choice {
  int64_t token;
  double mass;  // of all that could be drawn
};

template <class T>
Choice draw_cut(const T* x, int64_t n, float top, float inverse, const SamplerRow& settings,
                double u, const SamplerScratch& s) {
  const bool by_count = settings.top_k > 0 && settings.top_k < n, by_mass = settings.top_p < 1;
  const float least =
      settings.min_p > 0 ? top + std::log(static_cast<double>(settings.min_p)) / inverse : -FLT_MAX;
  float floor = least < top ? least : top;
  int64_t count;
  double total = 0;
  if (by_count) {
    count = collect(x, n, bound_of_top_k(settings.top_k, n, top, s), s);
    if (count > settings.top_k) {
      for (int64_t i = 0; i < count; ++i) s.mass[i] = 1;
      count = keep_from(select(s.value, s.mass, count, top, settings.top_k, s), count, s);
    }
  } else if (by_mass) {
    // Entries of less than (1 - p) / n of the mass have less than 1 - p of it together: none of
    // them is kept.
    total = sums(x, n, top, inverse, s.share_mass).mass;
    const double bound =
        top + (std::log((1 - static_cast<double>(settings.top_p)) * total / n) - 1e-3) / inverse;
    const double kept = bound < top ? bound > -FLT_MAX ? bound : -FLT_MAX : top;
    count = collect(x, n, static_cast<float>(kept), s);
  } else {
    count = collect(x, n, floor, s);
  }
  const double collected = masses(s.value, count, top, inverse, s.mass);
  if (by_mass) {
    const double target = settings.top_p * (by_count ? collected : total);
    const float cut = select(s.value, s.mass, count, top, target, s);
    floor = cut > floor ? cut : floor;
  }
  count = keep_from(floor, count, s);
  total = masses(s.value, count, top, inverse, s.mass);
  double target = u * total;
  return {s.index[reach(s.mass, count, target)], total};
}

template <class T>
Choice draw_whole(const T* x, int64_t n, float top, float inverse, double total, double u,
                  const SamplerScratch& s) {
  double target = u * total;
  const int64_t begin = kShare * reach(s.share_mass, shares(n), target);
  const int64_t left = share_end(begin, n) - begin;
  masses(x + begin, left, top, inverse, s.mass);
  return {begin + reach(s.mass, left, target), total};
}

template <class T>
float value(const T* x) {
  float lanes[Floats::width];
  load_part(x, 1, 0).store(lanes);
  return lanes[0];
}
inline float value(const float* x) { return *x; }

template <class T>
int64_t first_of(float wanted, const T* x, int64_t n, const float* share_top) {
  int64_t i = 0;
  while (share_top[i / kShare] != wanted) i += kShare;
  while (i + 1 < n && value(x + i) != wanted) ++i;
  return i;
}

template <class T>
Drawn draw(const void* logits, int64_t n, const SamplerRow& settings, const SamplerScratch& s) {
  const T* x = static_cast<const T*>(logits);
  const float top = maximum(x, n, s.share_top);
  const Sums model = sums(x, n, top, 1, s.share_mass);
  if (!(model.mass >= 1)) return {0, __builtin_nanf(""), __builtin_nanf(""), __builtin_nanf("")};
  const double log_z = std::log(model.mass);
  Drawn drawn{0, 0, 0, static_cast<float>(log_z - model.weighted / model.mass)};
  if (settings.temperature < FLT_MIN) {
    drawn.token = first_of(top, x, n, s.share_top);
  } else {
    // Not so small that a banned token's distance, finite here, would no longer count.
    const float inverse = std::fmax(1 / settings.temperature, 1e-30f);
    const uint32_t word = philox_word(settings.seed, settings.position, settings.request_id);
    const double u = ((word >> 9) + 0.5) / 8388608.0;
    Choice choice;
    if (settings.top_k > 0 || settings.top_p < 1 || settings.min_p > 0) {
      choice = draw_cut(x, n, top, inverse, settings, u, s);
    } else {
      const double total = inverse == 1 ? model.mass : sums(x, n, top, inverse, s.share_mass).mass;
      choice = draw_whole(x, n, top, inverse, total, u, s);
    }
    drawn.token = choice.token;
    drawn.sampler_logprob =
        static_cast<float>((value(x + drawn.token) - top) * inverse - std::log(choice.mass));
  }
  drawn.logprob = static_cast<float>(value(x + drawn.token) - top - log_z);
  return drawn;
}

extern const DrawRow draw_row[3] = {draw<float>, draw<bfloat16>, draw<float16>};

}  // namespace DFTFAST_SIMD
}  // namespace dftfast

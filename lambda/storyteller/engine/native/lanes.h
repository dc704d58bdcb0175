// As many floats at a time as a register holds, in the vector types that GCC and Clang share. (GCC takes wider ones apart, lane
// by lane.)
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

namespace {

#if defined(__AVX512F__)
constexpr long LANES = 16;
constexpr long MOST_HEADS = 8;  // whose sums the registers hold
#elif defined(__AVX2__)
constexpr long LANES = 8;
constexpr long MOST_HEADS = 4;
#else
constexpr long LANES = 4;
constexpr long MOST_HEADS = 4;
#endif
typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));

inline Lanes load(const float *from) { Lanes v; std::memcpy(&v, from, sizeof v); return v; }
inline void store(float *to, Lanes v) { std::memcpy(to, &v, sizeof v); }
inline Lanes spread(float x) { return x - Lanes{}; }

inline float total(Lanes v) {
    float a[LANES];
    store(a, v);
    for (long half = LANES / 2; half; half /= 2)
        for (long i = 0; i < half; i++) a[i] += a[i + half];
    return a[0];
}

inline float widen(uint16_t half) {
#if defined(__F16C__)
    return _cvtsh_ss(half);
#elif defined(__aarch64__)
    __fp16 h; std::memcpy(&h, &half, 2); return h;
#else
    uint32_t sign = uint32_t(half & 0x8000) << 16, rest = half & 0x7fff, bits;
    if (rest >= 0x7c00) bits = sign | 0x7f800000 | (rest & 0x3ff) << 13;
    else if (rest >= 0x400) bits = sign | ((rest << 13) + (112u << 23));
    else { float tiny = rest * 0x1p-24f; std::memcpy(&bits, &tiny, 4); bits |= sign; }
    float f; std::memcpy(&f, &bits, 4); return f;
#endif
}

inline uint16_t narrow(float f) {
#if defined(__F16C__)
    return _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__aarch64__)
    __fp16 h = f; uint16_t half; std::memcpy(&half, &h, 2); return half;
#else
    uint32_t bits; std::memcpy(&bits, &f, 4);
    uint16_t sign = bits >> 16 & 0x8000; bits &= 0x7fffffff;
    if (bits > 0x7f800000) return sign | 0x7e00;
    if (bits >= 0x477ff000) return sign | 0x7c00;
    if (bits < 0x38800000) {
        float magnitude; std::memcpy(&magnitude, &bits, 4);
        return sign | uint16_t(std::nearbyint(magnitude * 0x1p24f));
    }
    bits += 0xfff + (bits >> 13 & 1);
    return sign | uint16_t((bits - (112u << 23)) >> 13);
#endif
}

inline Lanes widen_lanes(const uint16_t *from) {
#if defined(__AVX512F__)
    return (Lanes)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
#elif defined(__F16C__)
    return (Lanes)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
#elif defined(__aarch64__)
    return (Lanes)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
#else
    Lanes v;
    for (long i = 0; i < LANES; i++) v[i] = widen(from[i]);
    return v;
#endif
}

// Sixteen sums of products.
struct Sums {
    Lanes part[16 / LANES] = {};

    void add(const Sums &v, float x) {
        UNROLLED
        for (long p = 0; p < 16 / LANES; p++) part[p] += v.part[p] * x;
    }

    void store_to(float *to, float times) const {
        UNROLLED
        for (long p = 0; p < 16 / LANES; p++) store(to + p * LANES, part[p] * times);
    }
};

inline Sums widen16(const uint16_t *from) {
    Sums v;
    UNROLLED
    for (long p = 0; p < 16 / LANES; p++) v.part[p] = widen_lanes(from + p * LANES);
    return v;
}

// e^x to 2 units in the last place; nought below -87, and x must not be above 88.
inline Lanes exponential(Lanes x) {
    Lanes low = spread(-87.0f);
    Ints alive = x > low;
    x = alive ? x : low;
    Lanes shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    Lanes r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Lanes p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    Ints power; std::memcpy(&power, &shifted, sizeof power);
    power = (power + (127 - 0x4b400000)) << 23;
    Lanes scale; std::memcpy(&scale, &power, sizeof scale);
    Lanes y = p * scale;
    return alive ? y : Lanes{};
}

}  // namespace

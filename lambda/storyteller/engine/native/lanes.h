// Sixteen floats at a time, in the vector types that GCC and Clang share.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

// Sixteen lanes whatever the machine has: the compiler makes one, two or four registers of it.
typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef int8_t Bytes __attribute__((vector_size(16)));

inline Lanes load(const float *from) { Lanes v; std::memcpy(&v, from, 64); return v; }
inline void store(float *to, Lanes v) { std::memcpy(to, &v, 64); }
inline Lanes spread(float x) { return x - Lanes{}; }

inline float total(const Lanes &v) {
    float a[16];
    store(a, v);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) a[i] += a[i + half];
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

inline Lanes widen16(const uint16_t *from) {
#if defined(__AVX512F__)
    return (Lanes)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
#elif defined(__F16C__)
    Lanes v;
    __m256 a = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
    __m256 b = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + 8)));
    std::memcpy(&v, &a, 32); std::memcpy((char *)&v + 32, &b, 32);
    return v;
#elif defined(__aarch64__)
    Lanes v;
    for (int i = 0; i < 4; i++) {
        float32x4_t part = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * i)));
        std::memcpy((char *)&v + 16 * i, &part, 16);
    }
    return v;
#else
    Lanes v;
    for (int i = 0; i < 16; i++) v[i] = widen(from[i]);
    return v;
#endif
}

// Sixteen sums of products. GCC keeps a vector that is wider than the registers in memory, which makes each product of
// the attention several times as long: with AVX2 they are two registers.
#if defined(__AVX2__) && !defined(__AVX512F__)
struct Sums {
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
};

inline Sums widen_sums(const uint16_t *from) {
    return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + 8)))};
}

inline void add_product(Sums &sums, const Sums &v, float x) {
    const __m256 all = _mm256_set1_ps(x);
    sums.low = _mm256_fmadd_ps(v.low, all, sums.low);
    sums.high = _mm256_fmadd_ps(v.high, all, sums.high);
}

inline Lanes lanes_of(const Sums &sums) { Lanes v; std::memcpy(&v, &sums, 64); return v; }
constexpr long MOST_HEADS = 4;  // whose sums sixteen registers hold
#else
typedef Lanes Sums;
inline Sums widen_sums(const uint16_t *from) { return widen16(from); }
inline void add_product(Sums &sums, const Sums &v, float x) { sums += v * x; }
inline Lanes lanes_of(const Sums &sums) { return sums; }
constexpr long MOST_HEADS = 8;
#endif

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
    Ints power; std::memcpy(&power, &shifted, 64);
    power = (power + (127 - 0x4b400000)) << 23;
    Lanes scale; std::memcpy(&scale, &power, 64);
    Lanes y = p * scale;
    return alive ? y : Lanes{};
}

}  // namespace

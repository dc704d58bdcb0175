// The arithmetic, in one source for every instruction set: compiled with VARIANT plain, avx2 or avx512.
// The layout of the weights is told in ../layout.py. No function here knows of threads.
#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

constexpr long GROUP = 32, ROWS = 8, GROUP_BYTES = 144, WEIGHT_BYTES = 128;

// Sixteen lanes whatever the machine has: the compiler makes one, two or four registers of it.
typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

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

void quantize(const float *x, long columns, int8_t *values, int64_t *offsets, float *scale, float *zero) {
    Lanes least = Lanes{}, most = Lanes{};
    for (long k = 0; k < columns; k += 16) {
        Lanes v = load(x + k);
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    float lo = 0, hi = 0;
    for (int i = 0; i < 16; i++) lo = std::min(lo, least[i]), hi = std::max(hi, most[i]);
    float steps = lo == hi ? 1.0f : 255.0f / (hi - lo);
    float low = lo * steps, high = hi * steps;
    float point = (-128.0f + low) + (127.0f + high) > 0 ? -128.0f - low : 127.0f - high;
    float nought = std::nearbyint(std::min(std::max(point, -128.0f), 127.0f));
    *scale = steps ? 1.0f / steps : 0.0f;
    *zero = -nought;
    // Adding 1.5 x 2^23 leaves the nearest whole number in the low bits, ties to even.
    for (long k = 0; k < columns; k += GROUP) {
        Ints sum = Ints{};
        for (long i = k; i < k + GROUP; i += 16) {
            Lanes v = load(x + i) * steps + 12582912.0f - 12582912.0f + nought;
            v = v < -128.0f ? spread(-128.0f) : v > 127.0f ? spread(127.0f) : v;
            Ints whole = __builtin_convertvector(v, Ints);
            sum += whole;
            for (int j = 0; j < 16; j++) values[i + j] = int8_t(whole[j]);
        }
        int32_t s = 0;
        for (int j = 0; j < 16; j++) s += sum[j];
        offsets[k / GROUP] = uint32_t(-8 * s);
    }
}

// Writes a slab's eight results for one row out of sixteen partial sums, two a result.
inline void finish(const float *sums16, const Quantized &x, long row, const uint8_t *tail, float *y, bool add) {
    const float *sums = (const float *)tail, *biases = sums + ROWS;
    for (int r = 0; r < ROWS; r++) {
        float v = (sums16[2 * r] + sums16[2 * r + 1] + x.zeros[row] * sums[r]) * x.scales[row] + biases[r];
        y[r] = add ? y[r] + v : v;
    }
}

// One row is as fast as memory. The processor fetches ahead by itself, but not across a page's border;
// measured on Zen 5, asking a page ahead gives 1.1 to 1.2 times the speed.
template <int N> inline void fetch_ahead(const uint8_t *at) {
    if (N == 1)
        for (long line = 0; line < GROUP_BYTES; line += 64) __builtin_prefetch(at + 4096 + line);
}

#if defined(__AVX512VNNI__)
template <int N>
void tile(const Quantized &x, long row, long columns, const uint8_t *slab, float *y, long stride, bool add) {
    const long groups = columns / GROUP;
    const __m512i low4 = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    // Lane 2r and 2r+1 both get row r's scale, as the upper half of a float.
    alignas(64) int8_t pick[64];
    for (int lane = 0; lane < 16; lane++)
        for (int b = 0; b < 4; b++) pick[lane * 4 + b] = b < 2 ? -128 : int8_t(lane / 2 * 2 + b - 2);
    const __m512i picks = _mm512_load_si512(pick);
    __m512 acc[N];
    for (int i = 0; i < N; i++) acc[i] = _mm512_setzero_ps();
    const int8_t *values = x.values + row * columns;
    const int64_t *offsets = x.offsets + row * groups;
    for (long g = 0; g < groups; g++) {
        const uint8_t *at = slab + g * GROUP_BYTES;
        fetch_ahead<N>(at);
        __m512i v0 = _mm512_loadu_si512(at), v1 = _mm512_loadu_si512(at + 64);
        __m512i a0 = _mm512_ternarylogic_epi32(v0, low4, eight, 0x6a);  // (v & 15) ^ 8: the weight plus 8
        __m512i a1 = _mm512_ternarylogic_epi32(v1, low4, eight, 0x6a);
        __m512i b0 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(v0, 4), low4, eight, 0x6a);
        __m512i b1 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(v1, 4), low4, eight, 0x6a);
        __m512 scale = _mm512_castsi512_ps(
            _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(at + WEIGHT_BYTES))), picks));
        for (int i = 0; i < N; i++) {
            const int64_t *from = (const int64_t *)(values + i * columns + g * GROUP);
            __m512i t = _mm512_set1_epi64(offsets[i * groups + g]);
            t = _mm512_dpbusd_epi32(t, a0, _mm512_set1_epi64(from[0]));
            t = _mm512_dpbusd_epi32(t, a1, _mm512_set1_epi64(from[1]));
            t = _mm512_dpbusd_epi32(t, b0, _mm512_set1_epi64(from[2]));
            t = _mm512_dpbusd_epi32(t, b1, _mm512_set1_epi64(from[3]));
            acc[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(t), scale, acc[i]);
        }
    }
    for (int i = 0; i < N; i++) {
        alignas(64) float sums[16];
        _mm512_store_ps(sums, acc[i]);
        finish(sums, x, row + i, slab + groups * GROUP_BYTES, y + i * stride, add);
    }
}
#elif defined(__AVX2__)
template <int N>
void tile(const Quantized &x, long row, long columns, const uint8_t *slab, float *y, long stride, bool add) {
    const long groups = columns / GROUP;
    const __m256i low4 = _mm256_set1_epi8(15), eight = _mm256_set1_epi8(8), ones = _mm256_set1_epi16(1);
    __m256i picks[2];
    for (int half = 0; half < 2; half++) {
        alignas(32) int8_t pick[32];
        for (int lane = 0; lane < 8; lane++)
            for (int b = 0; b < 4; b++) pick[lane * 4 + b] = b < 2 ? -128 : int8_t((half * 8 + lane) / 2 * 2 + b - 2);
        picks[half] = _mm256_load_si256((const __m256i *)pick);
    }
    __m256 acc[N][2];
    for (int i = 0; i < N; i++) acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    const int8_t *values = x.values + row * columns;
    const int64_t *offsets = x.offsets + row * groups;
    for (long g = 0; g < groups; g++) {
        const uint8_t *at = slab + g * GROUP_BYTES;
        fetch_ahead<N>(at);
        __m256i stored = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(at + WEIGHT_BYTES)));
        for (int half = 0; half < 2; half++) {
            __m256i v0 = _mm256_loadu_si256((const __m256i *)(at + 32 * half));
            __m256i v1 = _mm256_loadu_si256((const __m256i *)(at + 64 + 32 * half));
            __m256i a0 = _mm256_xor_si256(_mm256_and_si256(v0, low4), eight);
            __m256i a1 = _mm256_xor_si256(_mm256_and_si256(v1, low4), eight);
            __m256i b0 = _mm256_xor_si256(_mm256_and_si256(_mm256_srli_epi16(v0, 4), low4), eight);
            __m256i b1 = _mm256_xor_si256(_mm256_and_si256(_mm256_srli_epi16(v1, 4), low4), eight);
            __m256 scale = _mm256_castsi256_ps(_mm256_shuffle_epi8(stored, picks[half]));
            for (int i = 0; i < N; i++) {
                const int64_t *from = (const int64_t *)(values + i * columns + g * GROUP);
                // Four products of at most 15 x 128 x 2 fit sixteen bits.
                __m256i t = _mm256_maddubs_epi16(a0, _mm256_set1_epi64x(from[0]));
                t = _mm256_add_epi16(t, _mm256_maddubs_epi16(a1, _mm256_set1_epi64x(from[1])));
                t = _mm256_add_epi16(t, _mm256_maddubs_epi16(b0, _mm256_set1_epi64x(from[2])));
                t = _mm256_add_epi16(t, _mm256_maddubs_epi16(b1, _mm256_set1_epi64x(from[3])));
                __m256i whole = _mm256_add_epi32(_mm256_madd_epi16(t, ones), _mm256_set1_epi64x(offsets[i * groups + g]));
                acc[i][half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, acc[i][half]);
            }
        }
    }
    for (int i = 0; i < N; i++) {
        alignas(32) float sums[16];
        _mm256_store_ps(sums, acc[i][0]);
        _mm256_store_ps(sums + 8, acc[i][1]);
        finish(sums, x, row + i, slab + groups * GROUP_BYTES, y + i * stride, add);
    }
}
#else
template <int N>
void tile(const Quantized &x, long row, long columns, const uint8_t *slab, float *y, long stride, bool add) {
    const long groups = columns / GROUP;
    float acc[N][16] = {};
    for (long g = 0; g < groups; g++) {
        const uint8_t *at = slab + g * GROUP_BYTES;
        for (int lane = 0; lane < 16; lane++) {
            uint16_t stored;
            std::memcpy(&stored, at + WEIGHT_BYTES + lane / 2 * 2, 2);
            uint32_t bits = uint32_t(stored) << 16;
            float scale;
            std::memcpy(&scale, &bits, 4);
            for (int i = 0; i < N; i++) {
                const int8_t *from = x.values + (row + i) * columns + g * GROUP + lane % 2 * 4;
                int32_t sum = 0;
                for (int half = 0; half < 2; half++)
                    for (int b = 0; b < 4; b++) {
                        uint8_t pair = at[64 * half + 4 * lane + b];
                        sum += (int32_t((pair & 15) ^ 8) - 8) * from[8 * half + b];
                        sum += (int32_t((pair >> 4) ^ 8) - 8) * from[16 + 8 * half + b];
                    }
                acc[i][lane] = std::fma(float(sum), scale, acc[i][lane]);
            }
        }
    }
    for (int i = 0; i < N; i++) finish(acc[i], x, row + i, slab + groups * GROUP_BYTES, y + i * stride, add);
}
#endif

void matmul(const Quantized &x, long rows, long columns, const uint8_t *slab, float *y, long stride, bool add) {
    long row = 0;
    for (; row + 8 <= rows; row += 8) tile<8>(x, row, columns, slab, y + row * stride, stride, add);
    if (rows & 4) tile<4>(x, row, columns, slab, y + row * stride, stride, add), row += 4;
    if (rows & 2) tile<2>(x, row, columns, slab, y + row * stride, stride, add), row += 2;
    if (rows & 1) tile<1>(x, row, columns, slab, y + row * stride, stride, add);
}

void norm(const float *x, long width, const float *weight, float eps, float *y) {
    Lanes a = Lanes{}, b = Lanes{};
    for (long k = 0; k < width; k += 32) {
        Lanes u = load(x + k), v = load(x + k + 16);
        a += u * u, b += v * v;
    }
    float scale = 1.0f / std::sqrt(total(a + b) / float(width) + eps);
    for (long k = 0; k < width; k += 16) store(y + k, load(x + k) * scale * load(weight + k));
}

void swiglu(const float *gate_up, long hidden, float *y) {
    for (long k = 0; k < hidden; k += 16) {
        Lanes g = load(gate_up + k);
        Lanes bounded = g < -87.0f ? spread(-87.0f) : g;  // beyond it the result is nought to within a denormal
        store(y + k, g / (1.0f + exponential(-bounded)) * load(gate_up + hidden + k));
    }
}

inline void turn(const float *x, const float *cos, const float *sin, long dim, float scale, float *y) {
    for (long i = 0, half = dim / 2; i < half; i++) {
        y[i] = (x[i] * cos[i] - x[half + i] * sin[i]) * scale;
        y[half + i] = (x[half + i] * cos[i] + x[i] * sin[i]) * scale;
    }
}

void place(const Attention &a, long row) {
    const long dim = a.dim, at = a.start + row;
    const float *x = a.qkv + row * (a.heads + 2 * a.kv_heads) * dim;
    const float *cos = a.cos + row * dim / 2, *sin = a.sin + row * dim / 2;
    const float scale = 1.0f / std::sqrt(float(dim));
    for (long h = 0; h < a.heads; h++, x += dim) turn(x, cos, sin, dim, scale, a.queries + (row * a.heads + h) * dim);
    float turned[1024];
    for (long h = 0; h < a.kv_heads; h++, x += dim) {
        turn(x, cos, sin, dim, 1.0f, turned);
        uint16_t *to = a.keys + h * a.context * dim + at / 16 * dim * 16 + at % 16;
        for (long d = 0; d < dim; d++) to[d * 16] = narrow(turned[d]);
    }
    for (long h = 0; h < a.kv_heads; h++, x += dim) {
        uint16_t *to = a.values + (h * a.context + at) * dim;
        for (long d = 0; d < dim; d++) to[d] = narrow(x[d]);
    }
}

// N query heads that share one key head, at one position.
template <int N>
void attend_heads(const Attention &a, const float *q, long end, const uint16_t *keys, const uint16_t *values,
                  float *scores, float *out) {
    const long dim = a.dim, blocks = (end + 15) / 16, width = blocks * 16;
    Lanes most[N];
    for (int h = 0; h < N; h++) most[h] = spread(-INFINITY);
    for (long b = 0; b < blocks; b++) {
        Lanes acc[N] = {};
        const uint16_t *k = keys + b * dim * 16;
        for (long d = 0; d < dim; d++) {
            Lanes column = widen16(k + d * 16);
            for (int h = 0; h < N; h++) acc[h] += column * q[h * dim + d];
        }
        for (int h = 0; h < N; h++) {
            if (b == blocks - 1)
                for (long i = end - b * 16; i < 16; i++) acc[h][i] = -INFINITY;
            most[h] = acc[h] > most[h] ? acc[h] : most[h];
            store(scores + h * width + b * 16, acc[h]);
        }
    }
    float weight[N];
    for (int h = 0; h < N; h++) {
        float top = most[h][0];
        for (int i = 1; i < 16; i++) top = std::max(top, most[h][i]);
        Lanes sum = Lanes{};
        for (long b = 0; b < blocks; b++) {
            Lanes e = exponential(load(scores + h * width + b * 16) - top);
            sum += e;
            store(scores + h * width + b * 16, e);
        }
        weight[h] = 1.0f / total(sum);
    }
    for (long d = 0; d < dim; d += 16) {
        Lanes acc[N] = {};
        const uint16_t *v = values + d;
        for (long t = 0; t < end; t++) {
            Lanes row = widen16(v + t * dim);
            for (int h = 0; h < N; h++) acc[h] += row * scores[h * width + t];
        }
        for (int h = 0; h < N; h++) store(out + h * dim + d, acc[h] * weight[h]);
    }
}

void attend(const Attention &a, long row, long kv_head, float *scores) {
    const long dim = a.dim, group = a.heads / a.kv_heads, end = a.start + row + 1;
    const uint16_t *keys = a.keys + kv_head * a.context * dim, *values = a.values + kv_head * a.context * dim;
    long first = row * a.heads + kv_head * group, left = group;
    while (left) {
        const float *q = a.queries + first * dim;
        float *out = a.out + first * dim;
        long taken = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (taken == 8) attend_heads<8>(a, q, end, keys, values, scores, out);
        else if (taken == 4) attend_heads<4>(a, q, end, keys, values, scores, out);
        else if (taken == 2) attend_heads<2>(a, q, end, keys, values, scores, out);
        else attend_heads<1>(a, q, end, keys, values, scores, out);
        first += taken, left -= taken;
    }
}

}  // namespace

#define NAMED(variant) variant##_kernels
#define KERNELS(variant) NAMED(variant)
#define QUOTED(text) #text
#define NAME(text) QUOTED(text)
extern const Kernels KERNELS(VARIANT) = {NAME(VARIANT), quantize, matmul, norm, swiglu, place, attend};

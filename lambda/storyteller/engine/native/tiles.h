// A block of rows times a slab of packed weights, once for every instruction set. The layout of the weights is told in
// ../files/layout.py.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

// The most rows of a block, and whether weights are multiplied as 0..15 (x86's products want one side unsigned).
#if defined(__ARM_FEATURE_DOTPROD)
constexpr long WIDEST = 16;
constexpr bool UNSIGNED_WEIGHTS = false;
#else
constexpr long WIDEST = 8;
constexpr bool UNSIGNED_WEIGHTS = true;
#endif

// Writes a slab's eight results for one row out of sixteen partial sums, two a result: with what the zero point adds,
// and the bias.
inline void finish(const float *sums16, const Quantized &x, long row, const uint8_t *tail, float *y, bool add) {
    const float *sums = (const float *)tail, *biases = sums + ROWS;
    const float zero = x.zeros[row], scale = x.scales[row];
#if defined(__AVX2__)
    // Sums of neighbours come in the order 0 1 4 5 2 3 6 7.
    __m256 pairs = _mm256_hadd_ps(_mm256_loadu_ps(sums16), _mm256_loadu_ps(sums16 + 8));
    __m256 v = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(pairs), 0xd8));
    v = _mm256_fmadd_ps(_mm256_set1_ps(zero), _mm256_loadu_ps(sums), v);
    v = _mm256_fmadd_ps(v, _mm256_set1_ps(scale), _mm256_loadu_ps(biases));
    _mm256_storeu_ps(y, add ? _mm256_add_ps(_mm256_loadu_ps(y), v) : v);
#else
    for (long r = 0; r < ROWS; r++) {
        float v = (sums16[2 * r] + sums16[2 * r + 1] + zero * sums[r]) * scale + biases[r];
        y[r] = add ? y[r] + v : v;
    }
#endif
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
            const int64_t *from = (const int64_t *)(values + (g * N + i) * GROUP);
            __m512i t = _mm512_set1_epi64(offsets[g * N + i]);
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
    const __m256i low4 = _mm256_set1_epi8(15), eights = _mm256_set1_epi8(-0x78), ones = _mm256_set1_epi16(1);
    __m256i picks[2];
    for (int half = 0; half < 2; half++) {
        alignas(32) int8_t pick[32];
        for (int lane = 0; lane < 8; lane++)
            for (int b = 0; b < 4; b++) pick[lane * 4 + b] = b < 2 ? -128 : int8_t((half * 8 + lane) / 2 * 2 + b - 2);
        picks[half] = _mm256_load_si256((const __m256i *)pick);
    }
    // Sixteen registers hold no more than half of eight rows' sums.
    constexpr int HALVES = N > 4 ? 1 : 2;
    alignas(32) float sums[N][16];
    for (int first = 0; first < 2; first += HALVES) {
        __m256 acc[N][HALVES];
        for (int i = 0; i < N; i++)
            for (int h = 0; h < HALVES; h++) acc[i][h] = _mm256_setzero_ps();
        const int8_t *values = x.values + row * columns;
        const int64_t *offsets = x.offsets + row * groups;
        for (long g = 0; g < groups; g++, values += N * GROUP, offsets += N) {
            const uint8_t *at = slab + g * GROUP_BYTES;
            fetch_ahead<N>(at);
            __m256i stored = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(at + WEIGHT_BYTES)));
            for (int h = 0; h < HALVES; h++) {
                // Each weight plus 8.
                __m256i v0 = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(at + 32 * (first + h))), eights);
                __m256i v1 = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(at + 64 + 32 * (first + h))), eights);
                __m256i a0 = _mm256_and_si256(v0, low4), a1 = _mm256_and_si256(v1, low4);
                __m256i b0 = _mm256_and_si256(_mm256_srli_epi16(v0, 4), low4);
                __m256i b1 = _mm256_and_si256(_mm256_srli_epi16(v1, 4), low4);
                __m256 scale = _mm256_castsi256_ps(_mm256_shuffle_epi8(stored, picks[first + h]));
                for (int i = 0; i < N; i++) {
                    const int64_t *from = (const int64_t *)(values + i * GROUP);
                    // Four products of at most 15 x 128 x 2 fit sixteen bits.
                    __m256i t = _mm256_maddubs_epi16(a0, _mm256_set1_epi64x(from[0]));
                    t = _mm256_add_epi16(t, _mm256_maddubs_epi16(a1, _mm256_set1_epi64x(from[1])));
                    t = _mm256_add_epi16(t, _mm256_maddubs_epi16(b0, _mm256_set1_epi64x(from[2])));
                    t = _mm256_add_epi16(t, _mm256_maddubs_epi16(b1, _mm256_set1_epi64x(from[3])));
                    __m256i whole = _mm256_add_epi32(_mm256_madd_epi16(t, ones), _mm256_set1_epi64x(offsets[i]));
                    acc[i][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, acc[i][h]);
                }
            }
        }
        for (int i = 0; i < N; i++)
            for (int h = 0; h < HALVES; h++) _mm256_store_ps(sums[i] + 8 * (first + h), acc[i][h]);
    }
    for (int i = 0; i < N; i++) finish(sums[i], x, row + i, slab + groups * GROUP_BYTES, y + i * stride, add);
}
#elif defined(__ARM_FEATURE_DOTPROD)
// Holds a value in a register at this point. Compilers would begin many rows at once to hide the products' delay, which
// takes more registers than there are; the processor reorders by itself.
template <class V> inline void pin(V &v) { asm volatile("" : "+w"(v)); }

// The scales of four rows of a slab: each is the upper half of a float.
inline float32x4_t scales_of(const uint8_t *at, long quad) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t *)(at + WEIGHT_BYTES) + 4 * quad), 16));
}

// Four rows of a slab at once: their weights of 32 columns times sixteen, four columns of each row in a register.
// Stored are two rows of eight columns side by side, in each byte a column and the one sixteen further.
inline void decode(const uint8_t *at, int8x16_t *weights) {
    const uint8x16_t high4 = vdupq_n_u8(0xf0);
    for (int half = 0; half < 2; half++) {
        uint32x4_t upper = vreinterpretq_u32_u8(vld1q_u8(at + 64 * half));
        uint32x4_t lower = vreinterpretq_u32_u8(vld1q_u8(at + 64 * half + 16));
        uint8x16_t four = vreinterpretq_u8_u32(vuzp1q_u32(upper, lower)), next = vreinterpretq_u8_u32(vuzp2q_u32(upper, lower));
        weights[2 * half] = vreinterpretq_s8_u8(vshlq_n_u8(four, 4));
        weights[2 * half + 1] = vreinterpretq_s8_u8(vshlq_n_u8(next, 4));
        weights[2 * half + 4] = vreinterpretq_s8_u8(vandq_u8(four, high4));
        weights[2 * half + 5] = vreinterpretq_s8_u8(vandq_u8(next, high4));
    }
}

// The same for four rows of a slab out of their sums.
inline void finish4(float32x4_t sum, const Quantized &x, long row, const uint8_t *tail, long quad, float *y, bool add) {
    const float *weights = (const float *)tail + 4 * quad;
    float32x4_t v = vfmaq_n_f32(sum, vld1q_f32(weights), x.zeros[row]);
    v = vfmaq_n_f32(vld1q_f32(weights + ROWS), v, x.scales[row]);
    vst1q_f32(y + 4 * quad, add ? vaddq_f32(vld1q_f32(y + 4 * quad), v) : v);
}

template <int N>
void tile(const Quantized &x, long row, long columns, const uint8_t *slab, float *y, long stride, bool add) {
    const long groups = columns / GROUP;
    // Thirty-two registers hold the sums of sixteen rows, eight registers of weights and what else there is. One row
    // is as fast as memory, which is then read in one go.
    constexpr int QUADS = N == 1 ? 2 : 1;
    for (long first = 0; first < ROWS / 4; first += QUADS) {
        float32x4_t acc[N][QUADS];
        for (int i = 0; i < N; i++)
            for (int q = 0; q < QUADS; q++) acc[i][q] = vdupq_n_f32(0);
        const int8_t *values = x.values + row * columns;
        for (long g = 0; g < groups; g++, values += N * GROUP) {
            const uint8_t *at = slab + g * GROUP_BYTES;
            fetch_ahead<N>(at);
            UNROLLED
            for (int q = 0; q < QUADS; q++) {
                int8x16_t w[8];
                decode(at + 32 * (first + q), w);
                float32x4_t scale = scales_of(at, first + q);
                UNROLLED
                for (int i = 0; i < N; i++) {
                    int8x16_t a = vld1q_s8(values + i * GROUP), b = vld1q_s8(values + i * GROUP + 16);
                    int32x4_t t = vdupq_n_s32(0);
                    pin(a), pin(b);
                    t = vdotq_laneq_s32(t, w[0], a, 0);
                    t = vdotq_laneq_s32(t, w[1], a, 1);
                    t = vdotq_laneq_s32(t, w[2], a, 2);
                    t = vdotq_laneq_s32(t, w[3], a, 3);
                    t = vdotq_laneq_s32(t, w[4], b, 0);
                    t = vdotq_laneq_s32(t, w[5], b, 1);
                    t = vdotq_laneq_s32(t, w[6], b, 2);
                    t = vdotq_laneq_s32(t, w[7], b, 3);
                    acc[i][q] = vfmaq_f32(acc[i][q], vcvtq_n_f32_s32(t, 4), scale);  // a sixteenth: exact
                    pin(acc[i][q]);
                }
            }
        }
        const uint8_t *tail = slab + groups * GROUP_BYTES;
        for (int i = 0; i < N; i++)
            for (int q = 0; q < QUADS; q++) finish4(acc[i][q], x, row + i, tail, first + q, y + i * stride, add);
    }
}
#if defined(__ARM_FEATURE_MATMUL_INT8)
// Two rows of activations times two of the slab by one instruction. The sums are whole numbers and are added up in the
// same order, so every bit is as above.
template <int N>
    requires(N > 1)
void tile(const Quantized &x, long row, long columns, const uint8_t *slab, float *y, long stride, bool add) {
    const long groups = columns / GROUP;
    const uint8x16_t high4 = vdupq_n_u8(0xf0);
    for (long quad = 0; quad < ROWS / 4; quad++) {
        float32x4_t acc[N / 2][2];
        for (int i = 0; i < N / 2; i++) acc[i][0] = acc[i][1] = vdupq_n_f32(0);
        const int8_t *values = x.values + row * columns;
        for (long g = 0; g < groups; g++, values += N * GROUP) {
            const uint8_t *at = slab + g * GROUP_BYTES;
            int8x16_t w[2][4];
            for (int p = 0; p < 2; p++)
                for (int half = 0; half < 2; half++) {
                    uint8x16_t stored = vld1q_u8(at + 32 * quad + 16 * p + 64 * half);
                    w[p][half] = vreinterpretq_s8_u8(vshlq_n_u8(stored, 4));
                    w[p][half + 2] = vreinterpretq_s8_u8(vandq_u8(stored, high4));
                }
            float32x4_t four = scales_of(at, quad);
            float32x4_t scale[2] = {vcombine_f32(vget_low_f32(four), vget_low_f32(four)),
                                    vcombine_f32(vget_high_f32(four), vget_high_f32(four))};
            UNROLLED
            for (int i = 0; i < N / 2; i++) {
                int8x16_t pairs[4];
                for (int half = 0; half < 2; half++) {
                    int64x2_t one = vreinterpretq_s64_s8(vld1q_s8(values + i * 2 * GROUP + 16 * half));
                    int64x2_t other = vreinterpretq_s64_s8(vld1q_s8(values + i * 2 * GROUP + GROUP + 16 * half));
                    pairs[2 * half] = vreinterpretq_s8_s64(vzip1q_s64(one, other));
                    pairs[2 * half + 1] = vreinterpretq_s8_s64(vzip2q_s64(one, other));
                }
                for (int c = 0; c < 4; c++) pin(pairs[c]);
                for (int p = 0; p < 2; p++) {
                    int32x4_t t = vdupq_n_s32(0);
                    for (int c = 0; c < 4; c++) t = vmmlaq_s32(t, pairs[c], w[p][c]);
                    acc[i][p] = vfmaq_f32(acc[i][p], vcvtq_n_f32_s32(t, 4), scale[p]);
                    pin(acc[i][p]);
                }
            }
        }
        const uint8_t *tail = slab + groups * GROUP_BYTES;
        for (int i = 0; i < N / 2; i++) {
            float64x2_t upper = vreinterpretq_f64_f32(acc[i][0]), lower = vreinterpretq_f64_f32(acc[i][1]);
            finish4(vreinterpretq_f32_f64(vzip1q_f64(upper, lower)), x, row + 2 * i, tail, quad, y + 2 * i * stride, add);
            finish4(vreinterpretq_f32_f64(vzip2q_f64(upper, lower)), x, row + 2 * i + 1, tail, quad, y + (2 * i + 1) * stride, add);
        }
    }
}
#endif
#else
template <int N>
void tile(const Quantized &x, long row, long columns, const uint8_t *slab, float *y, long stride, bool add) {
    const long groups = columns / GROUP;
    float acc[N][16] = {};
    for (long g = 0; g < groups; g++) {
        const uint8_t *at = slab + g * GROUP_BYTES;
        for (int lane = 0; lane < 16; lane++) {
            const float scale = widen_bfloat16(at + WEIGHT_BYTES + lane / 2 * 2);
            for (int i = 0; i < N; i++) {
                const int8_t *from = x.values + row * columns + (g * N + i) * GROUP + lane % 2 * 4;
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

}  // namespace

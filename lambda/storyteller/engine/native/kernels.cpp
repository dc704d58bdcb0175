// The arithmetic, in one source for every instruction set: compiled with VARIANT plain, avx2, avx512, dotprod or i8mm.
// No function here knows of threads.
#include "kernels.h"

#include <algorithm>

#include "tiles.h"

namespace {

// `values` and `offsets` are the row's place in a block of `block` rows.
void quantize(const float *x, long columns, int8_t *values, int64_t *offsets, long block, float *scale, float *zero) {
    Lanes least = Lanes{}, most = Lanes{};
    for (long k = 0; k < columns; k += LANES) {
        Lanes v = load(x + k);
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    float lo = 0, hi = 0;
    for (long i = 0; i < LANES; i++) lo = std::min(lo, least[i]), hi = std::max(hi, most[i]);
    float steps = lo == hi ? 1.0f : 255.0f / (hi - lo);
    float low = lo * steps, high = hi * steps;
    float point = (-128.0f + low) + (127.0f + high) > 0 ? -128.0f - low : 127.0f - high;
    float nought = std::nearbyint(std::min(std::max(point, -128.0f), 127.0f));
    *scale = steps ? 1.0f / steps : 0.0f;
    *zero = -nought;
    // Adding 1.5 x 2^23 leaves the nearest whole number in the low bits, ties to even.
    for (long k = 0; k < columns; k += GROUP, values += block * GROUP, offsets += block) {
        Ints sum = Ints{};
        for (long i = 0; i < GROUP; i += LANES) {
            Lanes v = load(x + k + i) * steps + 12582912.0f - 12582912.0f + nought;
            v = v < -128.0f ? spread(-128.0f) : v > 127.0f ? spread(127.0f) : v;
            Ints whole = __builtin_convertvector(v, Ints);
            sum += whole;
            Bytes bytes = __builtin_convertvector(whole, Bytes);
            std::memcpy(values + i, &bytes, sizeof bytes);
        }
        if (!UNSIGNED_WEIGHTS) continue;
        int32_t s = 0;
        for (long j = 0; j < LANES; j++) s += sum[j];
        *offsets = uint32_t(-8 * s);
    }
}

void matmul(const Quantized &x, long rows, long columns, const uint8_t *slab, float *y, long stride, bool add) {
    for (long row = 0; row < rows;) {
        const long block = block_of(row, rows, WIDEST).rows;
        if constexpr (WIDEST == 16)
            if (block == 16) tile<16>(x, row, columns, slab, y + row * stride, stride, add);
        if (block == 8) tile<8>(x, row, columns, slab, y + row * stride, stride, add);
        if (block == 4) tile<4>(x, row, columns, slab, y + row * stride, stride, add);
        if (block == 2) tile<2>(x, row, columns, slab, y + row * stride, stride, add);
        if (block == 1) tile<1>(x, row, columns, slab, y + row * stride, stride, add);
        row += block;
    }
}

void norm(const float *x, long dim, const float *weight, float eps, float *y) {
    Lanes a = Lanes{}, b = Lanes{};
    for (long k = 0; k < dim; k += 2 * LANES) {
        Lanes u = load(x + k), v = load(x + k + LANES);
        a += u * u, b += v * v;
    }
    float scale = 1.0f / std::sqrt(total(a + b) / float(dim) + eps);
    for (long k = 0; k < dim; k += LANES) store(y + k, load(x + k) * scale * load(weight + k));
}

void swiglu(const float *gate_up, long intermediate, float *y) {
    for (long k = 0; k < intermediate; k += LANES) {
        Lanes g = load(gate_up + k);
        Lanes bounded = g < -87.0f ? spread(-87.0f) : g;  // beyond it the result is nought to within a denormal
        store(y + k, g / (1.0f + exponential(-bounded)) * load(gate_up + intermediate + k));
    }
}

inline void apply_rope(const float *x, const float *cos, const float *sin, long dim, float scale, float *y) {
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
    for (long h = 0; h < a.heads; h++, x += dim) apply_rope(x, cos, sin, dim, scale, a.queries + (row * a.heads + h) * dim);
    float rotated[1024];
    for (long h = 0; h < a.kv_heads; h++, x += dim) {
        apply_rope(x, cos, sin, dim, 1.0f, rotated);
        uint16_t *to = a.keys + h * a.context * dim + at / 16 * dim * 16 + at % 16;
        for (long d = 0; d < dim; d++) to[d * 16] = narrow(rotated[d]);
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
    for (long b = 0; b < blocks; b++) {
        Sums acc[N];
        const uint16_t *k = keys + b * dim * 16;
        for (long d = 0; d < dim; d++) {
            Sums column = widen16(k + d * 16);
            for (int h = 0; h < N; h++) acc[h].add(column, q[h * dim + d]);
        }
        for (int h = 0; h < N; h++) acc[h].store_to(scores + h * width + b * 16, 1.0f);
    }
    float weight[N];
    for (int h = 0; h < N; h++) {
        float *of = scores + h * width;
        for (long t = end; t < width; t++) of[t] = -INFINITY;
        Lanes most = load(of);
        for (long t = LANES; t < width; t += LANES) {
            Lanes v = load(of + t);
            most = v > most ? v : most;
        }
        float top = most[0];
        for (long i = 1; i < LANES; i++) top = std::max(top, most[i]);
        Lanes sum = Lanes{};
        for (long t = 0; t < width; t += LANES) {
            Lanes e = exponential(load(of + t) - top);
            sum += e;
            store(of + t, e);
        }
        weight[h] = 1.0f / total(sum);
    }
    for (long d = 0; d < dim; d += 16) {
        Sums acc[N];
        const uint16_t *v = values + d;
        for (long t = 0; t < end; t++) {
            Sums row = widen16(v + t * dim);
            for (int h = 0; h < N; h++) acc[h].add(row, scores[h * width + t]);
        }
        for (int h = 0; h < N; h++) acc[h].store_to(out + h * dim + d, weight[h]);
    }
}

void attend(const Attention &a, long row, long kv_head, float *scores) {
    const long dim = a.dim, group = a.heads / a.kv_heads, end = a.start + row + 1;
    const uint16_t *keys = a.keys + kv_head * a.context * dim, *values = a.values + kv_head * a.context * dim;
    long first = row * a.heads + kv_head * group, left = group;
    while (left) {
        const float *q = a.queries + first * dim;
        float *out = a.out + first * dim;
        long taken = left >= MOST_HEADS ? MOST_HEADS : left >= 4 ? 4 : left;
        if (taken == 8) attend_heads<8>(a, q, end, keys, values, scores, out);
        else if (taken == 4) attend_heads<4>(a, q, end, keys, values, scores, out);
        else if (taken == 3) attend_heads<3>(a, q, end, keys, values, scores, out);
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
extern const Kernels KERNELS(VARIANT) = {NAME(VARIANT), WIDEST, quantize, matmul, norm, swiglu, place, attend};

// What one build of the kernels (kernels.cpp, compiled once per instruction set) gives to engine.cpp.
// Every function computes a row of its result from that row's inputs alone, in an order that depends
// on nothing else: not on how many rows there are, nor on which thread has it. That is what lets a
// prompt be computed in chunks, reused or drafted ahead without one token changing.
#pragma once
#include <cstdint>
#include <cstring>

// The layout of packed weights (../files/layout.py): slabs of ROWS rows, each of GROUP columns' weights and scales after another,
// then the rows' sums and biases.
constexpr long GROUP = 32, ROWS = 8, WEIGHT_BYTES = 128, GROUP_BYTES = 144, TAIL_BYTES = 64;

static inline float widen_bfloat16(const uint8_t *stored) {
    uint16_t half;
    std::memcpy(&half, stored, 2);
    const uint32_t bits = uint32_t(half) << 16;
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
}

// Rows that are multiplied at once: sixteen (or as many as a build's registers hold), and of what is left eight, four ...
struct Block {
    long first, rows;
};

static inline Block block_of(long row, long rows, long widest) {
    Block block{row - row % widest, widest};
    while (block.first + block.rows > rows) block.rows /= 2;
    while (row >= block.first + block.rows) {
        block.first += block.rows;
        while (block.first + block.rows > rows) block.rows /= 2;
    }
    return block;
}

struct Quantized {            // activations, rounded to int8 by rows as KleidiAI does; a block's rows lie side by side
    const int8_t *values;     // of each block [columns / 32, rows of the block, 32]
    const int64_t *offsets;   // of each block [columns / 32, rows of the block]: -8 x the group's sum, in the low half
    const float *scales;      // [rows]: what one step is worth
    const float *zeros;       // [rows]: minus the value that stands for nought
};

struct Attention {
    const float *qkv;         // [rows, heads + 2 kv_heads, dim]
    const float *cos, *sin;   // [rows, dim / 2]
    uint16_t *keys;           // float16 [kv_heads, context / 16, dim, 16]: sixteen positions side by side
    uint16_t *values;         // float16 [kv_heads, context, dim]
    float *queries;           // scratch [rows, heads, dim]
    float *out;               // [rows, heads, dim]
    long start, heads, kv_heads, dim, context;
};

struct Kernels {
    const char *name;
    long widest;              // the most rows of a block
    void (*quantize)(const float *x, long columns, int8_t *values, int64_t *offsets, long block, float *scale, float *zero);
    void (*matmul)(const Quantized &x, long rows, long columns, const uint8_t *slab, float *y, long stride, bool add);
    void (*norm)(const float *x, long dim, const float *weight, float eps, float *y);
    void (*swiglu)(const float *gate_up, long intermediate, float *y);
    void (*place)(const Attention &a, long row);
    void (*attend)(const Attention &a, long row, long kv_head, float *scores);
};

extern const Kernels plain_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels, avx512_kernels;
#elif defined(__aarch64__)
extern const Kernels dotprod_kernels, i8mm_kernels;
#endif

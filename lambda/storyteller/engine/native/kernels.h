// What one build of the kernels (kernels.cpp, compiled once per instruction set) gives to engine.cpp.
// Every function computes a row of its result from that row's inputs alone, in an order that depends
// on nothing else: not on how many rows there are, nor on which thread has it. That is what lets a
// prompt be computed in chunks, reused or drafted ahead without one token changing.
#pragma once
#include <cstdint>

struct Quantized {            // activations, rounded to int8 by rows as KleidiAI does
    const int8_t *values;     // [rows, columns]
    const int64_t *offsets;   // [rows, columns / 32]: -8 x the sum of the group's values, in the low half
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
    void (*quantize)(const float *x, long columns, int8_t *values, int64_t *offsets, float *scale, float *zero);
    void (*matmul)(const Quantized &x, long rows, long columns, const uint8_t *slab, float *y, long stride, bool add);
    void (*norm)(const float *x, long dim, const float *weight, float eps, float *y);
    void (*swiglu)(const float *gate_up, long intermediate, float *y);
    void (*place)(const Attention &a, long row);
    void (*attend)(const Attention &a, long row, long kv_head, float *scores);
};

extern const Kernels plain_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels, avx512_kernels;
#endif

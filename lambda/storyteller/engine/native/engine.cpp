// The library's interface: C functions for ctypes, the choice of instruction set, and the threads.
// Pointers are trusted: ../native.py checks shapes before it calls. Of C++'s library only headers are
// used, so that the result needs none and a cross compiler need not build one.
#include "kernels.h"

#include <pthread.h>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

namespace {

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

class Guard {
  public:
    explicit Guard(pthread_mutex_t &mutex) : mutex_(mutex) { pthread_mutex_lock(&mutex_); }
    ~Guard() { pthread_mutex_unlock(&mutex_); }
    Guard(const Guard &) = delete;

  private:
    pthread_mutex_t &mutex_;
};

// Threads that take pieces of a job as they come free, so that a core shared with somebody else
// slows nobody down. Between jobs they look out for a short while, then sleep.
class Pool {
  public:
    void resize(int threads) {
        Guard guard(job_);
        stop();
        leaving_ = false;
        const int most = int(sizeof threads_ / sizeof *threads_);
        while (count_ < std::min(threads - 1, most) && !pthread_create(&threads_[count_], nullptr, begin, this)) count_++;
    }

    int size() const { return count_ + 1; }

    template <class Piece> void run(long pieces, const Piece &piece) {
        if (!count_ || pieces <= 1) {
            for (long i = 0; i < pieces; i++) piece(i);
            return;
        }
        call_ = [](const void *p, long i) { (*static_cast<const Piece *>(p))(i); };
        piece_ = &piece, pieces_ = pieces, next_ = 0, done_ = 0;
        open_ = true;
        wake();
        take();
        while (done_.load() < pieces) pause();
        open_ = false;
        while (inside_.load()) pause();  // nobody may still look at this job when the next is laid out
    }

    pthread_mutex_t job_ = PTHREAD_MUTEX_INITIALIZER;  // one job at a time

  private:
    static void *begin(void *pool) {
        static_cast<Pool *>(pool)->work();
        return nullptr;
    }

    void stop() {
        leaving_ = true;
        wake();
        while (count_) pthread_join(threads_[--count_], nullptr);
    }

    void wake() {
        epoch_.fetch_add(1);
        if (!sleeping_.load()) return;
        Guard guard(mutex_);
        pthread_cond_broadcast(&changed_);
    }

    void sleep(unsigned seen) {
        Guard guard(mutex_);
        sleeping_.fetch_add(1);  // before the look at the epoch, as `wake` changes it before its look here
        while (epoch_.load() == seen) pthread_cond_wait(&changed_, &mutex_);
        sleeping_.fetch_sub(1);
    }

    void take() {
        for (long i; (i = next_.fetch_add(1)) < pieces_;) {
            call_(piece_, i);
            done_.fetch_add(1);
        }
    }

    void work() {
        for (unsigned seen = epoch_.load(); !leaving_;) {
            for (int i = 0; i < 4000 && epoch_.load() == seen; i++) pause();
            if (epoch_.load() == seen) sleep(seen);
            seen = epoch_.load();
            inside_.fetch_add(1);
            if (open_.load() && !leaving_) take();
            inside_.fetch_sub(1);
        }
    }

    pthread_t threads_[255];
    int count_ = 0;
    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
    std::atomic<unsigned> epoch_{0};
    std::atomic<int> inside_{0}, sleeping_{0};
    std::atomic<bool> open_{false}, leaving_{false};
    std::atomic<long> next_{0}, done_{0};
    void (*call_)(const void *, long) = nullptr;
    const void *piece_ = nullptr;
    long pieces_ = 0;
};

// Never destroyed: a process may end while its threads sleep.
Pool pool;

// Memory that grows and stays, aligned to a cache line.
template <class T> struct Scratch {
    T *data = nullptr;
    size_t size = 0;
    T *at_least(size_t count) {
        if (count > size) {
            std::free(data);
            size = count + count / 2;
            data = static_cast<T *>(std::aligned_alloc(64, (size * sizeof(T) + 63) / 64 * 64));
        }
        return data;
    }
};

#if defined(__aarch64__) && defined(__linux__)
// What the kernel told the process, which Lambda does not hide as it hides the processor's folder.
bool has_dotprod() { return getauxval(AT_HWCAP) >> 20 & 1; }
bool has_i8mm() { return getauxval(AT_HWCAP2) >> 13 & 1; }
#elif defined(__aarch64__) && defined(__APPLE__)
bool has(const char *feature) {
    int found = 0;
    size_t size = sizeof found;
    return !sysctlbyname(feature, &found, &size, nullptr, 0) && found;
}
bool has_dotprod() { return has("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return has("hw.optional.arm.FEAT_I8MM"); }
#elif defined(__aarch64__)
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
#endif

const Kernels *choose(const char *wanted) {
    const Kernels *able[3];
    int count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        able[count++] = &avx512_kernels;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        able[count++] = &avx2_kernels;
#endif
#if defined(__aarch64__)
    if (has_i8mm()) able[count++] = &i8mm_kernels;
    if (has_dotprod()) able[count++] = &dotprod_kernels;
#endif
    able[count++] = &plain_kernels;
    if (!wanted) return able[0];
    for (int i = 0; i < count; i++)
        if (!std::strcmp(able[i]->name, wanted)) return able[i];
    return nullptr;
}

const Kernels *kernels = choose(nullptr);

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int overture_version() { return 3; }

const char *overture_kernels() { return kernels->name; }

// Takes another instruction set than the best one (for tests); 0 where this CPU has not got it.
int overture_choose(const char *name) {
    Guard guard(pool.job_);
    const Kernels *wanted = choose(name && *name ? name : nullptr);
    if (wanted) kernels = wanted;
    return wanted != nullptr;
}

void overture_threads(int count) { pool.resize(count < 1 ? 1 : count); }

// y[rows, outputs] (=, or += when `add`) x[rows, columns] times packed weights, and times what their rounding left
// where that was kept (else `residual` is null).
void overture_matmul(const float *x, long rows, long columns, const uint8_t *packed, const uint8_t *residual, long outputs,
                     float *y, int add) {
    Guard guard(pool.job_);
    static Scratch<int8_t> values;
    static Scratch<int64_t> offsets;
    static Scratch<float> scales, zeros;
    const long groups = columns / GROUP, slabs = outputs / ROWS, slab_bytes = groups * GROUP_BYTES + TAIL_BYTES;
    int8_t *v = values.at_least(rows * columns);
    int64_t *o = offsets.at_least(rows * groups);
    float *s = scales.at_least(rows), *z = zeros.at_least(rows);
    auto round = [&](long i) {
        const Block block = block_of(i, rows, kernels->widest);
        const long place = i - block.first;
        kernels->quantize(x + i * columns, columns, v + block.first * columns + place * GROUP, o + block.first * groups + place,
                          block.rows, s + i, z + i);
    };
    if (rows == 1) round(0);
    else pool.run(rows, round);
    const Quantized q{v, o, s, z};
    const long pieces = std::min(slabs, long(pool.size()) * 12);
    pool.run(pieces, [&](long piece) {
        for (long slab = slabs * piece / pieces, last = slabs * (piece + 1) / pieces; slab < last; slab++) {
            kernels->matmul(q, rows, columns, packed + slab * slab_bytes, y + slab * ROWS, outputs, add);
            if (residual) kernels->matmul(q, rows, columns, residual + slab * slab_bytes, y + slab * ROWS, outputs, true);
        }
    });
}

// What rounding each row of x[rows, columns] to int8, as overture_matmul does, takes away.
void overture_rest(const float *x, long rows, long columns, float *rest) {
    Guard guard(pool.job_);
    static Scratch<int8_t> values;
    static Scratch<int64_t> offsets;
    int8_t *v = values.at_least(columns);
    int64_t *o = offsets.at_least(columns / GROUP);
    for (long i = 0; i < rows; i++, x += columns, rest += columns) {
        float scale, zero;
        kernels->quantize(x, columns, v, o, 1, &scale, &zero);
        for (long k = 0; k < columns; k++) rest[k] = x[k] - (float(v[k]) + zero) * scale;
    }
}

// Single rows of packed weights: y[count, columns] (=, or += when `add`). Returns whether all of them are there.
int overture_unpack(const uint8_t *packed, long rows, const int64_t *ids, long count, long columns, float *y, int add) {
    for (long i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= rows) return 0;
    const long groups = columns / GROUP, slab_bytes = groups * GROUP_BYTES + TAIL_BYTES;
    for (long i = 0; i < count; i++)
        for (long g = 0; g < groups; g++, y += GROUP) {
            const uint8_t *at = packed + ids[i] / ROWS * slab_bytes + g * GROUP_BYTES;
            const long row = ids[i] % ROWS;
            const float scale = widen_bfloat16(at + WEIGHT_BYTES + 2 * row);
            for (long k = 0; k < 16; k++) {
                const uint8_t pair = at[64 * (k / 8) + 8 * row + k % 8];
                const float low = float(int((pair & 15) ^ 8) - 8) * scale, high = float(int((pair >> 4) ^ 8) - 8) * scale;
                y[k] = add ? y[k] + low : low;
                y[16 + k] = add ? y[16 + k] + high : high;
            }
        }
    return 1;
}

void overture_norm(const float *x, long rows, long dim, const float *weight, float eps, float *y) {
    Guard guard(pool.job_);
    auto row = [&](long i) { kernels->norm(x + i * dim, dim, weight, eps, y + i * dim); };
    if (rows < 8) for (long i = 0; i < rows; i++) row(i);
    else pool.run(rows, row);
}

void overture_swiglu(const float *gate_up, long rows, long intermediate, float *y) {
    Guard guard(pool.job_);
    auto row = [&](long i) { kernels->swiglu(gate_up + i * 2 * intermediate, intermediate, y + i * intermediate); };
    if (rows < 4) for (long i = 0; i < rows; i++) row(i);
    else pool.run(rows, row);
}

// Rotates queries and keys by their positions, puts keys and values into the cache, attends: out[rows, heads, dim].
void overture_attend(const float *qkv, long rows, long start, long heads, long kv_heads, long dim, const float *cos,
                     const float *sin, uint16_t *keys, uint16_t *values, long context, float *out) {
    Guard guard(pool.job_);
    static Scratch<float> queries, scores;
    const long room = 8 * ((start + rows + 15) / 16 * 16), jobs = rows * kv_heads;
    const long pieces = std::min(jobs, std::max(kv_heads, long(pool.size()) * 8));
    float *s = scores.at_least(room * pieces);
    const Attention a{qkv, cos, sin, keys, values, queries.at_least(rows * heads * dim), out, start, heads, kv_heads, dim, context};
    for (long row = 0; row < rows; row++) kernels->place(a, row);
    pool.run(pieces, [&](long piece) {
        for (long job = jobs * piece / pieces, last = jobs * (piece + 1) / pieces; job < last; job++)
            kernels->attend(a, job % rows, job / rows, s + room * piece);
    });
}

struct Matrix {
    const uint8_t *packed, *residual;
};

struct Layer {
    const float *attention_norm;
    Matrix qkv, out;
    const float *mlp_norm;
    Matrix gate_up, down;
};

// All layers at once, over x[rows, dim] in place: between two calls from Python a thread may lose its core.
void overture_layers(float *x, long rows, long start, const Layer *layers, long count, long dim, long intermediate, long heads,
                     long kv_heads, long head_dim, float eps, const float *cos, const float *sin, uint16_t *keys,
                     uint16_t *values, long context) {
    static pthread_mutex_t one_pass = PTHREAD_MUTEX_INITIALIZER;
    Guard guard(one_pass);
    static Scratch<float> normed, fused, gated;
    const long queries = heads * head_dim, qkv = queries + 2 * kv_heads * head_dim, cached = kv_heads * context * head_dim;
    float *n = normed.at_least(rows * dim), *f = fused.at_least(rows * std::max(qkv, 2 * intermediate));
    float *g = gated.at_least(rows * std::max(queries, intermediate));
    auto multiply = [rows](const float *from, long columns, const Matrix &by, long outputs, float *y, int add) {
        overture_matmul(from, rows, columns, by.packed, by.residual, outputs, y, add);
    };
    for (long i = 0; i < count; i++) {
        const Layer &layer = layers[i];
        overture_norm(x, rows, dim, layer.attention_norm, eps, n);
        multiply(n, dim, layer.qkv, qkv, f, 0);
        overture_attend(f, rows, start, heads, kv_heads, head_dim, cos, sin, keys + i * cached, values + i * cached, context, g);
        multiply(g, queries, layer.out, dim, x, 1);
        overture_norm(x, rows, dim, layer.mlp_norm, eps, n);
        multiply(n, dim, layer.gate_up, 2 * intermediate, f, 0);
        overture_swiglu(f, rows, intermediate, g);
        multiply(g, intermediate, layer.down, dim, x, 1);
    }
}
}  // extern "C"
#pragma GCC visibility pop

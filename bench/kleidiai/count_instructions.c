// A plugin for qemu's user-mode emulation: counts a program's instructions between marks that it sets itself.
//
// The program marks with system call 4242, which no kernel has: syscall(4242, 0) begins to count again,
// syscall(4242, 1) writes the count as a line of the file named by the plugin's argument out=FILE.
//
// Debian and Ubuntu ship qemu without its plugin header, so the few functions used are declared here. They are
// the same in every qemu since 4.2; the version of the interface is given at compile time, as qemu asks for it.
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MARK 4242
#define MOST_THREADS 1024

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
typedef void (*on_translated)(plugin_id, struct qemu_plugin_tb *);
typedef void (*on_executed)(unsigned int, void *);
typedef void (*on_syscall)(plugin_id, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                           uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translated);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_executed, int flags, void *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_syscall);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

EXPORT int qemu_plugin_version = INTERFACE;

static FILE *out;
static struct { uint64_t count, filling[7]; } threads[MOST_THREADS]; // a cache line each

static void executed(unsigned int thread, void *instructions) {
    threads[thread % MOST_THREADS].count += (uintptr_t)instructions;
}

// A block runs from its first instruction to its last, unless one of them faults; those are few.
static void translated(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void called(plugin_id id, unsigned int thread, int64_t number, uint64_t what, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)thread, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number != MARK) return;
    if (what == 0) {
        memset(threads, 0, sizeof threads);
        return;
    }
    uint64_t total = 0;
    for (int i = 0; i < MOST_THREADS; i++) total += threads[i].count;
    fprintf(out, "%" PRIu64 "\n", total);
    fflush(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *about, int count, char **arguments) {
    (void)about;
    for (int i = 0; i < count; i++)
        if (!strncmp(arguments[i], "out=", 4)) out = fopen(arguments[i] + 4, "w");
    if (!out) {
        fprintf(stderr, "The counting plugin needs out=FILE, a file that it may write.\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}

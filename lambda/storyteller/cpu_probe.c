/* The CPU probe's missing files, preloaded (LD_PRELOAD) before PyTorch.
 *
 * AWS Lambda on arm64 does not show /sys/devices/system/cpu. PyTorch's probe (pytorch/cpuinfo) reads two files
 * there, fails without them, and PyTorch then packs INT4 weights for a slow fallback instead of KleidiAI, without
 * a word (pytorch/cpuinfo#143). This answers those two opens, and only where they fail, with what the kernel
 * would say: the processors that are online. Everything else goes to the C library untouched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int opener(const char *path, int flags, ...);

static int is_wanted(const char *path) {
    return path && (strcmp(path, "/sys/devices/system/cpu/possible") == 0 ||
                    strcmp(path, "/sys/devices/system/cpu/present") == 0);
}

/* A file in memory that says "0-5\n" on six processors; -1 if there can be none. */
static int make_list(void) {
    char text[32];
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    int length = count > 1 ? snprintf(text, sizeof text, "0-%ld\n", count - 1) : snprintf(text, sizeof text, "0\n");
    int file = (int)syscall(SYS_memfd_create, "cpu", 1u /* MFD_CLOEXEC */);
    if (file < 0) return -1;
    if (write(file, text, (size_t)length) != length || lseek(file, 0, SEEK_SET) != 0) {
        close(file);
        return -1;
    }
    return file;
}

static int open_or_make(opener *real, const char *path, int flags, mode_t mode) {
    int file = real(path, flags, mode);
    if (file >= 0 || !is_wanted(path)) return file;
    int error = errno;
    file = make_list();
    if (file < 0) errno = error;
    return file;
}

#define INTERPOSE(name)                                                    \
    int name(const char *path, int flags, ...) {                          \
        static opener *real;                                              \
        mode_t mode = 0;                                                  \
        if (flags & (O_CREAT | O_TMPFILE)) {                              \
            va_list rest;                                                 \
            va_start(rest, flags);                                        \
            mode = va_arg(rest, mode_t);                                  \
            va_end(rest);                                                 \
        }                                                                 \
        if (!real) real = (opener *)dlsym(RTLD_NEXT, #name);              \
        return open_or_make(real, path, flags, mode);                     \
    }

INTERPOSE(open)
INTERPOSE(open64)

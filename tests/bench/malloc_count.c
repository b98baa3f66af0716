// SPDX-License-Identifier: Apache-2.0
// Preloaded into a program under test: counts its heap allocations by thread, in a file that others
// map too. The real heap does the work, nothing is printed, and counting costs an addition.
//
// MALLOC_COUNT_FILE names the file; it holds MALLOC_COUNT_THREADS records of two 64-bit integers in
// the machine's order: thread id (0: unused) and number of malloc, calloc, realloc and aligned
// allocations so far. Threads beyond that share the last record.

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MALLOC_COUNT_THREADS 256u

struct record {
    _Atomic int64_t tid;
    _Atomic uint64_t count;
};

// glibc's own entries: looking the next malloc up with dlsym would itself allocate.
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);

static struct record fallback[MALLOC_COUNT_THREADS];
static struct record *records = fallback;
static _Atomic uint32_t used;
static __thread struct record *mine __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void map_file(void)
{
    const char *const path = getenv("MALLOC_COUNT_FILE");
    int const fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0 || ftruncate(fd, sizeof(fallback)) < 0) {
        return;
    }
    void *const p = mmap(NULL, sizeof(fallback), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED) {
        // What was counted before belongs to the start of the program and is of no interest.
        records = p;
        mine = NULL;
        atomic_store(&used, 0);
    }
    (void)close(fd);
}

static void count(void)
{
    if (mine == NULL) {
        uint32_t const i = atomic_fetch_add(&used, 1);
        mine = &records[i < MALLOC_COUNT_THREADS ? i : MALLOC_COUNT_THREADS - 1];
        atomic_store(&mine->tid, (int64_t)syscall(SYS_gettid));
    }
    atomic_fetch_add_explicit(&mine->count, 1, memory_order_relaxed);
}

void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    count();
    return __libc_realloc(p, n);
}

void *memalign(size_t align, size_t n)
{
    count();
    return __libc_memalign(align, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}

int posix_memalign(void **ret, size_t align, size_t n)
{
    void *const p = memalign(align, n);
    if (p == NULL) {
        return ENOMEM;
    }
    *ret = p;
    return 0;
}

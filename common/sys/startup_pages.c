// SPDX-License-Identifier: Apache-2.0
#include "common/sys/startup_pages.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/mem.h"

struct startup_pages {
    struct loop_timer *timer;
};

// Only segments that are never written: what relocation wrote (RELRO lies in a writable segment) has no
// copy in the file.
static bool is_read_only(const ElfW(Phdr) * segment)
{
    return segment->p_type == PT_LOAD && (segment->p_flags & PF_W) == 0;
}

static bool has_text_relocations(const struct dl_phdr_info *object)
{
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        if (object->dlpi_phdr[i].p_type != PT_DYNAMIC) {
            continue;
        }
        const ElfW(Dyn) *d = (const ElfW(Dyn) *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
        for (; d->d_tag != DT_NULL; d++) {
            if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL))) {
                return true;
            }
        }
    }
    return false;
}

static int release_object(struct dl_phdr_info *object, size_t size, void *user)
{
    (void)size;
    (void)user;
    uintptr_t const page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (has_text_relocations(object)) {
        return 0;
    }
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *const segment = &object->dlpi_phdr[i];
        // A first or last page may be shared with the neighbouring segment's file content, never with
        // its mapping: the linker maps whole pages.
        uintptr_t const from = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t const to =
            (object->dlpi_addr + segment->p_vaddr + segment->p_memsz + page - 1) & ~(page - 1);
        if (is_read_only(segment)) {
            // Refused where pages are locked or of the kernel (vDSO): they stay, which is no harm.
            (void)madvise((void *)from, to - from, MADV_DONTNEED);
        }
    }
    return 0;
}

void startup_pages_release(void)
{
    (void)dl_iterate_phdr(release_object, NULL);
}

static void on_timer(void *user)
{
    (void)user;
    startup_pages_release();
}

struct startup_pages *startup_pages_new(struct loop *l)
{
    struct startup_pages *const s = NEW(struct startup_pages);
    if (s == NULL) {
        return NULL;
    }
    s->timer = loop_timer_new(l, on_timer, s);
    if (s->timer == NULL) {
        mem_free(s);
        return NULL;
    }
    loop_timer_set_ms(s->timer, STARTUP_PAGES_MS);
    return s;
}

void startup_pages_free(struct startup_pages *s)
{
    if (s != NULL) {
        loop_timer_free(s->timer);
        mem_free(s);
    }
}

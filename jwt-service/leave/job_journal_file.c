// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/job_journal_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"

// 100,000 jobs are about 25 MB; a file of this size is not ours.
#define READ_MAX (UINT64_C(1) << 30)

#define COPY_CHUNK (256u << 10)

struct job_file {
    int dir_fd;
    int lock_fd;
    int fd;
    uint64_t size; // behind the last frame
    bool tail;     // there may be something behind it
    char *path;
};

// ---- opening --------------------------------------------------------------------------------

static int fail(char err[static JOB_FILE_ERROR_MAX], const char *what, const char *path, int error)
{
    (void)snprintf(err, JOB_FILE_ERROR_MAX, "%s %s: %s", what, path, strerror(-error));
    return error;
}

static int lock(struct job_file *f, const char *dir, char err[static JOB_FILE_ERROR_MAX])
{
    char pid[32] = "";
    f->lock_fd = openat(f->dir_fd, "jobs.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->lock_fd < 0) {
        return fail(err, "cannot create jobs.lock in the state directory", dir, -errno);
    }
    if (flock(f->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        int const e = errno;
        if (e != EWOULDBLOCK) {
            return fail(err, "cannot lock jobs.lock in the state directory", dir, -e);
        }
        ssize_t const n = pread(f->lock_fd, pid, sizeof(pid) - 1, 0);
        pid[MAX(n, 0)] = '\0';
        pid[strspn(pid, "0123456789")] = '\0';
        (void)snprintf(err, JOB_FILE_ERROR_MAX,
                       "the state directory %s is in use by another process (%s)", dir,
                       pid[0] != '\0' ? pid : "?");
        return -EBUSY;
    }
    // For the message above only, so it does not matter if it fails.
    int const n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(f->lock_fd, 0) == 0) {
        (void)!pwrite(f->lock_fd, pid, (size_t)n, 0);
    }
    return 0;
}

static int open_all(struct job_file *f, const char *dir, char err[static JOB_FILE_ERROR_MAX])
{
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return fail(err, "cannot make the state directory", dir, -errno);
    }
    f->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0) {
        return fail(err, "cannot open the state directory", dir, -errno);
    }
    int const r = lock(f, dir, err);
    if (r != 0) {
        return r;
    }
    // Left by a process that died while it rewrote; the old file is whole.
    (void)unlinkat(f->dir_fd, "jobs.journal.new", 0);
    f->fd = openat(f->dir_fd, "jobs.journal", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->fd < 0 || fstat(f->fd, &st) != 0) {
        return fail(err, "cannot open", f->path, -errno);
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(err, "no regular file:", f->path, -EINVAL);
    }
    (void)fsync(f->dir_fd);
    f->size = (uint64_t)st.st_size;
    return 0;
}

int job_file_open(const char *dir, struct job_file **ret, char err[static JOB_FILE_ERROR_MAX])
{
    struct dynbuf path;
    struct job_file *const f = NEW(struct job_file);
    (void)snprintf(err, JOB_FILE_ERROR_MAX, "out of memory");
    if (f == NULL) {
        return -ENOMEM;
    }
    f->fd = -1;
    f->dir_fd = -1;
    f->lock_fd = -1;
    dynbuf_init(&path, 1u << 16);
    dynbuf_addf(&path, "%s/jobs.journal", dir);
    f->path = dynbuf_take_cstr(&path, NULL);
    int const r = f->path != NULL ? open_all(f, dir, err) : -ENOMEM;
    if (r != 0) {
        job_file_close(f);
        return r;
    }
    err[0] = '\0';
    *ret = f;
    return 0;
}

void job_file_close(struct job_file *f)
{
    if (f == NULL) {
        return;
    }
    int const fds[] = {f->fd, f->lock_fd, f->dir_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    mem_free(f->path);
    mem_free(f);
}

const char *job_file_path(const struct job_file *f)
{
    return f->path;
}

void job_file_set_size(struct job_file *f, uint64_t size)
{
    if (size < f->size || f->tail) {
        f->tail = ftruncate(f->fd, (off_t)size) != 0;
    }
    f->size = size;
}

uint64_t job_file_size(const struct job_file *f)
{
    return f->size;
}

// ---- reading --------------------------------------------------------------------------------

// Reads exactly n bytes at `at`. -ENODATA: the file ends before.
static int read_at(int fd, uint8_t *p, size_t n, uint64_t at)
{
    while (n > 0) {
        ssize_t const got = pread(fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? -errno : -ENODATA;
        }
        p += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return 0;
}

int job_file_read(struct job_file *f, uint8_t **ret, size_t *ret_n)
{
    if (f->size > READ_MAX) {
        return -EFBIG;
    }
    uint8_t *const p = mem_alloc((size_t)f->size);
    if (p == NULL) {
        return -ENOMEM;
    }
    int const r = read_at(f->fd, p, (size_t)f->size, 0);
    if (r != 0) {
        mem_free(p);
        return r;
    }
    *ret = p;
    *ret_n = (size_t)f->size;
    return 0;
}

// ---- writing --------------------------------------------------------------------------------

static int write_at(int fd, struct bytes data, uint64_t at)
{
    while (data.n > 0) {
        ssize_t const n = pwrite(fd, data.p, data.n, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        data = bytes_of(data.p + n, data.n - (size_t)n);
        at += (uint64_t)n;
    }
    return 0;
}

int job_file_append(struct job_file *f, struct bytes data, uint64_t *ret_offset)
{
    if (f->tail && ftruncate(f->fd, (off_t)f->size) != 0) {
        return -errno;
    }
    f->tail = true;
    int r = write_at(f->fd, data, f->size);
    if (r == 0 && fdatasync(f->fd) != 0) {
        r = -errno;
    }
    if (r != 0) {
        // Now if it can be done (a full disk gets its room back), else before the next write.
        f->tail = ftruncate(f->fd, (off_t)f->size) != 0;
        return r;
    }
    f->tail = false;
    *ret_offset = f->size;
    f->size += data.n;
    return 0;
}

// Copies n bytes between files.
static int copy(int from, uint64_t at, int to, uint64_t to_at, uint64_t n, uint8_t *chunk)
{
    while (n > 0) {
        size_t const part = (size_t)MIN(n, COPY_CHUNK);
        int r = read_at(from, chunk, part, at);
        if (r == 0) {
            r = write_at(to, bytes_of(chunk, part), to_at);
        }
        if (r != 0) {
            return r;
        }
        at += part;
        to_at += part;
        n -= part;
    }
    return 0;
}

// Copies all pieces to the new file, neighbours at once.
static int copy_pieces(struct job_file *f, int to, const struct job_piece *pieces, size_t count,
                       uint64_t *ret_size)
{
    uint64_t size = 0;
    uint8_t *const chunk = mem_alloc(COPY_CHUNK);
    int r = chunk != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < count;) {
        uint64_t const start = pieces[i].offset;
        uint64_t end = start;
        for (; i < count && pieces[i].offset == end; i++) {
            end += pieces[i].len;
        }
        r = copy(f->fd, start, to, size, end - start, chunk);
        size += end - start;
    }
    mem_free(chunk);
    *ret_size = size;
    return r;
}

int job_file_rewrite(struct job_file *f, struct job_piece *pieces, size_t count)
{
    uint64_t size = 0;
    int const to =
        openat(f->dir_fd, "jobs.journal.new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0) {
        return -errno;
    }
    int r = copy_pieces(f, to, pieces, count, &size);
    if (r == 0 && (fsync(to) != 0 ||
                   renameat(f->dir_fd, "jobs.journal.new", f->dir_fd, "jobs.journal") != 0)) {
        r = -errno;
    }
    if (r != 0) {
        (void)unlinkat(f->dir_fd, "jobs.journal.new", 0);
        (void)close(to);
        return r;
    }
    // Should the rename itself be lost in a crash, the old file is there, which holds the same jobs;
    // what is appended to the new one after this is safe only once the directory is.
    (void)fsync(f->dir_fd);
    (void)close(f->fd);
    f->fd = to;
    f->size = size;
    f->tail = false;
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        pieces[i].offset = at;
        at += pieces[i].len;
    }
    return 0;
}

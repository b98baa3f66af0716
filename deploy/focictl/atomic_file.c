// SPDX-License-Identifier: Apache-2.0
#include "deploy/focictl/atomic_file.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "common/sys/random.h"

#define LOCK_POLL_MS 20
#define MODE_NEW 0600

struct atomic_file {
    char path[PATH_MAX];
    char temp[NAME_MAX + 1]; // of this process, in the folder
    const char *name;        // in path
    int folder;
};

// The path without links. Of a file that is not there yet its folder is looked up.
static int resolve(const char *path, char ret[static PATH_MAX])
{
    if (realpath(path, ret) != NULL) {
        return 0;
    }
    const char *const slash = strrchr(path, '/');
    const char *const name = slash != NULL ? slash + 1 : path;
    char folder[PATH_MAX];
    if (errno != ENOENT) {
        return -errno;
    }
    // "/x" is in "/", "x" in ".".
    size_t const n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    int const len = snprintf(folder, sizeof(folder), "%.*s", (int)n, path);
    if (*name == '\0' || len < 0 || (size_t)len >= sizeof(folder)) {
        return *name == '\0' ? -EISDIR : -ENAMETOOLONG;
    }
    if (realpath(n > 0 ? folder : ".", ret) == NULL) {
        return -errno;
    }
    size_t const at = strlen(ret);
    int const more = snprintf(ret + at, PATH_MAX - at, "%s%s", ret[at - 1] == '/' ? "" : "/", name);
    return more < 0 || (size_t)more >= PATH_MAX - at ? -ENAMETOOLONG : 0;
}

static int lock(int folder)
{
    mono_t const end = mono_add_ms(clock_mono(), ATOMIC_FILE_LOCK_MS);
    while (flock(folder, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return -errno;
        }
        if (mono_reached(end, clock_mono())) {
            return -EBUSY;
        }
        (void)poll(NULL, 0, LOCK_POLL_MS);
    }
    return 0;
}

int atomic_file_open(const char *path, struct atomic_file **ret)
{
    CLEANUP(atomic_file_close) struct atomic_file *f = NEW(struct atomic_file);
    if (f == NULL) {
        return -ENOMEM;
    }
    f->folder = -1;
    int const rc = resolve(path, f->path);
    if (rc < 0) {
        return rc;
    }
    char *const slash = strrchr(f->path, '/');
    f->name = slash + 1;
    *slash = '\0';
    f->folder = open(slash == f->path ? "/" : f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *slash = '/';
    int const locked = f->folder < 0 ? -errno : lock(f->folder);
    if (locked < 0) {
        return locked;
    }
    *ret = STEAL(f);
    return 0;
}

void atomic_file_close(struct atomic_file *f)
{
    if (f == NULL) {
        return;
    }
    if (f->folder >= 0) {
        (void)close(f->folder); // which unlocks
    }
    mem_free(f);
}

const char *atomic_file_path(const struct atomic_file *f)
{
    return f->path;
}

// ---- replacing ------------------------------------------------------------------------------

static int write_all(int fd, struct bytes content)
{
    while (content.n > 0) {
        ssize_t const n = write(fd, content.p, content.n);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        size_t const done = n > 0 ? (size_t)n : 0;
        content = bytes_of(content.p + done, content.n - done);
    }
    return 0;
}

// The new file shall be readable by the same as the old one.
static int copy_rights(const struct atomic_file *f, int fd)
{
    struct stat old;
    struct stat new;
    if (fstatat(f->folder, f->name, &old, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : -errno; // it was made with MODE_NEW
    }
    if (!S_ISREG(old.st_mode)) {
        return -EINVAL;
    }
    if (fstat(fd, &new) < 0) {
        return -errno;
    }
    bool const other_owner = old.st_uid != new.st_uid || old.st_gid != new.st_gid;
    if ((other_owner && fchown(fd, old.st_uid, old.st_gid) < 0) ||
        fchmod(fd, old.st_mode & 07777u) < 0) {
        return -errno;
    }
    return 0;
}

static int put_in_place(struct atomic_file *f, int fd, struct bytes content)
{
    int rc = copy_rights(f, fd); // while it is empty
    rc = rc < 0 ? rc : write_all(fd, content);
    if (rc == 0 && fsync(fd) < 0) {
        rc = -errno;
    }
    if (rc == 0 && renameat(f->folder, f->temp, f->folder, f->name) < 0) {
        rc = -errno;
    }
    return rc;
}

int atomic_file_replace(struct atomic_file *f, struct bytes content)
{
    (void)snprintf(f->temp, sizeof(f->temp), ".%.200s.%016llx", f->name,
                   (unsigned long long)rand_u64());
    int const fd =
        openat(f->folder, f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, MODE_NEW);
    if (fd < 0) {
        return -errno;
    }
    int rc = put_in_place(f, fd, content);
    if (close(fd) < 0 && rc == 0) {
        rc = -errno;
    }
    if (rc < 0) {
        (void)unlinkat(f->folder, f->temp, 0);
        return rc;
    }
    return fsync(f->folder) < 0 ? -errno : 0; // the name as well
}

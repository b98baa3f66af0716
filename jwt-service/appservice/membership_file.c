// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/appservice/membership_file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/jsonx.h"

#define LINE_MAX_ 8192 // four identifiers of 1 KiB, escaped

void membership_file_add(struct dynbuf *out, const struct membership_record *r)
{
    CLEANUP(jsonx_free) struct jsonx *j = jsonx_new_object();
    size_t n = 0;
    char *text = NULL;
    if (j && jsonx_set_cstr(j, "room_id", r->room_id) == 0 &&
        jsonx_set_cstr(j, "user_id", r->user_id) == 0 && jsonx_set_cstr(j, "room", r->room) == 0 &&
        jsonx_set_cstr(j, "identity", r->identity) == 0 &&
        jsonx_set_int(j, "expires", r->expires_s) == 0) {
        text = jsonx_dump(j, 0, &n);
    }
    if (!text) {
        out->err = true;
        return;
    }
    dynbuf_add(out, bytes_of(text, n));
    dynbuf_add_u8(out, '\n');
    mem_free(text);
}

static bool read_line(struct bytes line, wall_t now,
                      void (*fn)(void *user, const struct membership_record *r), void *user)
{
    struct jsonx_limits const limits = {.max_bytes = LINE_MAX_, .max_depth = 1};
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    struct membership_record r;
    if (jsonx_parse(line, &limits, &j) < 0 || jsonx_get_cstr(j, "room_id", &r.room_id) < 0 ||
        jsonx_get_cstr(j, "user_id", &r.user_id) < 0 || jsonx_get_cstr(j, "room", &r.room) < 0 ||
        jsonx_get_cstr(j, "identity", &r.identity) < 0 ||
        jsonx_get_int(j, "expires", &r.expires_s) < 0) {
        return false;
    }
    if (r.expires_s > now.us / US_PER_S) {
        fn(user, &r);
    }
    return true;
}

size_t membership_file_parse(struct bytes text, wall_t now,
                             void (*fn)(void *user, const struct membership_record *r), void *user)
{
    size_t bad = 0;
    while (text.n > 0) {
        const uint8_t *const end = memchr(text.p, '\n', text.n);
        size_t const n = end ? (size_t)(end - text.p) : text.n;
        struct bytes const line = bytes_of(text.p, n);
        size_t const step = MIN(n + 1, text.n);
        text = bytes_of(text.p + step, text.n - step);
        bad += line.n > 0 && !read_line(line, now, fn, user);
    }
    return bad;
}

static int write_all(int fd, struct bytes text)
{
    while (text.n > 0) {
        ssize_t const n = write(fd, text.p, text.n);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        text = bytes_of(text.p + n, text.n - (size_t)n);
    }
    return 0;
}

int membership_file_save(const char *path, struct bytes text)
{
    char other[PATH_MAX];
    int const len = snprintf(other, sizeof(other), "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof(other)) {
        return -ENAMETOOLONG;
    }
    int const fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    int r = write_all(fd, text);
    if (r == 0 && fsync(fd) < 0) { // or a power cut leaves an empty file under the name
        r = -errno;
    }
    if (close(fd) < 0 && r == 0) {
        r = -errno;
    }
    if (r == 0 && rename(other, path) < 0) {
        r = -errno;
    }
    if (r < 0) {
        (void)unlink(other);
    }
    return r;
}

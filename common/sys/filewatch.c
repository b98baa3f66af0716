// SPDX-License-Identifier: Apache-2.0
#include "common/sys/filewatch.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

// Folders, links and the file on one way; a longer one is watched as far as this goes.
#define PLACES_MAX 48
#define LINKS_MAX 40 // as the kernel's own limit (path_resolution(7))
#define TRIES_MAX 8  // of a way that changes while we go along it

// What makes a name in a folder mean something else. A file that is made and closed before we could
// watch it shows in its folder only.
#define NAME_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define ENTRY_EVENTS (NAME_EVENTS | IN_CLOSE_WRITE)
// What changes a file itself. Watched on the file, not on its folder: so writes to other files in
// it do not wake us, and one by another name (a hard link, a bind mount) is seen.
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB)
// A folder on the way is renamed or removed.
#define SELF_EVENTS (IN_MOVE_SELF | IN_DELETE_SELF)

// One thing that is watched for the sake of one name. The kernel gives one number for one inode, so
// several places may share it.
struct place {
    int wd;
    char name[NAME_MAX + 1]; // in a folder: what we look for; "" the thing itself
};

// Who is at work on the file, as far as events tell.
enum writer {
    WRITER_NONE,
    WRITER_CREATED, // the name is new: by open(2), or complete by link(2)
    WRITER_WRITES,  // has written and not closed
};

struct filewatch {
    struct loop *loop;
    struct loop_poll *poll;
    struct loop_timer *timer;
    int fd;
    char *path;
    void (*fn)(void *user);
    void *user;
    struct place places[PLACES_MAX];
    size_t place_count;
    mono_t first; // of the changes that are not told yet; MONO_NEVER
    enum writer writer;
};

// ---- the way to the file --------------------------------------------------------------------

// -ENOENT: it was there a moment ago.
static int watch(struct filewatch *w, const char *what, const char *name, uint32_t events)
{
    if (w->place_count == PLACES_MAX) {
        return 0;
    }
    // IN_MASK_ADD: a folder may be watched for one name and for itself.
    int const wd = inotify_add_watch(w->fd, what, events | IN_MASK_ADD);
    if (wd < 0) {
        return errno == EACCES ? 0 : -errno; // not ours to look at: neither can we read it
    }
    struct place *const p = &w->places[w->place_count++];
    p->wd = wd;
    (void)snprintf(p->name, sizeof(p->name), "%s", name);
    return 0;
}

// A walk along a path: `at` is a folder without links in it, `rest` what is to come.
struct walk {
    char at[PATH_MAX];
    char rest[PATH_MAX];
    char name[NAME_MAX + 1];
    char full[PATH_MAX]; // at/name
    char link[PATH_MAX];
    char joined[PATH_MAX];
    unsigned links;
};

// Takes the next name off the rest. False at the end, or where a path is too long to exist.
static bool next_name(struct walk *k)
{
    size_t const skip = strspn(k->rest, "/");
    size_t const n = strcspn(k->rest + skip, "/");
    if (n == 0 || n >= sizeof(k->name)) {
        return false;
    }
    memcpy(k->name, k->rest + skip, n);
    k->name[n] = '\0';
    memmove(k->rest, k->rest + skip + n, strlen(k->rest + skip + n) + 1);
    const char *const slash = strcmp(k->at, "/") == 0 ? "" : "/";
    int const len = snprintf(k->full, sizeof(k->full), "%s%s%s", k->at, slash, k->name);
    return len > 0 && (size_t)len < sizeof(k->full);
}

// Puts what a link says in front of the rest.
static bool follow(struct walk *k)
{
    ssize_t const n = readlink(k->full, k->link, sizeof(k->link) - 1);
    if (n <= 0 || ++k->links > LINKS_MAX) {
        return false;
    }
    k->link[n] = '\0';
    int const len = snprintf(k->joined, sizeof(k->joined), "%s/%s", k->link, k->rest);
    if (len < 0 || (size_t)len >= sizeof(k->joined)) {
        return false;
    }
    memcpy(k->rest, k->joined, (size_t)len + 1);
    if (k->link[0] == '/') {
        memcpy(k->at, "/", 2);
    }
    return true;
}

// Watches one step of the way. False at its end; *last is then what was found there, zero if
// nothing.
static bool step(struct filewatch *w, struct walk *k, struct stat *last, int *rc)
{
    *last = (struct stat){0};
    if (lstat(k->full, last) < 0 || !S_ISDIR(last->st_mode)) {
        // Watch, then look: what happens between is told.
        *rc = watch(w, k->at, k->name, ENTRY_EVENTS);
        if (*rc < 0 || lstat(k->full, last) < 0) {
            return false;
        }
    }
    if (S_ISLNK(last->st_mode)) {
        return follow(k);
    }
    if (!S_ISDIR(last->st_mode)) {
        *rc = watch(w, k->full, "", FILE_EVENTS);
        return false;
    }
    memcpy(k->at, k->full, sizeof(k->at));
    bool const dots = strcmp(k->name, ".") == 0 || strcmp(k->name, "..") == 0;
    *rc = dots ? 0 : watch(w, k->at, "", SELF_EVENTS);
    return *rc == 0;
}

static void forget(struct filewatch *w)
{
    for (size_t i = 0; i < w->place_count; i++) {
        // The kernel may have dropped it already, with its inode.
        (void)inotify_rm_watch(w->fd, w->places[i].wd);
    }
    w->place_count = 0;
}

// Watches the present way anew. The file is read after this, so no change falls between. *last: see
// step.
static int look_up(struct filewatch *w, struct stat *last)
{
    struct walk *const k = NEW(struct walk);
    if (k == NULL) {
        return -ENOMEM;
    }
    int rc = -ENOENT;
    for (unsigned tries = 0; rc == -ENOENT && tries < TRIES_MAX; tries++) {
        forget(w);
        *k = (struct walk){.at = "."};
        rc = 0;
        if (w->path[0] == '/') {
            k->at[0] = '/';
        }
        (void)snprintf(k->rest, sizeof(k->rest), "%s", w->path);
        while (next_name(k) && step(w, k, last, &rc)) {
        }
    }
    mem_free(k);
    return rc == -ENOENT ? 0 : rc;
}

// ---- events ---------------------------------------------------------------------------------

// One event for one of our places. True if a name on the way means something else now.
static bool note(struct filewatch *w, uint32_t mask)
{
    if (mask & IN_CREATE) {
        w->writer = WRITER_CREATED;
    } else if (mask & IN_MODIFY) {
        w->writer = WRITER_WRITES;
    } else if (mask & ~(uint32_t)IN_ATTRIB) {
        w->writer = WRITER_NONE; // closed, or something whole has taken the place
    }
    return (mask & (NAME_EVENTS | SELF_EVENTS | IN_IGNORED | IN_UNMOUNT)) != 0;
}

struct news {
    bool any;
    bool way; // has to be looked up anew
};

static void note_event(struct filewatch *w, const struct inotify_event *e, const char *name,
                       struct news *news)
{
    if (e->mask & IN_Q_OVERFLOW) { // anything may have happened
        news->any = true;
        news->way = true;
        return;
    }
    for (size_t i = 0; i < w->place_count; i++) {
        if (w->places[i].wd == e->wd && strcmp(w->places[i].name, name) == 0) {
            news->any = true;
            news->way |= note(w, e->mask);
        }
    }
}

static void read_events(struct filewatch *w, struct news *news)
{
    // inotify(7): aligned for the structure, and room for one event with the longest name at least.
    union {
        struct inotify_event align;
        char bytes[4096];
    } buf;
    ssize_t n = 0;
    while ((n = read(w->fd, buf.bytes, sizeof(buf.bytes))) > 0) {
        for (size_t at = 0; at < (size_t)n;) {
            struct inotify_event e;
            memcpy(&e, buf.bytes + at, sizeof(e));
            const char *const name = e.len > 0 ? buf.bytes + at + sizeof(e) : "";
            note_event(w, &e, name, news);
            at += sizeof(e) + e.len;
        }
    }
}

static void tell_later(struct filewatch *w, int64_t ms)
{
    mono_t const now = loop_now(w->loop);
    if (mono_is_never(w->first)) {
        w->first = now;
    }
    mono_t const latest = mono_add_ms(w->first, FILEWATCH_MAX_DELAY_MS);
    loop_timer_set(w->timer, mono_min(mono_add_ms(now, ms), latest));
}

static void on_events(void *user, unsigned events)
{
    struct filewatch *const w = user;
    struct news news = {0};
    (void)events;
    read_events(w, &news);
    if (news.way) {
        struct stat last = {0};
        // A limit that is reached now leaves a part unwatched; the next change tries again.
        (void)!look_up(w, &last);
        if (w->writer == WRITER_CREATED && (!S_ISREG(last.st_mode) || last.st_nlink > 1)) {
            w->writer = WRITER_NONE; // nobody opens to write what is there now
        }
    }
    if (news.any) {
        tell_later(w, w->writer == WRITER_NONE ? FILEWATCH_SETTLE_MS : FILEWATCH_OPEN_WRITER_MS);
    }
}

static void on_timer(void *user)
{
    struct filewatch *const w = user;
    w->first = MONO_NEVER;
    w->writer = WRITER_NONE;
    w->fn(w->user); // may free w
}

// ---- lifecycle ------------------------------------------------------------------------------

int filewatch_new(struct loop *l, const char *path, void (*fn)(void *user), void *user,
                  struct filewatch **ret)
{
    if (strlen(path) >= PATH_MAX) {
        return -ENAMETOOLONG;
    }
    CLEANUP(filewatch_free) struct filewatch *w = NEW(struct filewatch);
    if (w == NULL) {
        return -ENOMEM;
    }
    *w = (struct filewatch){.loop = l, .fd = -1, .fn = fn, .user = user, .first = MONO_NEVER};
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        return -errno;
    }
    w->path = mem_strdup(path);
    w->poll = loop_poll_new(l, w->fd, on_events, w);
    w->timer = loop_timer_new(l, on_timer, w);
    struct stat last;
    int const rc = w->path && w->poll && w->timer ? look_up(w, &last) : -ENOMEM;
    if (rc < 0) {
        return rc;
    }
    loop_poll_set(w->poll, LOOP_READ);
    *ret = STEAL(w);
    return 0;
}

void filewatch_free(struct filewatch *w)
{
    if (w == NULL) {
        return;
    }
    if (w->poll != NULL) {
        loop_poll_free(w->poll);
    }
    if (w->timer != NULL) {
        loop_timer_free(w->timer);
    }
    if (w->fd >= 0) {
        (void)close(w->fd);
    }
    mem_free(w->path);
    mem_free(w);
}

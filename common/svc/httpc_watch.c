// SPDX-License-Identifier: Apache-2.0
// The sockets that libcurl wants watched. It says "no longer" when a call ends and "again" when the
// next one takes the kept connection; doing that each time would be half of a call's system calls.
// So a connection stays watched for reading until it is closed, or until something comes while
// nobody asked for it.
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/httpc_internal.h"

struct httpc_watch {
    struct httpc *owner;
    struct loop_poll *poll; // NULL: never wanted so far
    int fd;
    bool ours;       // we are told when it is closed
    unsigned wanted; // by libcurl
    unsigned polled;
};

static struct httpc_watch **slot(struct httpc *h, int fd)
{
    if (fd < 0) {
        return NULL;
    }
    if ((size_t)fd >= h->watch_count) {
        size_t const n = ((size_t)fd + 64) & ~(size_t)63;
        struct httpc_watch **const w = mem_regrow(h->watches, n, sizeof(*w));
        if (w == NULL) {
            return NULL;
        }
        memset(w + h->watch_count, 0, (n - h->watch_count) * sizeof(struct httpc_watch *));
        h->watches = w;
        h->watch_count = n;
    }
    return &h->watches[fd];
}

static struct httpc_watch *watch_of(struct httpc *h, int fd)
{
    struct httpc_watch **const s = slot(h, fd);
    if (s != NULL && *s == NULL) {
        *s = NEW(struct httpc_watch);
        if (*s != NULL) {
            **s = (struct httpc_watch){.owner = h, .fd = fd};
        }
    }
    return s != NULL ? *s : NULL;
}

static void drop(struct httpc *h, int fd)
{
    if (fd >= 0 && (size_t)fd < h->watch_count && h->watches[fd] != NULL) {
        loop_poll_free(h->watches[fd]->poll);
        mem_free(h->watches[fd]);
        h->watches[fd] = NULL;
    }
}

static void poll_for(struct httpc_watch *w, unsigned events)
{
    w->polled = events;
    loop_poll_set(w->poll, events);
}

static void on_poll(void *user, unsigned events)
{
    struct httpc_watch *const w = user;
    if (w->wanted == 0) {
        poll_for(w, 0); // libcurl looks at it before it uses the connection again
        return;
    }
    if (loop_turn_is_long(w->owner->loop)) {
        return; // it will be reported again
    }
    int bits = 0;
    bits |= (events & LOOP_READ) ? CURL_CSELECT_IN : 0;
    bits |= (events & LOOP_WRITE) ? CURL_CSELECT_OUT : 0;
    httpc_socket_action(w->owner, w->fd, bits); // w may be gone afterwards
}

bool httpc_watch_opened(struct httpc *h, int fd)
{
    struct httpc_watch *const w = watch_of(h, fd);
    if (w != NULL) {
        w->ours = true;
    }
    return w != NULL;
}

int httpc_watch_close(void *user, curl_socket_t fd)
{
    drop(user, fd);
    return close(fd);
}

int httpc_watch_wanted(CURL *easy, curl_socket_t fd, int what, void *user, void *watched)
{
    (void)easy;
    (void)watched;
    struct httpc *const h = user;
    struct httpc_watch *const w = watch_of(h, fd);
    if (w == NULL) {
        return what == CURL_POLL_REMOVE ? 0 : -1; // the call fails
    }
    if (what == CURL_POLL_REMOVE) {
        w->wanted = 0;
        if (!w->ours) { // the resolver's: closed without a word
            drop(h, fd);
        } else if (w->polled & LOOP_WRITE) {
            poll_for(w, 0);
        }
        return 0;
    }
    if (w->poll == NULL) {
        w->poll = loop_poll_new(h->loop, fd, on_poll, w);
        if (w->poll == NULL) {
            return -1;
        }
    }
    w->wanted = 0;
    w->wanted |= (what & CURL_POLL_IN) ? LOOP_READ : 0u;
    w->wanted |= (what & CURL_POLL_OUT) ? LOOP_WRITE : 0u;
    if (w->polled != w->wanted) {
        poll_for(w, w->wanted);
    }
    return 0;
}

void httpc_watch_done(struct httpc *h)
{
    for (size_t fd = 0; fd < h->watch_count; fd++) {
        drop(h, (int)fd);
    }
    mem_free(h->watches);
    h->watches = NULL;
    h->watch_count = 0;
}

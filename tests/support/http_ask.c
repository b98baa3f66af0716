// SPDX-License-Identifier: Apache-2.0
#include "tests/support/http_ask.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sys/clock.h"
#include "common/sys/udp.h"

#define DEADLINE_MS 20000

static void send_all(struct loop *l, int fd, struct bytes data, mono_t end)
{
    size_t at = 0;
    while (at < data.n && mono_before(clock_mono(), end)) {
        ssize_t const n = send(fd, data.p + at, data.n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            return; // answered and closed already
        }
        at += n > 0 ? (size_t)n : 0;
        loop_run_once(l, 0);
    }
}

// True if head and body are complete.
static bool complete(struct dynbuf *in, bool no_body)
{
    const char *const text = dynbuf_cstr(in);
    const char *const head_end = text != NULL ? strstr(text, "\r\n\r\n") : NULL;
    if (head_end == NULL) {
        return false;
    }
    size_t body = 0;
    const char *const len = strcasestr(text, "\r\nContent-Length: ");
    if (len != NULL && len < head_end) {
        for (const char *p = len + 18; *p >= '0' && *p <= '9'; p++) {
            body = body * 10 + (size_t)(*p - '0');
        }
    }
    return no_body || in->n >= (size_t)(head_end + 4 - text) + body;
}

void http_ask(struct loop *l, const struct addr *to, struct bytes request, struct dynbuf *out)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    struct sockaddr_storage ss = {0};
    socklen_t const len = addr_to_sockaddr(to, (struct sockaddr *)&ss, sizeof(ss));
    int const fd = socket(ss.ss_family, SOCK_STREAM, 0);
    bool const head = request.n > 4 && memcmp(request.p, "HEAD", 4) == 0;
    bool done = fd < 0 || connect(fd, (struct sockaddr *)&ss, len) != 0;
    if (!done) {
        send_all(l, fd, request, end);
    }
    while (!done && mono_before(clock_mono(), end)) {
        uint8_t buf[4096];
        ssize_t const n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n > 0) {
            dynbuf_add(out, bytes_of(buf, (size_t)n));
        } else {
            done = n == 0 || errno != EAGAIN || complete(out, head);
            loop_run_once(l, done ? 0 : 10);
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

unsigned http_ask_status(struct bytes answer)
{
    unsigned v = 0;
    if (answer.n < 12 || memcmp(answer.p, "HTTP/1.", 7) != 0) {
        return 0;
    }
    for (size_t i = 9; i < 12; i++) {
        v = v * 10 + (unsigned)(answer.p[i] - '0');
    }
    return v;
}

const char *http_ask_body(struct dynbuf *answer)
{
    const char *const text = dynbuf_cstr(answer);
    const char *const at = text != NULL ? strstr(text, "\r\n\r\n") : NULL;
    return at != NULL ? at + 4 : "";
}

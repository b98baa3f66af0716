// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// A homeserver's answer to a delayed event call: a digit for the action, three for the status, a
// Retry-After header up to the end of the line, the body. The line is also taken as a delay id.
#include <stdint.h>
#include <stdlib.h>

#include "jwt-service/leave/delayed_event_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ids(const char *id)
{
    static const char base[] = "https://h";
    struct dynbuf b;
    dynbuf_init(&b, 4096);
    if (delayed_event_url(base, id, DELAYED_EVENT_SEND, false, id, &b) == 0) {
        const char *const url = dynbuf_cstr(&b);
        unsigned slashes = 0;
        unsigned marks = 0;
        for (const char *p = url; p && *p; p++) {
            slashes += *p == '/';
            marks += *p == '?' || *p == '#' || *p == '&';
            if (*p <= 0x20 || *p == 0x7f) {
                abort();
            }
        }
        // Two of the scheme, five of the path, those before id and action; one mark begins the query.
        if (!url || slashes != 9 || marks != 1) {
            abort();
        }
    }
    dynbuf_done(&b);
}

static void answers(enum delayed_event_action action, const struct delayed_event_http *a)
{
    wall_t const now = {INT64_C(1784802645) * US_PER_S};
    struct delayed_event_class const c = delayed_event_classify(action, now, a);
    bool const waits = c.verdict == DELAYED_EVENT_RETRY_AFTER ||
                       c.verdict == DELAYED_EVENT_REFUSED ||
                       c.verdict == DELAYED_EVENT_UNAUTHENTICATED;
    if (waits ? c.wait_ms < DELAYED_EVENT_WAIT_MIN_MS || c.wait_ms > DELAYED_EVENT_WAIT_MAX_MS
              : c.wait_ms != 0) {
        abort();
    }
    if ((c.verdict == DELAYED_EVENT_GONE && action == DELAYED_EVENT_SEND) ||
        c.limited != (a->status == 429) || c.verdict == DELAYED_EVENT_NO_URL) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd r = rd_init(bytes_of(data, size));
    char line[300];
    char room[DELAYED_EVENT_ROOM_MAX + 1];
    size_t n = 0;
    unsigned status = 0;
    enum delayed_event_action const action = (enum delayed_event_action)(rd_u8(&r) % 3u);
    for (int i = 0; i < 3; i++) {
        status = status * 10 + rd_u8(&r) % 16u;
    }
    while (rd_left(&r) > 0 && n < sizeof(line) - 1) {
        uint8_t const c = rd_u8(&r);
        if (c == '\n') {
            break;
        }
        line[n++] = (char)c;
    }
    line[n] = '\0';
    struct delayed_event_http const a = {
        .status = status, .body = rd_rest(&r), .retry_after = n > 0 ? line : NULL};
    answers(action, &a);
    ids(line);
    if (delayed_event_room(a.body, room) == 0 && (!*room || strlen(room) > sizeof(room) - 1)) {
        abort();
    }
    if (delayed_event_delay_ms(a.body) < 0) {
        abort();
    }
    (void)delayed_event_says_not_found(a.body);
    return 0;
}

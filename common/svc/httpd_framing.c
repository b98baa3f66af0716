// SPDX-License-Identifier: Apache-2.0
#include "common/svc/httpd_framing.h"

#include <microhttpd.h>
#include <string.h>
#include <strings.h>

struct seen {
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    bool bad;
};

// RFC 9110, 5.6.2.
static bool is_token(const char *p, size_t n)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < n; i++) {
        bool const letter = (p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'z';
        bool const digit = p[i] >= '0' && p[i] <= '9';
        if (!letter && !digit && (p[i] == '\0' || strchr(others, p[i]) == NULL)) {
            return false;
        }
    }
    return n > 0;
}

static bool is(const char *p, size_t n, const char *text)
{
    return n == strlen(text) && strncasecmp(p, text, n) == 0;
}

// No control characters: some servers end a line at a bare CR.
static bool is_text(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (((uint8_t)p[i] < ' ' && p[i] != '\t') || p[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static size_t without_space(const char *p, size_t n)
{
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t')) {
        n--;
    }
    return n;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_n,
                                 const char *value, size_t value_n)
{
    struct seen *const s = cls;
    size_t const n = value != NULL ? without_space(value, value_n) : 0;
    (void)kind;
    s->bad = s->bad || !is_token(key, key_n) || !is_text(value, n);
    if (is(key, key_n, "Host")) {
        s->hosts++;
    } else if (is(key, key_n, "Content-Length")) {
        s->lengths++;
        s->bad = s->bad || n == 0 || strspn(value, "0123456789") < n;
    } else if (is(key, key_n, "Transfer-Encoding")) {
        s->codings++;
        s->bad = s->bad || !is(value != NULL ? value : "", n, "chunked");
    }
    return MHD_YES;
}

bool httpd_framing_ok(struct MHD_Connection *conn, const char *version)
{
    struct seen s = {0};
    bool const old = strcmp(version, MHD_HTTP_VERSION_1_1) != 0;
    (void)MHD_get_connection_values_n(conn, MHD_HEADER_KIND, on_header, &s);
    return !s.bad && s.lengths + s.codings <= 1 && !(old && s.codings > 0) &&
           (s.hosts == 1 || (old && s.hosts == 0));
}

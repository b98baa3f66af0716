// SPDX-License-Identifier: Apache-2.0
#include "sfu/sfu_webhooks.h"

#include <strings.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"

// ---- events ---------------------------------------------------------------------------------

// As written in a list of settings, or in the filter of a URL.
static int add_event(const struct sfu_config *c, size_t item, struct bytes name,
                     struct sfu_events *to, char *err)
{
    // livekit-protocol 7.3.
    static const char *const known[SFU_EVENTS_MAX] = {"room_started",
                                                      "room_finished",
                                                      "participant_joined",
                                                      "participant_left",
                                                      "participant_connection_aborted",
                                                      "track_published",
                                                      "track_unpublished"};
    size_t k = 0;
    while (k < ARRAY_LEN(known) && !bytes_eq_str(name, known[k])) {
        k++;
    }
    if (k == ARRAY_LEN(known)) {
        return conf_fail(c->conf, item, err,
                         "\"%.*s\" is no event of this server (room_started, room_finished, "
                         "participant_joined, participant_left, "
                         "participant_connection_aborted, track_published, track_unpublished)",
                         (int)MIN(name.n, (size_t)100), (const char *)name.p);
    }
    if (to->count == SFU_EVENTS_MAX) {
        return conf_fail(c->conf, item, err, "names events twice");
    }
    to->names[to->count++] = known[k];
    return 0;
}

static int load_events(const struct sfu_config *c, enum sfu_item item, struct sfu_events *to,
                       char *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < conf_list_len(c->conf, item); i++) {
        rc = add_event(c, item, bytes_str(conf_list_at(c->conf, item, i)), to, err);
    }
    return rc;
}

// The part of a URL behind '#': include=a+b or exclude=a+b.
static int read_filter(const struct sfu_config *c, size_t item, const char *text,
                       struct sfu_webhook *w, char *err)
{
    bool const include = strncmp(text, "include=", 8) == 0;
    if (!include && strncmp(text, "exclude=", 8) != 0) {
        return conf_fail(c->conf, item, err,
                         "\"#%s\" behind a URL is no choice of events; write "
                         "#include=room_started+room_finished or #exclude=track_published",
                         text);
    }
    int rc = 0;
    for (const char *at = text + 8; rc == 0;) {
        size_t const n = strcspn(at, "+");
        rc = add_event(c, item, bytes_of(at, n), include ? &w->include : &w->exclude, err);
        at += n;
        if (*at == 0) {
            break;
        }
        at++;
    }
    return rc;
}

// ---- URLs -----------------------------------------------------------------------------------

static bool starts_with(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_http_url(const char *url)
{
    bool const http = starts_with(url, "http://");
    bool const https = starts_with(url, "https://");
    const char *const host = url + (https ? 8 : 7);
    return (http || https) && *host != 0 && *host != '/' && *host != ':' && *host != '#' &&
           !strpbrk(url, " \"<>");
}

// The URL with path behind it, unless it is there already. NULL: too long, or no memory.
static char *join(struct bytes url, const char *path)
{
    size_t n = url.n;
    size_t const tail = strlen(path);
    while (tail > 0 && n > 0 && url.p[n - 1] == '/') {
        n--;
    }
    bool const whole = n >= tail && memcmp(url.p + n - tail, path, tail) == 0;
    struct dynbuf b;
    dynbuf_init(&b, 8192);
    dynbuf_add(&b, bytes_of(url.p, n));
    dynbuf_add_str(&b, whole ? "" : path);
    char *const text = dynbuf_take_cstr(&b, &n);
    dynbuf_done(&b);
    return text;
}

static int add_webhook(struct sfu_config *c, size_t item, const char *url, const char *path,
                       const struct sfu_webhook *defaults, char *err)
{
    if (!is_http_url(url)) {
        return conf_fail(c->conf, item, err,
                         "\"%s\" is no http:// or https:// URL; write the whole address", url);
    }
    size_t const n = strcspn(url, "#");
    struct sfu_webhook w = {0};
    if (url[n] == '#') {
        int const rc = read_filter(c, item, url + n + 1, &w, err);
        if (rc < 0) {
            return rc;
        }
    } else if (defaults != NULL) {
        w = *defaults;
    }
    w.url = join(bytes_of(url, n), path);
    if (w.url == NULL) {
        return conf_fail(c->conf, item, err, "is too long");
    }
    for (size_t i = 0; i < c->webhook_count; i++) {
        if (strcmp(c->webhooks[i].url, w.url) != 0) {
            continue;
        }
        mem_free(w.url); // named twice, told once
        return url[n] == '#' ? conf_fail(c->conf, item, err,
                                         "names \"%.*s\" twice; write all its events in one place",
                                         (int)n, url)
                             : 0;
    }
    c->webhooks[c->webhook_count++] = w;
    c->auth_hook = item == SFU_AUTH_SERVICE;
    return 0;
}

int sfu_webhooks_load(struct sfu_config *c, char err[static CONF_ERROR_MAX])
{
    struct sfu_webhook defaults = {0};
    size_t const n = conf_list_len(c->conf, SFU_WEBHOOK_URLS);
    if (n > SFU_WEBHOOKS_MAX) {
        return conf_fail(c->conf, SFU_WEBHOOK_URLS, err, "names %zu URLs, at most %d are possible",
                         n, SFU_WEBHOOKS_MAX);
    }
    int rc = load_events(c, SFU_WEBHOOK_INCLUDE, &defaults.include, err);
    rc = rc == 0 ? load_events(c, SFU_WEBHOOK_EXCLUDE, &defaults.exclude, err) : rc;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = add_webhook(c, SFU_WEBHOOK_URLS, conf_list_at(c->conf, SFU_WEBHOOK_URLS, i), "",
                         &defaults, err);
    }
    if (rc == 0 && conf_has(c->conf, SFU_AUTH_SERVICE)) {
        // authorization-service 1.10.
        rc = add_webhook(c, SFU_AUTH_SERVICE, conf_str(c->conf, SFU_AUTH_SERVICE), "/sfu_webhook",
                         NULL, err);
    }
    const char *const key = conf_str(c->conf, SFU_WEBHOOK_API_KEY);
    if (rc == 0 && *key != 0 && api_keys_find(c->keys, bytes_str(key), clock_wall()) == NULL) {
        return conf_fail(c->conf, SFU_WEBHOOK_API_KEY, err,
                         "\"%s\" is none of the keys of this server; name one of them, or leave it "
                         "out",
                         key);
    }
    return rc;
}

void sfu_webhooks_done(struct sfu_config *c)
{
    for (size_t i = 0; i < c->webhook_count; i++) {
        mem_free(c->webhooks[i].url);
    }
    c->webhook_count = 0;
}

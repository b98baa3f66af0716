// SPDX-License-Identifier: Apache-2.0
#include "deploy/focictl/key_edit.h"

#include <stdio.h>

#include "common/base/utc.h"

#define LINE_MAX_BYTES KEY_FILE_MAX

// The next line without its end; *text goes on behind it.
static struct bytes next_line(struct bytes *text)
{
    const uint8_t *const nl = memchr(text->p, '\n', text->n);
    size_t const n = nl ? (size_t)(nl - text->p) : text->n;
    size_t const step = nl ? n + 1 : n;
    struct bytes const line = bytes_of(text->p, n);
    *text = bytes_of(text->p + step, text->n - step);
    return n > 0 && line.p[n - 1] == '\r' ? bytes_of(line.p, n - 1) : line;
}

// The set of one line, empty if it is a comment. The lines of a file that was read as a whole are
// good one by one. NULL without memory.
static struct api_keys *set_of(struct bytes line)
{
    CLEANUP(api_keys_free) struct api_keys *k = api_keys_new();
    unsigned no = 0;
    if (!k || api_keys_parse(k, line, &no) == -ENOMEM) {
        return NULL;
    }
    return STEAL(k);
}

static void add_line(struct dynbuf *out, struct bytes line)
{
    dynbuf_add(out, line);
    dynbuf_add_u8(out, '\n');
}

// The spaces in front: all pairs of a YAML map stand in one column.
static struct bytes indent_of(struct bytes line)
{
    size_t n = 0;
    while (n < line.n && line.p[n] == ' ') {
        n++;
    }
    return bytes_of(line.p, n);
}

static void add_new_key(const struct key_rotation *r, struct bytes indent, wall_t signs,
                        struct dynbuf *out)
{
    char added[UTC_STRLEN];
    char from[UTC_STRLEN];
    dynbuf_add(out, indent);
    dynbuf_addf(out, "%s: %s # added %s", r->key, r->secret, utc_format(r->now, added));
    if (r->delay_s > 0) {
        dynbuf_addf(out, ", signs %s", utc_format(signs, from));
    }
    dynbuf_add_u8(out, '\n');
}

// The line with one more word pair in its comment, of which the last counts. -ENOMEM.
static int add_retiring_line(struct bytes line, wall_t retires, struct dynbuf *out)
{
    static const char *const joints[] = {", ", " # "}; // behind a comment, or to begin one
    char when[UTC_STRLEN];
    struct dynbuf b;
    bool done = false;
    (void)utc_format(retires, when);
    dynbuf_init(&b, LINE_MAX_BYTES + 64);
    for (size_t i = 0; i < ARRAY_LEN(joints) && !done; i++) {
        dynbuf_reset(&b);
        dynbuf_add(&b, line);
        dynbuf_addf(&b, "%sretires %s", joints[i], when);
        CLEANUP(api_keys_free) struct api_keys *k = set_of(dynbuf_view(&b));
        done = k && api_keys_count(k) == 1 && api_keys_first(k)->retires.us == retires.us;
    }
    if (done) {
        add_line(out, dynbuf_view(&b));
    }
    if (b.p) {
        explicit_bzero(b.p, b.n);
    }
    dynbuf_done(&b);
    return done ? 0 : -ENOMEM;
}

// What is done with one pair of the old file.
static int add_old_key(const struct key_rotation *r, struct bytes line, const struct api_key *k,
                       struct dynbuf *out, struct key_rotation_report *report)
{
    if (k->retires.us <= r->now.us - KEY_EDIT_FORGET_S * US_PER_S) {
        report->removed++;
        return 0;
    }
    if (report->old[0] != '\0' || api_key_is_retired(k, r->now)) {
        add_line(out, line);
        return 0;
    }
    (void)snprintf(report->old, sizeof(report->old), "%s", k->key);
    if (k->retires.us <= report->retires.us) {
        report->retires = k->retires;
        add_line(out, line);
        return 0;
    }
    return add_retiring_line(line, report->retires, out);
}

// A moment of the file, which has whole seconds: rounded up, so that an overlap is never shorter
// than it was asked for.
static wall_t whole_second(wall_t now, int64_t more_s)
{
    int64_t const s = (now.us + US_PER_S - 1) / US_PER_S;
    return (wall_t){(s + more_s) * US_PER_S};
}

static int rewrite(struct bytes text, const struct key_rotation *r, struct dynbuf *out,
                   struct key_rotation_report *report)
{
    bool first = true;
    while (text.n > 0) {
        struct bytes const line = next_line(&text);
        CLEANUP(api_keys_free) struct api_keys *k = set_of(line);
        int rc = k ? 0 : -ENOMEM;
        if (rc == 0 && api_keys_count(k) == 0) {
            add_line(out, line);
            continue;
        }
        if (rc == 0 && first) {
            add_new_key(r, indent_of(line), report->signs, out);
            first = false;
        }
        rc = rc < 0 ? rc : add_old_key(r, line, api_keys_first(k), out, report);
        if (rc < 0) {
            return rc;
        }
    }
    return dynbuf_ok(out) ? 0 : -ENOMEM;
}

// The old text must be a key file, but all its keys may be retired: a new one repairs that. So it
// is looked at as of 1970.
static int check_old(struct bytes text, const struct key_rotation *r, struct key_file_error *e)
{
    CLEANUP(api_keys_free) struct api_keys *k = NULL;
    int const rc = key_file_parse(text, (wall_t){0}, &k, e);
    if (rc == 0 && api_keys_find(k, bytes_str(r->key), (wall_t){0})) {
        *e = (struct key_file_error){.text = "has a key of that name already"};
        return -EINVAL;
    }
    return rc;
}

int key_edit_rotate(struct bytes text, const struct key_rotation *r, struct dynbuf *out,
                    struct key_rotation_report *ret, struct key_file_error *ret_error)
{
    struct key_rotation_report report = {.signs = whole_second(r->now, r->delay_s),
                                         .retires = whole_second(r->now, r->overlap_s)};
    int rc = check_old(text, r, ret_error);
    size_t const before = out->n;
    rc = rc < 0 ? rc : rewrite(text, r, out, &report);
    if (rc < 0) {
        return rc;
    }
    // What services will read is what was meant.
    CLEANUP(api_keys_free) struct api_keys *k = NULL;
    rc = key_file_parse(bytes_of(out->p + before, out->n - before), r->now, &k, ret_error);
    if (rc < 0) {
        return rc;
    }
    assert(strcmp(api_keys_first(k)->key, r->key) == 0);
    *ret = report;
    return 0;
}

void key_edit_new(wall_t now, const char *key, const char *secret, struct dynbuf *out)
{
    char added[UTC_STRLEN];
    dynbuf_addf(out,
                "# API keys of foci-sfu and foci-jwt: all are accepted, the first signs.\n"
                "%s: %s # added %s\n",
                key, secret, utc_format(now, added));
}

// ---- table ----------------------------------------------------------------------------------

static const char *state_of(const struct api_keys *k, const struct api_key *key, wall_t now)
{
    if (api_key_is_retired(key, now)) {
        return "retired";
    }
    if (key == api_keys_signer(k, now)) {
        return "signs";
    }
    return key->signs.us > now.us ? "waits" : "verifies";
}

void key_edit_list(const struct api_keys *k, wall_t now, struct dynbuf *out)
{
    dynbuf_addf(out, "%-20s %-9s %-21s %-21s %s\n", "KEY", "NOW", "ADDED", "SIGNS FROM", "RETIRES");
    for (size_t i = 0; i < api_keys_count(k); i++) {
        const struct api_key *const key = api_keys_at(k, i);
        char added[UTC_STRLEN] = "-";
        char signs[UTC_STRLEN] = "-";
        char retires[UTC_STRLEN] = "-";
        if (key->added.us > 0) {
            (void)utc_format(key->added, added);
        }
        if (key->signs.us > 0) {
            (void)utc_format(key->signs, signs);
        }
        if (key->retires.us != API_KEY_NEVER.us) {
            (void)utc_format(key->retires, retires);
        }
        dynbuf_addf(out, "%-20s %-9s %-21s %-21s %s\n", key->key, state_of(k, key, now), added,
                    signs, retires);
    }
}

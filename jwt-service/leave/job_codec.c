// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/job_codec.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/jsonx.h"

// The member that tells our records from those of a later form.
#define VERSION 1

// Deeper than any record; a stranger's value must not make the reader climb.
#define DEPTH_MAX 8

#define US_PER_DAY (INT64_C(86400) * US_PER_S)

static const char *const state_names[] = {"waiting", "connected", "disconnected"};

// ---- checks ---------------------------------------------------------------------------------

static const char *text_of(const char *s)
{
    return s != NULL ? s : "";
}

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
static bool is_utf8(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    while (*p != 0) {
        unsigned const more = *p < 0x80                  ? 0
                              : *p >= 0xc2 && *p <= 0xdf ? 1
                              : (*p & 0xf0) == 0xe0      ? 2
                              : *p >= 0xf0 && *p <= 0xf4 ? 3
                                                         : 4;
        if (more == 4 || (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
            (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f)) {
            return false;
        }
        for (unsigned i = 1; i <= more; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return false;
            }
        }
        p += more + 1;
    }
    return true;
}

int job_record_check(const struct job_record *r)
{
    const char *const texts[] = {text_of(r->room),     text_of(r->identity),
                                 text_of(r->delay_id), text_of(r->server_name),
                                 text_of(r->user_id),  text_of(r->owner_user_id),
                                 text_of(r->sid),      text_of(r->other_identity)};
    size_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        // The first four are what a job cannot do without.
        if ((i < 4 && texts[i][0] == '\0') || !is_utf8(texts[i])) {
            return -EINVAL;
        }
        total += strlen(texts[i]);
    }
    if (r->delay_timeout_ns < 0 || (unsigned)r->state >= JOB_STATE_COUNT) {
        return -EINVAL;
    }
    return total > JOB_RECORD_MAX ? -E2BIG : 0;
}

// ---- time -----------------------------------------------------------------------------------

// Days from 1970-01-01 to a date of the Gregorian calendar (years from 1 March, so that the leap day
// is the last one).
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t const era = (y >= 0 ? y : y - 399) / 400;
    int64_t const yoe = y - era * 400;
    int64_t const doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    int64_t const doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static int64_t digits(struct rd *r, unsigned n)
{
    int64_t v = 0;
    for (unsigned i = 0; i < n; i++) {
        uint8_t const c = rd_u8(r);
        if (c < '0' || c > '9') {
            rd_fail(r);
            return 0;
        }
        v = v * 10 + (c - '0');
    }
    return v;
}

static void expect(struct rd *r, char c)
{
    if (rd_u8(r) != (uint8_t)c) {
        rd_fail(r);
    }
}

// ".123456789" at the reader, if there: microseconds.
static int64_t fraction(struct rd *r)
{
    if (rd_left(r) == 0 || *r->p != '.') {
        return 0;
    }
    rd_skip(r, 1);
    int64_t us = 0;
    unsigned n = 0;
    for (; rd_left(r) > 0 && *r->p >= '0' && *r->p <= '9'; n++) {
        uint8_t const c = rd_u8(r);
        if (n < 6) {
            us = us * 10 + (c - '0');
        }
    }
    if (n == 0 || n > 9) {
        rd_fail(r);
    }
    for (; n < 6; n++) {
        us *= 10;
    }
    return us;
}

// "Z" or "+02:00": minutes east of UTC.
static int64_t offset(struct rd *r)
{
    uint8_t const c = rd_u8(r);
    if (c == 'Z' || c == 'z') {
        return 0;
    }
    if (c != '+' && c != '-') {
        rd_fail(r);
        return 0;
    }
    int64_t const h = digits(r, 2);
    expect(r, ':');
    int64_t const m = digits(r, 2);
    if (h > 23 || m > 59) {
        rd_fail(r);
    }
    return (c == '-' ? -1 : 1) * (h * 60 + m);
}

int job_codec_time_read(struct bytes text, wall_t *ret)
{
    struct rd r = rd_init(text);
    int64_t const year = digits(&r, 4);
    expect(&r, '-');
    int64_t const month = digits(&r, 2);
    expect(&r, '-');
    int64_t const day = digits(&r, 2);
    uint8_t const t = rd_u8(&r);
    int64_t const hour = digits(&r, 2);
    expect(&r, ':');
    int64_t const minute = digits(&r, 2);
    expect(&r, ':');
    int64_t const second = digits(&r, 2);
    int64_t const us = fraction(&r);
    int64_t const east = offset(&r);
    // A leap second is let in and counts as the next one.
    if (!rd_ok(&r) || rd_left(&r) != 0 || (t != 'T' && t != 't') || month < 1 || month > 12 ||
        day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) {
        return -EBADMSG;
    }
    int64_t const s =
        days_of(year, month, day) * 86400 + hour * 3600 + (minute - east) * 60 + second;
    *ret = (wall_t){s * US_PER_S + us};
    return 0;
}

const char *job_codec_time_write(wall_t t, char buf[static JOB_TIME_LEN])
{
    // 9999-12-31T23:59:59.999999Z
    int64_t const last = INT64_C(253402300800) * US_PER_S - 1;
    int64_t const us = MIN(MAX(t.us, 0), last);
    int64_t const z = us / US_PER_DAY + 719468;
    int64_t const era = z / 146097;
    int64_t const doe = z - era * 146097;
    int64_t const yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t const doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t const mp = (5 * doy + 2) / 153;
    int64_t const month = mp < 10 ? mp + 3 : mp - 9;
    int64_t const year = yoe + era * 400 + (month <= 2);
    int64_t const s = us % US_PER_DAY / US_PER_S;
    int n = snprintf(buf, JOB_TIME_LEN, "%04d-%02d-%02dT%02d:%02d:%02d.%06d", (int)year, (int)month,
                     (int)(doy - (153 * mp + 2) / 5 + 1), (int)(s / 3600), (int)(s / 60 % 60),
                     (int)(s % 60), (int)(us % US_PER_S));
    while (buf[n - 1] == '0') {
        n--;
    }
    n -= buf[n - 1] == '.';
    buf[n] = 'Z';
    buf[n + 1] = '\0';
    return buf;
}

// ---- writing --------------------------------------------------------------------------------

void job_codec_field(const char *room, const char *identity, struct dynbuf *out)
{
    CLEANUP(jsonx_free) struct jsonx *arr = jsonx_new_array();
    size_t n = 0;
    char *text = NULL;
    if (arr != NULL && jsonx_add_str(arr, bytes_str(text_of(room))) == 0 &&
        jsonx_add_str(arr, bytes_str(text_of(identity))) == 0) {
        text = jsonx_dump(arr, 0, &n);
    }
    if (text == NULL) {
        out->err = true;
        return;
    }
    dynbuf_add(out, bytes_of(text, n));
    mem_free(text);
}

static int set_if(struct jsonx *obj, const char *key, const char *value)
{
    return value != NULL && value[0] != '\0' ? jsonx_set_cstr(obj, key, value) : 0;
}

int job_codec_value(const struct job_record *r, const char *owner, struct dynbuf *out)
{
    int e = job_record_check(r);
    if (e != 0) {
        return e;
    }
    char when[JOB_TIME_LEN];
    CLEANUP(jsonx_free) struct jsonx *top = jsonx_new_object();
    struct jsonx *const params = jsonx_new_object();
    if (top == NULL || params == NULL) {
        jsonx_free(params);
        return -ENOMEM;
    }
    e |= jsonx_set_cstr(params, "DelayId", r->delay_id);
    e |= jsonx_set_int(params, "DelayTimeout", r->delay_timeout_ns);
    e |= jsonx_set_cstr(params, "ServerName", r->server_name);
    e |= jsonx_set_cstr(params, "LiveKitRoom", r->room);
    e |= jsonx_set_cstr(params, "LiveKitIdentity", r->identity);
    e |= set_if(params, "owner_user_id", r->owner_user_id);
    e |= jsonx_set(top, "Params", params);
    e |= jsonx_set_cstr(top, "RestartedAt", job_codec_time_write(r->restarted_at, when));
    e |= jsonx_set_cstr(top, "State", state_names[r->state]);
    e |= set_if(top, "ParticipantSid", r->sid);
    e |= set_if(top, "OtherIdentity", r->other_identity);
    e |= set_if(top, "UserId", r->user_id);
    e |= set_if(top, "Owner", owner);
    e |= jsonx_set_int(top, "Version", VERSION);
    size_t n = 0;
    char *const text = e == 0 ? jsonx_dump(top, 0, &n) : NULL;
    if (text == NULL) {
        return -ENOMEM;
    }
    dynbuf_add(out, bytes_of(text, n));
    mem_free(text);
    return dynbuf_ok(out) ? 0 : -ENOMEM;
}

// ---- reading --------------------------------------------------------------------------------

// The member as text; "" when it is absent, of another type or holds a zero byte.
static const char *member(const struct jsonx *obj, const char *key)
{
    const char *s = "";
    return obj != NULL && jsonx_get_cstr(obj, key, &s) == 0 ? s : "";
}

static const char *element(const struct jsonx *arr, size_t i)
{
    struct bytes b;
    const struct jsonx *const j = jsonx_at(arr, i);
    if (j == NULL || jsonx_str(j, &b) != 0 || memchr(b.p, 0, b.n) != NULL) {
        return "";
    }
    return (const char *)b.p; // jsonx texts are terminated
}

static void read_value(const struct jsonx *top, struct job_decoded *d)
{
    const struct jsonx *params = NULL;
    struct bytes when;
    (void)!jsonx_get_object(top, "Params", &params);
    struct job_record *const r = &d->record;
    r->delay_id = member(params, "DelayId");
    r->server_name = member(params, "ServerName");
    r->owner_user_id = member(params, "owner_user_id");
    if (r->owner_user_id[0] == '\0') {
        r->owner_user_id = member(top, "owner_user_id");
    }
    r->other_identity = member(top, "OtherIdentity");
    r->user_id = member(top, "UserId");
    r->sid = member(top, "ParticipantSid");
    d->owner = member(top, "Owner");
    if (params == NULL || jsonx_get_int(params, "DelayTimeout", &r->delay_timeout_ns) != 0 ||
        r->delay_timeout_ns < 0) {
        r->delay_timeout_ns = 0;
    }
    if (jsonx_get_str(top, "RestartedAt", &when) != 0 ||
        job_codec_time_read(when, &r->restarted_at) != 0) {
        r->restarted_at = (wall_t){0};
    }
    const char *const state = member(top, "State");
    for (unsigned i = 0; i < JOB_STATE_COUNT; i++) {
        if (strcmp(state, state_names[i]) == 0) {
            r->state = (enum job_state)i;
        }
    }
}

int job_codec_decode(struct bytes field, struct bytes value, struct job_decoded *ret,
                     wall_t *ret_age)
{
    // Escapes may make a text six times as long.
    struct jsonx_limits const limits = {.max_bytes = (size_t)JOB_RECORD_MAX * 6 + 4096,
                                        .max_depth = DEPTH_MAX};
    CLEANUP(jsonx_free) struct jsonx *key = NULL;
    CLEANUP(jsonx_free) struct jsonx *top = NULL;
    struct job_decoded d = {.owner = ""};
    if (ret_age != NULL) {
        *ret_age = (wall_t){0};
    }
    int const r1 = jsonx_parse(field, &limits, &key);
    int const r2 = jsonx_parse(value, &limits, &top);
    if (r1 == -ENOMEM || r2 == -ENOMEM) {
        return -ENOMEM;
    }
    if (r2 != 0 || jsonx_type(top) != JSONX_OBJECT) {
        return -EBADMSG;
    }
    read_value(top, &d);
    if (ret_age != NULL) {
        *ret_age = d.record.restarted_at;
    }
    if (r1 != 0 || jsonx_type(key) != JSONX_ARRAY || jsonx_len(key) != 2) {
        return -EBADMSG;
    }
    d.record.room = element(key, 0);
    d.record.identity = element(key, 1);
    if (job_record_check(&d.record) != 0) {
        return -EBADMSG;
    }
    d.memory_[0] = STEAL(key);
    d.memory_[1] = STEAL(top);
    *ret = d;
    return 0;
}

void job_decoded_done(struct job_decoded *d)
{
    jsonx_free(d->memory_[0]);
    jsonx_free(d->memory_[1]);
    *d = (struct job_decoded){.owner = ""};
}

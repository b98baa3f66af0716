// SPDX-License-Identifier: Apache-2.0
#include "common/app/key_source.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/conf.h"
#include "common/sys/log.h"
#include "common/sys/random.h"

static bool is_given(const char *text)
{
    return text != NULL && *text != '\0';
}

static void wipe_free(char *text, size_t n)
{
    if (text != NULL) {
        explicit_bzero(text, n);
    }
    mem_free(text);
}

static int cannot_read(const char *path, int r, enum key_source_part part,
                       struct key_source_error *ret)
{
    *ret = (struct key_source_error){.part = part};
    (void)snprintf(ret->text, sizeof(ret->text), "cannot read %.150s: %s", path, strerror(-r));
    return r;
}

// ---- key file -------------------------------------------------------------------------------

static int read_lines(const struct key_source *s, wall_t now, struct api_keys **ret,
                      unsigned *ret_mode, struct key_source_error *ret_error)
{
    char *read = NULL;
    size_t n = 0;
    struct key_file_error e;
    int r = is_given(s->file) ? conf_read_whole(s->file, KEY_FILE_MAX, &read, &n, ret_mode) : 0;
    if (r < 0) {
        return r == -ENOMEM ? r : cannot_read(s->file, r, KEY_SOURCE_LINES, ret_error);
    }
    r = key_file_parse(read != NULL ? bytes_of(read, n) : bytes_str(s->text), now, ret, &e);
    wipe_free(read, n);
    if (r == -EINVAL) {
        *ret_error = (struct key_source_error){.part = KEY_SOURCE_LINES, .line = e.line};
        memcpy(ret_error->text, e.text, sizeof(e.text));
    }
    return r;
}

// ---- pair -----------------------------------------------------------------------------------

struct half {
    char *text; // to be wiped and freed
    size_t n;
    unsigned mode;
};

static int read_half(const char *plain, const char *path, enum key_source_part part,
                     struct half *ret, struct key_source_error *ret_error)
{
    if (!is_given(path)) {
        ret->text = mem_strdup(plain != NULL ? plain : "");
        ret->n = ret->text != NULL ? strlen(ret->text) : 0;
        return ret->text != NULL ? 0 : -ENOMEM;
    }
    int const r = conf_read_whole(path, KEY_FILE_MAX, &ret->text, &ret->n, &ret->mode);
    return r < 0 && r != -ENOMEM ? cannot_read(path, r, part, ret_error) : r;
}

static bool is_blank(const struct half *h)
{
    return strspn(h->text, " \t\r\n") == h->n;
}

static int add_pair(struct api_keys *keys, const struct half *key, const struct half *secret,
                    struct key_source_error *ret_error)
{
    int const r =
        api_keys_add(keys, bytes_of(key->text, key->n), bytes_of(secret->text, secret->n));
    if (r != -EINVAL) {
        return r;
    }
    enum key_source_part part = KEY_SOURCE_KEY;
    const char *text = "key or secret holds control characters; each is one line of text";
    if (is_blank(key)) {
        text = "the API key is empty";
    } else if (is_blank(secret)) {
        part = KEY_SOURCE_SECRET;
        text = "the secret is empty";
    }
    *ret_error = (struct key_source_error){.part = part};
    (void)snprintf(ret_error->text, sizeof(ret_error->text), "%s", text);
    return r;
}

// *ret_mode: of the secret's file; the key's name is no secret.
static int read_pair(const struct key_source *s, struct api_keys **ret, unsigned *ret_mode,
                     struct key_source_error *ret_error)
{
    struct half key = {0};
    struct half secret = {0};
    CLEANUP(api_keys_free) struct api_keys *keys = api_keys_new();
    int r = keys != NULL ? 0 : -ENOMEM;
    if (r == 0) {
        r = read_half(s->key, s->key_file, KEY_SOURCE_KEY, &key, ret_error);
    }
    if (r == 0) {
        r = read_half(s->secret, s->secret_file, KEY_SOURCE_SECRET, &secret, ret_error);
    }
    if (r == 0) {
        r = add_pair(keys, &key, &secret, ret_error);
    }
    *ret_mode = secret.mode;
    wipe_free(secret.text, secret.n);
    wipe_free(key.text, key.n);
    if (r == 0) {
        *ret = STEAL(keys);
    }
    return r;
}

// ---- both -----------------------------------------------------------------------------------

static bool has_lines(const struct key_source *s)
{
    return is_given(s->file) || is_given(s->text);
}

// What a strict service does not take.
static int refuse_findings(const struct key_source *s, const struct key_source_result *result,
                           struct key_source_error *ret)
{
    for (size_t i = 0; i < result->finding_count; i++) {
        const struct key_finding *const f = &result->findings[i];
        if (f->kind == KEY_FINDING_SAMPLE || f->kind == KEY_FINDING_WEAK) {
            ret->part = has_lines(s) ? KEY_SOURCE_LINES : KEY_SOURCE_SECRET;
            ret->line = 0;
            (void)snprintf(ret->text, sizeof(ret->text), "key \"%.32s\": %.170s", f->key, f->text);
            return -EINVAL;
        }
    }
    return 0;
}

int key_source_read(const struct key_source *s, wall_t now, struct key_source_result *ret,
                    struct key_source_error *ret_error)
{
    CLEANUP(api_keys_free) struct api_keys *keys = NULL;
    unsigned mode = 0;
    int r = has_lines(s) ? read_lines(s, now, &keys, &mode, ret_error)
                         : read_pair(s, &keys, &mode, ret_error);
    if (r < 0) {
        return r;
    }
    struct key_source_result result = {.keys = keys};
    result.finding_count = key_file_findings(keys, now, mode, result.findings);
    r = s->strict ? refuse_findings(s, &result, ret_error) : 0;
    if (r == 0) {
        *ret = result;
        (void)STEAL(keys);
    }
    return r;
}

size_t key_source_files(const struct key_source *s, const char *ret[static KEY_SOURCE_PART_COUNT])
{
    const char *const pair[] = {s->key_file, s->secret_file};
    size_t n = 0;
    if (is_given(s->file)) {
        ret[n++] = s->file;
        return n;
    }
    for (size_t i = 0; i < ARRAY_LEN(pair); i++) {
        if (is_given(pair[i])) {
            ret[n++] = pair[i];
        }
    }
    return n;
}

void key_source_log(const struct key_finding *findings, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct key_finding *const f = &findings[i];
        if (f->key != NULL) {
            log_warn(NULL, "keys.warning", KV_STR("what", key_finding_name(f->kind)),
                     KV_STR("key", f->key), KV_STR("text", f->text));
        } else {
            log_warn(NULL, "keys.warning", KV_STR("what", key_finding_name(f->kind)),
                     KV_STR("text", f->text));
        }
    }
}

// ---- new keys -------------------------------------------------------------------------------

// n characters, each of 62 equally likely ones.
static void random_text(char *ret, size_t n)
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t block[64];
    size_t used = sizeof(block);
    for (size_t i = 0; i < n;) {
        if (used == sizeof(block)) {
            rand_bytes(block, sizeof(block));
            used = 0;
        }
        uint8_t const v = block[used++] & 63u;
        if (v < sizeof(alphabet) - 1) { // the other two would make some letters likelier
            ret[i++] = alphabet[v];
        }
    }
    ret[n] = '\0';
    explicit_bzero(block, sizeof(block));
}

void key_source_generate(char key[static KEY_NAME_SIZE], char secret[static KEY_SECRET_SIZE])
{
    memcpy(key, "API", 3); // livekit-server generate-keys names its keys so
    random_text(key + 3, KEY_NAME_SIZE - 4);
    random_text(secret, KEY_SECRET_SIZE - 1);
}

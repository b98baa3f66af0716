// SPDX-License-Identifier: Apache-2.0
#include "common/lk/key_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define MODE_OTHERS_READ 0004u
#define MODE_OTHERS_WRITE 0022u // the group's and everybody's

#define MAKE_ONE "make one with \"focictl keys generate\" or \"openssl rand -base64 32\""

static const char *const finding_names[KEY_FINDING_KIND_COUNT] = {
    [KEY_FINDING_SAMPLE] = "sample_secret",   [KEY_FINDING_WEAK] = "weak_secret",
    [KEY_FINDING_READABLE] = "readable_file", [KEY_FINDING_WRITABLE] = "writable_file",
    [KEY_FINDING_LAST] = "no_lasting_key",
};

const char *key_finding_name(enum key_finding_kind kind)
{
    return (unsigned)kind < KEY_FINDING_KIND_COUNT ? finding_names[kind] : "?";
}

// ---- sample keys ----------------------------------------------------------------------------

// Secrets that are printed where many read them.
static const char *const sample_secrets[] = {
    "secret",    // livekit-server --dev, Element Call's compose file, lk-jwt-service's README
    "devsecret", // lk-jwt-service's tests
    "secret1",   // livekit: config-sample.yaml
    "secret2",
    "myapisecret",                                  // livekit-helm: server-sample.yaml
    "8nTlwISkb-63DPP7OH4e.nw.J44JjicvZDiz8J59EoQ+", // livekit: README
    "KEUUtCDVRqXk9me0Ok94g8G9xwtnjMeUxfNMy8dow6iA", // livekit: documents on tokens
};

// What stands where a secret shall be filled in. None of them appears in what a generator makes.
static const char *const placeholders[] = {
    "changeme", "change-me", "change_me",  "placeholder", "example",
    "your-",    "your_",     "api-secret", "api_secret",  "xxxxxxxx",
};

// True if text holds what, in any case.
static bool holds(const char *text, const char *what)
{
    size_t const n = strlen(what);
    for (; *text; text++) {
        if (strncasecmp(text, what, n) == 0) {
            return true;
        }
    }
    return false;
}

bool key_file_is_sample(const struct api_key *k)
{
    for (size_t i = 0; i < ARRAY_LEN(sample_secrets); i++) {
        if (strcmp(k->secret, sample_secrets[i]) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(placeholders); i++) {
        if (holds(k->secret, placeholders[i])) {
            return true;
        }
    }
    // The key's name goes with every token.
    return strcmp(k->key, k->secret) == 0 || k->secret[0] == '<';
}

// ---- findings -------------------------------------------------------------------------------

struct findings {
    struct key_finding *list;
    size_t n;
};

static void add_finding(struct findings *f, enum key_finding_kind kind, const char *key,
                        const char *fmt, ...) PRINTF_LIKE(4, 5);

static void add_finding(struct findings *f, enum key_finding_kind kind, const char *key,
                        const char *fmt, ...)
{
    if (f->n == KEY_FINDINGS_MAX) {
        return;
    }
    struct key_finding *const x = &f->list[f->n++];
    *x = (struct key_finding){.kind = kind, .key = key};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(x->text, sizeof(x->text), fmt, ap);
    va_end(ap);
}

static void judge_secrets(const struct api_keys *k, wall_t now, enum key_finding_kind kind,
                          struct findings *f)
{
    for (size_t i = 0; i < api_keys_count(k); i++) {
        const struct api_key *const key = api_keys_at(k, i);
        bool const sample = key_file_is_sample(key);
        if (api_key_is_retired(key, now)) {
            continue;
        }
        if (kind == KEY_FINDING_SAMPLE && sample) {
            add_finding(f, kind, key->key,
                        "everybody knows this secret from documents and examples, and can make "
                        "tokens with it; " MAKE_ONE);
        } else if (kind == KEY_FINDING_WEAK && !sample && api_key_is_weak(key)) {
            add_finding(f, kind, key->key,
                        "a secret of HS256 should have at least %d characters; " MAKE_ONE,
                        API_KEYS_SECRET_WEAK_BELOW);
        }
    }
}

static bool all_retire(const struct api_keys *k)
{
    for (size_t i = 0; i < api_keys_count(k); i++) {
        if (api_keys_at(k, i)->retires.us == API_KEY_NEVER.us) {
            return false;
        }
    }
    return api_keys_count(k) > 0;
}

size_t key_file_findings(const struct api_keys *k, wall_t now, unsigned mode,
                         struct key_finding ret[static KEY_FINDINGS_MAX])
{
    struct findings f = {.list = ret};
    judge_secrets(k, now, KEY_FINDING_SAMPLE, &f);
    if (mode & MODE_OTHERS_WRITE) {
        add_finding(&f, KEY_FINDING_WRITABLE, NULL,
                    "others than its owner can write the file (mode %03o); chmod go-w", mode);
    }
    if (mode & MODE_OTHERS_READ) {
        add_finding(&f, KEY_FINDING_READABLE, NULL,
                    "everybody on this machine can read the file (mode %03o); chmod o-rwx", mode);
    }
    if (all_retire(k)) {
        add_finding(&f, KEY_FINDING_LAST, NULL,
                    "every key retires, afterwards nothing signs; add one with \"focictl keys "
                    "rotate\"");
    }
    judge_secrets(k, now, KEY_FINDING_WEAK, &f);
    return f.n;
}

// ---- reading --------------------------------------------------------------------------------

static void explain(int r, struct key_file_error *ret)
{
    const char *text = "write \"key: secret\", each key once; in its comment: signs or retires and "
                       "a time such as 2026-11-21T18:00:00Z";
    if (r == -E2BIG) {
        text = "too many keys, 64 at most";
    } else if (ret->line == 0) {
        text = "holds no key; write a line of the form \"key: secret\"";
    }
    (void)snprintf(ret->text, sizeof(ret->text), "%s", text);
}

int key_file_parse(struct bytes text, wall_t now, struct api_keys **ret,
                   struct key_file_error *ret_error)
{
    _Static_assert(API_KEYS_MAX == 64, "see explain");
    CLEANUP(api_keys_free) struct api_keys *k = api_keys_new();
    if (!k) {
        return -ENOMEM;
    }
    struct key_file_error e = {0};
    int const r = api_keys_parse(k, text, &e.line);
    if (r == -ENOMEM) {
        return r;
    }
    if (r < 0) {
        explain(r, &e);
        *ret_error = e;
        return -EINVAL;
    }
    if (!api_keys_signer(k, now)) {
        (void)snprintf(e.text, sizeof(e.text),
                       "all of its keys are retired; make a new one with \"focictl keys rotate\"");
        *ret_error = e;
        return -EINVAL;
    }
    *ret = STEAL(k);
    return 0;
}

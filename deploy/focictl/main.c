// SPDX-License-Identifier: Apache-2.0
// focictl: what an operator does beside the running services. Exit status: 0 done, 1 not, which one
// line on stderr explains.
//
//   focictl keys generate [--file PATH]     a new key: printed, or as a new file
//   focictl keys rotate --file PATH         a new key in front, the old one retires
//   focictl keys list --file PATH           names, states and times; never secrets

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/app/key_source.h"
#include "common/base/mem.h"
#include "common/base/utc.h"
#include "common/svc/conf.h"
#include "common/sys/clock.h"
#include "common/sys/privacy.h"
#include "deploy/focictl/atomic_file.h"
#include "deploy/focictl/key_edit.h"

enum { CTL_FILE, CTL_OVERLAP, CTL_DELAY, CTL_NAME, CTL_TOKEN_LIFETIME, CTL_ITEM_COUNT };

#define OVERLAP_MAX_MS (INT64_C(366) * 86400 * 1000)
#define NAME_MAX_CHARS 64

// A new key signs this much later, longer than two services of one machine need to read the file
// (FILEWATCH_SETTLE_MS) and be started. Files that are carried to other machines want more.
#define DELAY_DEFAULT "5s"

static const struct conf_item items[CTL_ITEM_COUNT] = {
    [CTL_FILE] = {.name = "file",
                  .env = {"LIVEKIT_KEY_FILE"},
                  .flag = {"file"},
                  .arg = "PATH",
                  .help = "The key file of the services."},
    [CTL_OVERLAP] = {.name = "overlap",
                     .type = CONF_DURATION,
                     .flag = {"overlap"},
                     .def = "2h",
                     .max = OVERLAP_MAX_MS,
                     .arg = "TIME",
                     .help = "rotate: how long tokens of the old key are still accepted."},
    [CTL_DELAY] = {.name = "delay",
                   .type = CONF_DURATION,
                   .flag = {"delay"},
                   .def = DELAY_DEFAULT,
                   .max = OVERLAP_MAX_MS,
                   .arg = "TIME",
                   .help = "rotate: how long the new key is only accepted and does not sign; "
                           "longer than the file takes to reach all services."},
    [CTL_NAME] = {.name = "name",
                  .flag = {"name"},
                  .arg = "NAME",
                  .help = "Name of the new key; made up without it."},
    [CTL_TOKEN_LIFETIME] = {.name = "token_lifetime",
                            .type = CONF_DURATION,
                            .env = {"FOCI_JWT_TOKEN_LIFETIME"},
                            .flag = {"token-lifetime"},
                            .def = "1h",
                            .arg = "TIME",
                            .help = "That of foci-jwt: an overlap that is shorter cuts tokens "
                                    "off, and is told."},
};

static const struct conf_spec spec = {
    .program = "focictl",
    .version = "0.1.0",
    .summary = "Commands: keys generate, keys rotate, keys list.",
    .items = items,
    .count = CTL_ITEM_COUNT,
    .positional_max = 2,
};

static int complain(const char *text)
{
    (void)fprintf(stderr, "focictl: %s\n", text);
    return 1;
}

static int complain_about(const char *path, const char *text)
{
    (void)fprintf(stderr, "focictl: %s: %s\n", path, text);
    return 1;
}

static int failed(const char *path, const char *what, int rc)
{
    const char *const why = rc == -EBUSY ? "it is in use, or was mounted without its folder; "
                                           "mount the folder, or change the file outside"
                                         : strerror(-rc);
    (void)fprintf(stderr, "focictl: %s: cannot %s: %s\n", path, what, why);
    return 1;
}

static int wrong_file(const char *path, const struct key_file_error *e)
{
    if (e->line > 0) {
        (void)fprintf(stderr, "focictl: %s, line %u: %s\n", path, e->line, e->text);
        return 1;
    }
    return complain_about(path, e->text);
}

static void wipe(struct dynbuf *b)
{
    if (b->p != NULL) {
        explicit_bzero(b->p, b->n);
    }
    dynbuf_done(b);
}

// ---- new keys -------------------------------------------------------------------------------

struct new_key {
    char made_up[KEY_NAME_SIZE];
    const char *name;
    char secret[KEY_SECRET_SIZE];
};

// Names stand in YAML, in tokens and in logs.
static bool is_name(const char *text)
{
    static const char letters[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.-";
    size_t const n = strlen(text);
    return n > 0 && n <= NAME_MAX_CHARS && strspn(text, letters) == n && text[0] != '-';
}

static int make_key(const struct conf *c, struct new_key *ret)
{
    key_source_generate(ret->made_up, ret->secret);
    ret->name = conf_has(c, CTL_NAME) ? conf_str(c, CTL_NAME) : ret->made_up;
    return is_name(ret->name)
               ? 0
               : complain("--name: at most 64 letters, digits and _ . - make a name");
}

// ---- generate -------------------------------------------------------------------------------

static int write_file(struct atomic_file *f, struct bytes text)
{
    int const rc = atomic_file_replace(f, text);
    return rc < 0 ? failed(atomic_file_path(f), "write it", rc) : 0;
}

static int generate_file(const char *path, const struct new_key *k)
{
    CLEANUP(atomic_file_close) struct atomic_file *f = NULL;
    int rc = atomic_file_open(path, &f);
    if (rc < 0) {
        return failed(path, "open it", rc);
    }
    if (access(atomic_file_path(f), F_OK) == 0) {
        return complain_about(atomic_file_path(f), "is there already; \"focictl keys rotate\" "
                                                   "puts a new key in front of the others");
    }
    struct dynbuf text;
    dynbuf_init(&text, KEY_FILE_MAX);
    key_edit_new(clock_wall(), k->name, k->secret, &text);
    rc = dynbuf_ok(&text) ? write_file(f, dynbuf_view(&text)) : complain("out of memory");
    wipe(&text);
    if (rc == 0) {
        (void)fprintf(stdout, "key %s is in %s\n", k->name, atomic_file_path(f));
    }
    return rc;
}

// A file is made only if it is named on the command line: the environment's is there already.
static int generate(const struct conf *c)
{
    struct new_key k;
    int rc = make_key(c, &k);
    bool const named = strncmp(conf_origin(c, CTL_FILE), "flag", 4) == 0;
    if (rc == 0 && named) {
        rc = generate_file(conf_str(c, CTL_FILE), &k);
    } else if (rc == 0) {
        // The form of the key file and of LIVEKIT_KEYS.
        (void)fprintf(stdout, "%s: %s\n", k.name, k.secret);
    }
    explicit_bzero(&k, sizeof(k));
    return rc;
}

// ---- rotate ---------------------------------------------------------------------------------

static void tell_rotation(const struct conf *c, const struct new_key *k,
                          const struct key_rotation_report *r)
{
    char text[UTC_STRLEN];
    (void)fprintf(stdout, "new key %s signs from %s on\n", k->name, utc_format(r->signs, text));
    if (r->old[0] != '\0') {
        (void)fprintf(stdout, "old key %s is accepted until %s and retires then\n", r->old,
                      utc_format(r->retires, text));
    }
    if (r->removed > 0) {
        (void)fprintf(stdout, "%u long retired removed\n", r->removed);
    }
    // access_token.h: ACCESS_TOKEN_LEEWAY_S is a minute.
    int64_t const needed = conf_ms(c, CTL_TOKEN_LIFETIME) + conf_ms(c, CTL_DELAY) + 60000;
    if (r->old[0] != '\0' && conf_ms(c, CTL_OVERLAP) < needed) {
        (void)fprintf(stderr,
                      "focictl: warning: tokens live for %lld s, but those of the old key are "
                      "refused in %lld s; calls go on, whoever joins with one needs a new one\n",
                      (long long)(conf_ms(c, CTL_TOKEN_LIFETIME) / 1000),
                      (long long)(conf_ms(c, CTL_OVERLAP) / 1000));
    }
}

static int rotate_text(const struct conf *c, struct atomic_file *f, struct bytes old,
                       const struct new_key *k)
{
    struct key_rotation const r = {
        .now = clock_wall(),
        .overlap_s = (conf_ms(c, CTL_OVERLAP) + 999) / 1000,
        .delay_s = (conf_ms(c, CTL_DELAY) + 999) / 1000,
        .key = k->name,
        .secret = k->secret,
    };
    struct key_rotation_report report;
    struct key_file_error e = {0};
    struct dynbuf text;
    dynbuf_init(&text, KEY_FILE_MAX);
    int rc = key_edit_rotate(old, &r, &text, &report, &e);
    if (rc == -EINVAL) {
        rc = wrong_file(atomic_file_path(f), &e);
    } else {
        rc = rc < 0 ? failed(atomic_file_path(f), "add a key", rc)
                    : write_file(f, dynbuf_view(&text));
    }
    wipe(&text);
    if (rc == 0) {
        tell_rotation(c, k, &report);
    }
    return rc;
}

static int rotate(const struct conf *c)
{
    CLEANUP(atomic_file_close) struct atomic_file *f = NULL;
    struct new_key k;
    char *old = NULL;
    size_t n = 0;
    unsigned mode = 0;
    const char *const path = conf_str(c, CTL_FILE);
    if (conf_ms(c, CTL_OVERLAP) < conf_ms(c, CTL_DELAY)) {
        return complain("--overlap is shorter than --delay: the old key would retire before the "
                        "new one signs");
    }
    int rc = atomic_file_open(path, &f);
    rc = rc < 0 ? rc : conf_read_whole(atomic_file_path(f), KEY_FILE_MAX, &old, &n, &mode);
    if (rc < 0) {
        return failed(path, "read it", rc);
    }
    rc = make_key(c, &k);
    rc = rc != 0 ? rc : rotate_text(c, f, bytes_of(old, n), &k);
    explicit_bzero(&k, sizeof(k));
    explicit_bzero(old, n);
    mem_free(old);
    return rc;
}

// ---- list -----------------------------------------------------------------------------------

static int list(const struct conf *c)
{
    const char *const path = conf_str(c, CTL_FILE);
    wall_t const now = clock_wall();
    CLEANUP(api_keys_free) struct api_keys *keys = NULL;
    struct key_finding findings[KEY_FINDINGS_MAX];
    struct key_file_error e = {0};
    char *text = NULL;
    size_t n = 0;
    unsigned mode = 0;
    int rc = conf_read_whole(path, KEY_FILE_MAX, &text, &n, &mode);
    if (rc < 0) {
        return failed(path, "read it", rc);
    }
    // As of 1970, so that a file with retired keys only is listed as well.
    rc = key_file_parse(bytes_of(text, n), (wall_t){0}, &keys, &e);
    explicit_bzero(text, n);
    mem_free(text);
    if (rc < 0) {
        return rc == -EINVAL ? wrong_file(path, &e) : complain("out of memory");
    }
    struct dynbuf out;
    dynbuf_init(&out, KEY_FILE_MAX * 4);
    key_edit_list(keys, now, &out);
    (void)fwrite(out.p, 1, out.n, stdout);
    dynbuf_done(&out);
    n = key_file_findings(keys, now, mode, findings);
    for (size_t i = 0; i < n; i++) {
        (void)fprintf(stderr, "focictl: warning: %s%s%s\n",
                      findings[i].key != NULL ? findings[i].key : "",
                      findings[i].key != NULL ? ": " : "", findings[i].text);
    }
    return 0;
}

// ---- start ----------------------------------------------------------------------------------

static int run(const struct conf *c)
{
    static const struct {
        const char *name;
        int (*fn)(const struct conf *c);
        bool needs_file;
    } commands[] = {{"generate", generate, false}, {"rotate", rotate, true}, {"list", list, true}};
    bool const keys = conf_positionals(c) == 2 && strcmp(conf_positional(c, 0), "keys") == 0;
    for (size_t i = 0; keys && i < ARRAY_LEN(commands); i++) {
        if (strcmp(conf_positional(c, 1), commands[i].name) != 0) {
            continue;
        }
        if (commands[i].needs_file && !conf_has(c, CTL_FILE)) {
            return complain("which file? give --file PATH or set LIVEKIT_KEY_FILE");
        }
        return commands[i].fn(c);
    }
    return complain("the commands are: keys generate, keys rotate, keys list; --help tells more");
}

static void show(const struct conf *c)
{
    struct dynbuf out;
    dynbuf_init(&out, 64u << 10);
    if (conf_action(c) == CONF_SHOW_HELP) {
        conf_help(&spec, &out);
    } else if (conf_action(c) == CONF_SHOW_VERSION) {
        dynbuf_addf(&out, "%s %s\n", spec.program, spec.version);
    } else {
        conf_dump(c, &out);
    }
    (void)fwrite(out.p, 1, out.n, stdout);
    dynbuf_done(&out);
}

int main(int argc, char **argv)
{
    char err[CONF_ERROR_MAX] = "out of memory";
    CLEANUP(conf_free) struct conf *c = NULL;
    privacy_no_dumps();
    if (conf_load(&spec, argc, (const char *const *)argv, (const char *const *)environ, &c, err) <
        0) {
        return complain(err);
    }
    if (conf_action(c) != CONF_RUN) {
        show(c);
        return 0;
    }
    return run(c);
}

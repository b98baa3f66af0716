// SPDX-License-Identifier: Apache-2.0
#include "common/app/key_watch.h"

#include <sys/stat.h>

#include "common/base/mem.h"
#include "common/sys/filewatch.h"
#include "common/sys/log.h"

struct key_watch {
    struct key_watch_conf conf;
    const char *files[KEY_SOURCE_PART_COUNT];
    size_t file_count;
    struct filewatch *watches[KEY_SOURCE_PART_COUNT];
    struct loop_timer *timer; // the next change that comes by itself
    char *signer;             // who signed when we looked last; NULL nobody
    wall_t looked;
};

static wall_t now_of(const struct key_watch *w)
{
    return loop_wall(w->conf.loop);
}

// ---- what changes by itself -----------------------------------------------------------------

static void tell_retired(const struct key_watch *w, wall_t now)
{
    for (size_t i = 0; i < api_keys_count(w->conf.keys); i++) {
        const struct api_key *const k = api_keys_at(w->conf.keys, i);
        if (api_key_is_retired(k, now) && !api_key_is_retired(k, w->looked)) {
            log_info(NULL, "keys.retired", KV_STR("key", k->key));
        }
    }
}

static void tell_signer(struct key_watch *w, wall_t now)
{
    const struct api_key *const k = api_keys_signer(w->conf.keys, now);
    const char *const name = k != NULL ? k->key : NULL;
    bool const same =
        name != NULL && w->signer != NULL ? strcmp(name, w->signer) == 0 : name == w->signer;
    if (same) {
        return;
    }
    mem_free(w->signer);
    w->signer = name != NULL ? mem_strdup(name) : NULL;
    if (name != NULL) {
        log_info(NULL, "keys.signing", KV_STR("key", name));
    } else {
        log_error(NULL, "keys.signing",
                  KV_STR("text", "all keys are retired: nothing is signed and every token is "
                                 "refused until the key file has a new one"));
    }
    if (name != NULL && w->conf.on_signer != NULL) {
        w->conf.on_signer(w->conf.user);
    }
}

// Tells what is different by now and waits for the next time.
static void look(struct key_watch *w)
{
    wall_t const now = now_of(w);
    tell_retired(w, now);
    tell_signer(w, now);
    w->looked = now;
    wall_t const next = api_keys_next_change(w->conf.keys, now);
    // The clock may be set meanwhile: then this is early or late, and only a log line is.
    loop_timer_set(w->timer, next.us == API_KEY_NEVER.us
                                 ? MONO_NEVER
                                 : mono_add_us(loop_now(w->conf.loop), next.us - now.us));
}

static void on_timer(void *user)
{
    look(user);
}

// ---- reading --------------------------------------------------------------------------------

static const char *file_of(const struct key_watch *w, enum key_source_part part)
{
    const struct key_source *const s = &w->conf.source;
    const char *const path = part == KEY_SOURCE_LINES    ? s->file
                             : part == KEY_SOURCE_SECRET ? s->secret_file
                                                         : s->key_file;
    return path != NULL ? path : "";
}

static void tell_refused(const struct key_watch *w, int r, const struct key_source_error *e)
{
    log_error(NULL, "keys.refused", KV_STR("file", file_of(w, e->part)), KV_U64("line", e->line),
              KV_STR("text", r == -ENOMEM ? "out of memory" : e->text),
              KV_STR("consequence", "the keys before stay in force"));
}

static bool read_again(struct key_watch *w)
{
    struct key_source_result new = {0};
    struct key_source_error e = {0};
    wall_t const now = now_of(w);
    int const r = w->file_count > 0 ? key_source_read(&w->conf.source, now, &new, &e) : 0;
    if (r < 0) {
        tell_refused(w, r, &e);
        return false;
    }
    if (new.keys == NULL) {
        return true; // what stands in settings cannot change
    }
    if (!api_keys_equal(w->conf.keys, new.keys)) {
        api_keys_replace(w->conf.keys, new.keys, now, KEY_WATCH_GRACE_MS * US_PER_MS);
        const struct api_key *const first = api_keys_first(w->conf.keys);
        log_info(NULL, "keys.loaded", KV_STR("file", w->files[0]),
                 KV_U64("keys", api_keys_count(w->conf.keys)), KV_STR("first", first->key));
        // Their names are in the set that is in force now.
        key_source_log(new.findings, new.finding_count);
        look(w);
    }
    api_keys_free(new.keys);
    return true;
}

bool key_watch_reload(struct key_watch *w)
{
    bool const ok = read_again(w);
    if (w->conf.on_read != NULL) {
        w->conf.on_read(w->conf.user, ok);
    }
    return ok;
}

static void on_change(void *user)
{
    (void)key_watch_reload(user);
}

// ---- lifecycle ------------------------------------------------------------------------------

// What is read once (a pipe, say of a shell's <(command)) is not looked at again: it would be empty
// or make us wait.
static bool can_be_read_again(const char *path)
{
    struct stat st;
    return stat(path, &st) < 0 || S_ISREG(st.st_mode);
}

static void watch_files(struct key_watch *w)
{
    for (size_t i = 0; i < w->file_count; i++) {
        if (!can_be_read_again(w->files[i])) {
            w->file_count = 0;
        }
    }
    for (size_t i = 0; i < w->file_count; i++) {
        int const r = filewatch_new(w->conf.loop, w->files[i], on_change, w, &w->watches[i]);
        if (r < 0) {
            log_warn(NULL, "keys.not_watched", KV_STR("file", w->files[i]), KV_ERRNO("error", r),
                     KV_STR("text", "SIGHUP reads it again"));
        }
    }
}

struct key_watch *key_watch_new(const struct key_watch_conf *conf)
{
    struct key_watch *const w = NEW(struct key_watch);
    if (w == NULL) {
        return NULL;
    }
    w->conf = *conf;
    w->looked = now_of(w);
    w->timer = loop_timer_new(conf->loop, on_timer, w);
    const struct api_key *const signer = api_keys_signer(conf->keys, w->looked);
    w->signer = signer != NULL ? mem_strdup(signer->key) : NULL;
    if (w->timer == NULL || (signer != NULL && w->signer == NULL)) {
        key_watch_free(w);
        return NULL;
    }
    w->file_count = key_source_files(&conf->source, w->files);
    watch_files(w);
    look(w);
    (void)read_again(w);
    return w;
}

void key_watch_free(struct key_watch *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(w->watches); i++) {
        filewatch_free(w->watches[i]);
    }
    if (w->timer != NULL) {
        loop_timer_free(w->timer);
    }
    mem_free(w->signer);
    mem_free(w);
}

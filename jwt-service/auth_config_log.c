// SPDX-License-Identifier: Apache-2.0
// What of the settings an operator is told, in the log at the start and by --check-config: what is
// weak, dangerous or without effect, and what is in force where that is not what was written.
#include <stdio.h>

#include "jwt-service/auth_config.h"

#define TEXT_MAX 512

// Who is told: event is the log's name for it, setting may be NULL.
struct listener {
    void (*tell)(void *user, const char *event, const char *setting, const char *text);
    void *user;
};

static const char *env_of(size_t item)
{
    return auth_config_spec()->items[item].env[0];
}

// ---- what is wrong but not broken --------------------------------------------------------------

static void tell_dangers(const struct auth_config *c, const struct listener *l)
{
    if (c->log_level_unknown) {
        l->tell(l->user, "config.warning", env_of(AUTH_LOG_LEVEL),
                "unknown log level; info is used");
    }
    if (c->insecure) {
        l->tell(l->user, "config.insecure", env_of(AUTH_INSECURE),
                "certificates are not checked: anybody on the way can vouch for any user");
    }
    if (c->everybody && !c->dev) {
        l->tell(l->user, "config.everybody", env_of(AUTH_FULL_ACCESS),
                "users of every homeserver may create rooms on the SFU");
    }
}

// Of two settings that exclude each other the one that does nothing, with the places of both.
static void tell_outranked(const struct auth_config *c, size_t loser, size_t winner,
                           const struct listener *l)
{
    char text[TEXT_MAX];
    const struct conf *const k = c->conf;
    (void)snprintf(text, sizeof(text),
                   "what the %.160s says is not used: %s (%.160s) outranks it; keep one of the two",
                   conf_origin(k, loser), env_of(winner), conf_origin(k, winner));
    l->tell(l->user, "config.no_effect", env_of(loser), text);
}

// The halves of the pair: as they are, and in files (auth_config.c: find_half).
static void tell_unused_keys(const struct auth_config *c, const struct listener *l)
{
    const struct conf *const k = c->conf;
    const struct {
        size_t plain, file;
        const char *path; // what was taken
    } halves[] = {{AUTH_KEY, AUTH_KEY_FROM_FILE, c->key_source.key_file},
                  {AUTH_SECRET, AUTH_SECRET_FROM_FILE, c->key_source.secret_file}};
    for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
        size_t const plain = halves[i].plain;
        size_t const file = halves[i].file;
        if (conf_has(k, AUTH_KEY_FILE)) {
            size_t const both[] = {plain, file};
            for (size_t n = 0; n < ARRAY_LEN(both); n++) {
                if (conf_is_set(k, both[n])) {
                    tell_outranked(c, both[n], AUTH_KEY_FILE, l);
                }
            }
        } else if (conf_has(k, plain) && conf_has(k, file)) {
            bool const by_file = halves[i].path == conf_str(k, file);
            tell_outranked(c, by_file ? plain : file, by_file ? file : plain, l);
        }
    }
}

static void tell_no_effect(const struct auth_config *c, const struct listener *l)
{
    const struct conf *const k = c->conf;
    if (!c->insecure && *conf_str(k, AUTH_INSECURE)) {
        l->tell(l->user, "config.no_effect", env_of(AUTH_INSECURE),
                "certificates are checked: only " AUTH_INSECURE_PHRASE " switches that off");
    }
    if (!conf_bool(k, AUTH_DELEGATION) && conf_has(k, AUTH_REDIS_URL)) {
        char text[TEXT_MAX];
        (void)snprintf(text, sizeof(text), "no leaves are taken over: %s is false (%.160s)",
                       env_of(AUTH_DELEGATION), conf_origin(k, AUTH_DELEGATION));
        l->tell(l->user, "config.no_effect", env_of(AUTH_REDIS_URL), text);
    }
    tell_unused_keys(c, l);
}

static void tell_all(const struct auth_config *c, const struct listener *l)
{
    for (size_t i = 0; i < conf_warnings(c->conf); i++) {
        l->tell(l->user, "config.warning", NULL, conf_warning(c->conf, i));
    }
    tell_dangers(c, l);
    tell_no_effect(c, l);
}

// ---- to the log --------------------------------------------------------------------------------

static void log_one(void *user, const char *event, const char *setting, const char *text)
{
    (void)user;
    if (setting) {
        log_warn(NULL, event, KV_STR("setting", setting), KV_STR("text", text));
    } else {
        log_warn(NULL, event, KV_STR("text", text));
    }
}

void auth_config_log(const struct auth_config *c)
{
    key_source_log(c->key_findings, c->key_finding_count);
    if (c->as) {
        as_config_log(c->as);
    }
    tell_all(c, &(struct listener){.tell = log_one});
}

// ---- to whoever checks -------------------------------------------------------------------------

static void add_warning(void *user, const char *event, const char *setting, const char *text)
{
    (void)event;
    dynbuf_addf(user, "warning: %s%s%s\n", setting ? setting : "", setting ? ": " : "", text);
}

static void add_listeners(const struct auth_config *c, struct dynbuf *out)
{
    char at[ADDR_STRLEN];
    dynbuf_add_str(out, "  listens on         ");
    for (size_t i = 0; i < c->bind_count; i++) {
        dynbuf_addf(out, "%s%s", i > 0 ? ", " : "", addr_format(&c->bind[i], at));
    }
    dynbuf_add_str(out, "\n");
}

static void add_keys(const struct auth_config *c, wall_t now, struct dynbuf *out)
{
    const struct api_key *const signer = api_keys_signer(c->keys, now);
    dynbuf_add_str(out, "  keys               ");
    for (size_t i = 0; i < api_keys_count(c->keys); i++) {
        const struct api_key *const k = api_keys_at(c->keys, i);
        const char *const state = api_key_is_retired(k, now) ? "retired"
                                  : k == signer              ? "signs"
                                                             : "verifies";
        dynbuf_addf(out, "%s%s (%s)", i > 0 ? ", " : "", k->key, state);
    }
    dynbuf_add_str(out, c->keys_generated ? ", made up for this run\n" : "\n");
}

static void add_leaves(const struct auth_config *c, struct dynbuf *out)
{
    const char *const dir = auth_config_state_dir(c);
    if (!conf_bool(c->conf, AUTH_DELEGATION)) {
        dynbuf_add_str(out, "  delegated leaves   none are taken over\n");
    } else if (conf_has(c->conf, AUTH_REDIS_URL)) {
        dynbuf_add_str(out, "  delegated leaves   kept in Redis\n");
    } else if (dir && *dir) {
        dynbuf_addf(out, "  delegated leaves   kept in a journal in %s\n", dir);
    } else {
        dynbuf_add_str(out, "  delegated leaves   kept in memory: a restart loses them\n");
    }
}

// What follows from several settings, or from none.
static void add_in_force(const struct auth_config *c, wall_t now, struct dynbuf *out)
{
    dynbuf_addf(out, "in force:\n  clients connect to %s\n  own calls go to    %s\n",
                c->livekit_url, c->api_url);
    add_listeners(c, out);
    add_keys(c, now, out);
    dynbuf_addf(out, "  full access        %s\n",
                c->everybody               ? "users of every homeserver"
                : c->full_access_count > 0 ? "users of the listed homeservers"
                                           : "nobody");
    add_leaves(c, out);
    dynbuf_addf(out, "  certificates       %s\n", c->insecure ? "NOT checked" : "checked");
    if (c->as) {
        dynbuf_addf(out, "  application service of %s\n", c->as->server_name);
    }
}

void auth_config_explain(const struct auth_config *c, wall_t now, struct dynbuf *out)
{
    conf_dump(c->conf, out);
    if (c->command != AUTH_COMMAND_HEALTHCHECK) { // which reads only what it needs
        add_in_force(c, now, out);
    }
    for (size_t i = 0; i < c->key_finding_count; i++) {
        const struct key_finding *const f = &c->key_findings[i];
        dynbuf_addf(out, "warning: %s%s: %s\n", f->key ? "key " : "the keys", f->key ? f->key : "",
                    f->text);
    }
    tell_all(c, &(struct listener){.tell = add_warning, .user = out});
}

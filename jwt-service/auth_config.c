// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/auth_config.h"

#include <stdio.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "jwt-service/leave/cs_discovery.h"

#define DEV_URL "ws://127.0.0.1:7880" // livekit-server's port
#define DEV_PORT 8080

void auth_config_free(struct auth_config *c)
{
    if (c) {
        auth_config_free_edges(c);
        conf_free(c->conf);
        api_keys_free(c->keys);
        arena_done(&c->arena);
        mem_free(c);
    }
}

// ---- keys -----------------------------------------------------------------------------------

// A pair for this run. The key tells where it is from, so that a stray token explains itself.
static int generate_keys(struct auth_config *c)
{
    char name[KEY_NAME_SIZE];
    char secret[KEY_SECRET_SIZE];
    c->keys = api_keys_new();
    if (!c->keys) {
        return -ENOMEM;
    }
    key_source_generate(name, secret);
    memcpy(name, "dev", 3);
    int const r = api_keys_add(c->keys, bytes_str(name), bytes_str(secret));
    explicit_bzero(secret, sizeof(secret));
    c->keys_generated = r == 0;
    return r;
}

static bool is_flag(const struct conf *k, size_t item)
{
    return strncmp(conf_origin(k, item), "flag", 4) == 0;
}

// One half of a pair, which may stand in a file of its own. Returns the setting that gives it.
static size_t find_half(const struct conf *k, size_t plain, size_t from_file,
                        const char **ret_plain, const char **ret_path)
{
    bool const use_file = conf_has(k, from_file) && (!is_flag(k, plain) || is_flag(k, from_file));
    *ret_plain = conf_str(k, plain);
    *ret_path = use_file ? conf_str(k, from_file) : conf_path(k, plain);
    return use_file ? from_file : plain;
}

static int complain_of_keys(const struct auth_config *c, const size_t *items,
                            const struct key_source_error *e, char *err)
{
    size_t const item = items[e->part];
    bool const secret = e->part == KEY_SOURCE_SECRET;
    if (e->line > 0) {
        return conf_fail(c->conf, item, err, "%s, line %u: %s", c->key_source.file, e->line,
                         e->text);
    }
    if (e->part != KEY_SOURCE_LINES && !conf_has(c->conf, item)) {
        return conf_fail(c->conf, item, err,
                         secret
                             ? "the secret is missing; set LIVEKIT_SECRET (or "
                               "LIVEKIT_SECRET_FROM_FILE) to the secret of LIVEKIT_KEY"
                             : "the API key is missing; set LIVEKIT_KEY and LIVEKIT_SECRET (or "
                               "their ..._FROM_FILE forms, or LIVEKIT_KEY_FILE) to a pair that the "
                               "SFU knows");
    }
    return conf_fail(c->conf, item, err, "%s", e->text);
}

static int load_keys(struct auth_config *c, char *err)
{
    const struct conf *const k = c->conf;
    struct key_source *const s = &c->key_source;
    size_t items[KEY_SOURCE_PART_COUNT] = {[KEY_SOURCE_LINES] = AUTH_KEY_FILE};
    items[KEY_SOURCE_KEY] = find_half(k, AUTH_KEY, AUTH_KEY_FROM_FILE, &s->key, &s->key_file);
    items[KEY_SOURCE_SECRET] =
        find_half(k, AUTH_SECRET, AUTH_SECRET_FROM_FILE, &s->secret, &s->secret_file);
    if (conf_has(k, AUTH_KEY_FILE)) {
        s->file = conf_str(k, AUTH_KEY_FILE); // outranks the pair (authorization-service 2.2)
    } else if (c->dev && !conf_has(k, items[KEY_SOURCE_KEY]) &&
               !conf_has(k, items[KEY_SOURCE_SECRET])) {
        *s = (struct key_source){0};
        return generate_keys(c);
    }
    struct key_source_result result;
    struct key_source_error e = {0};
    int const r = key_source_read(s, clock_wall(), &result, &e);
    if (r < 0) {
        return r == -ENOMEM ? r : complain_of_keys(c, items, &e, err);
    }
    c->keys = result.keys;
    c->key_finding_count = result.finding_count;
    memcpy(c->key_findings, result.findings, sizeof(result.findings));
    return 0;
}

// ---- the rest -------------------------------------------------------------------------------

static bool is_sfu_url(const char *url)
{
    static const char *const schemes[] = {"ws://", "wss://", "http://", "https://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t const n = strlen(schemes[i]);
        if (strncmp(url, schemes[i], n) == 0 && url[n] != '\0' && url[n] != '/' &&
            !strpbrk(url, " \t\r\n?#")) {
            return true;
        }
    }
    return false;
}

static int load_urls(struct auth_config *c, char *err)
{
    const struct conf *const k = c->conf;
    c->livekit_url = conf_str(k, AUTH_LIVEKIT_URL);
    if (!*c->livekit_url && c->dev) {
        c->livekit_url = DEV_URL;
    }
    if (!*c->livekit_url) {
        return conf_fail(k, AUTH_LIVEKIT_URL, err,
                         "the URL of the SFU is missing; set LIVEKIT_URL to what clients shall "
                         "connect to, such as wss://example.org/livekit/sfu");
    }
    if (!is_sfu_url(c->livekit_url)) {
        return conf_fail(k, AUTH_LIVEKIT_URL, err,
                         "\"%s\" is no URL of the form wss://host[:port][/path]", c->livekit_url);
    }
    c->api_url = conf_has(k, AUTH_INTERNAL_URL) ? conf_str(k, AUTH_INTERNAL_URL) : c->livekit_url;
    if (!is_sfu_url(c->api_url)) {
        return conf_fail(k, AUTH_INTERNAL_URL, err,
                         "\"%s\" is no URL of the form http://host[:port][/path]", c->api_url);
    }
    return 0;
}

static int load_access(struct auth_config *c, char *err)
{
    const struct conf *const k = c->conf;
    // An empty list is one as well: nobody has full access.
    if (!conf_has(k, AUTH_FULL_ACCESS) && !c->dev) {
        return conf_fail(k, AUTH_FULL_ACCESS, err,
                         "the homeserver(s) you serve are missing; set "
                         "LIVEKIT_FULL_ACCESS_HOMESERVERS to their server names (* for all)");
    }
    size_t const n = conf_list_len(k, AUTH_FULL_ACCESS);
    c->everybody = (n == 1 && strcmp(conf_list_at(k, AUTH_FULL_ACCESS, 0), "*") == 0) ||
                   (c->dev && !conf_has(k, AUTH_FULL_ACCESS));
    return 0;
}

static void load_bind(struct auth_config *c)
{
    const struct conf *const k = c->conf;
    c->bind_item = AUTH_BIND;
    if (conf_has(k, AUTH_PORT)) {
        uint16_t const port = (uint16_t)conf_int(k, AUTH_PORT);
        c->bind_item = AUTH_PORT;
        c->bind[0] = addr_v4(0, 0, 0, 0, port);
        c->bind[1] = (struct addr){.family = ADDR_V6, .port = port};
        c->bind_count = 2;
    } else if (c->dev && !conf_is_set(k, AUTH_BIND)) {
        c->bind[0] = addr_v4(127, 0, 0, 1, DEV_PORT);
        c->bind_count = 1;
    } else {
        c->bind_count = conf_bind(k, AUTH_BIND, c->bind);
    }
}

static char *trim(char *s)
{
    static const char blanks[] = " \t\r\n";
    s += strspn(s, blanks);
    size_t n = strlen(s);
    while (n > 0 && strchr(blanks, s[n - 1])) {
        s[--n] = '\0';
    }
    return s;
}

// One "server=url" in place.
static int parse_override(char *entry, struct openid_override *ret)
{
    char *const eq = strchr(entry, '=');
    if (!eq) {
        return -EINVAL;
    }
    *eq = '\0';
    char *const name = trim(entry);
    char *const url = trim(eq + 1);
    if (!*name || !*url) {
        return -EINVAL;
    }
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/') {
        url[--n] = '\0';
    }
    *ret = (struct openid_override){.server_name = name, .base_url = url};
    return 0;
}

// Splits at commas; text is changed. *ret_bad: the entry that is wrong.
static int parse_overrides(char *text, struct openid_override *list, size_t *ret_n,
                           const char **ret_bad)
{
    size_t n = 0;
    for (char *p = text; p;) {
        char *const comma = strchr(p, ',');
        if (comma) {
            *comma = '\0';
        }
        *ret_bad = p;
        if (n == AUTH_OVERRIDES_MAX || parse_override(p, &list[n]) < 0) {
            return -EINVAL;
        }
        n++;
        p = comma ? comma + 1 : NULL;
    }
    *ret_n = n;
    return 0;
}

static int check_url(const struct auth_config *c, size_t item, const struct openid_override *o,
                     char *err)
{
    char checked[CS_BASE_URL_MAX + 1];
    return cs_base_url_check(bytes_str(o->base_url), checked) == 0
               ? 0
               : conf_fail(c->conf, item, err,
                           "\"%s\" of %s is no URL of the form https://host[:port][/path]",
                           o->base_url, o->server_name);
}

// Client-server URLs may stand without a scheme, as in upstream's sample (authorization-service 2.3).
static int complete_url(struct auth_config *c, size_t item, struct openid_override *o, char *err)
{
    if (strncmp(o->base_url, "http://", 7) == 0 || strncmp(o->base_url, "https://", 8) == 0) {
        return check_url(c, item, o, err);
    }
    if (item == AUTH_OPENID_OVERRIDES || strstr(o->base_url, "://")) {
        return conf_fail(c->conf, item, err, "the URL of %s must begin with http:// or https://",
                         o->server_name);
    }
    size_t const n = strlen(o->base_url) + sizeof("https://");
    char *const url = arena_alloc(&c->arena, n);
    if (!url) {
        return -ENOMEM;
    }
    (void)snprintf(url, n, "https://%s", o->base_url);
    o->base_url = url;
    return check_url(c, item, o, err);
}

static int load_overrides(struct auth_config *c, size_t item, struct server_overrides *ret,
                          char *err)
{
    const char *const text = conf_str(c->conf, item);
    if (!*text) {
        return 0;
    }
    struct openid_override *const list = arena_alloc(&c->arena, AUTH_OVERRIDES_MAX * sizeof(*list));
    char *const copy = arena_strdup(&c->arena, bytes_str(text));
    if (!list || !copy) {
        return -ENOMEM;
    }
    const char *bad = "";
    size_t n = 0;
    if (parse_overrides(copy, list, &n, &bad) < 0) {
        return conf_fail(c->conf, item, err, "invalid entry \"%s\", expected server_name=url", bad);
    }
    for (size_t i = 0; i < n; i++) {
        int const r = complete_url(c, item, &list[i], err);
        if (r < 0) {
            return r;
        }
    }
    *ret = (struct server_overrides){.list = list, .count = n};
    return 0;
}

// A path that cannot be read would show much later, as certificates that nobody trusts.
static int check_trust(const struct auth_config *c, char *err)
{
    static const size_t paths[] = {AUTH_CA_FILE, AUTH_SSL_CERT_FILE};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const char *const path = conf_str(c->conf, paths[i]);
        if (*path && access(path, R_OK) != 0) {
            return conf_fail(c->conf, paths[i], err,
                             "cannot read %s: %s; correct the path or leave it out", path,
                             strerror(errno));
        }
    }
    return 0;
}

static void load_log(struct auth_config *c)
{
    const char *const format = conf_str(c->conf, AUTH_LOG_FORMAT);
    bool const clear = strcmp(conf_str(c->conf, AUTH_LOG_IDS), "clear") == 0 ||
                       (c->dev && !conf_is_set(c->conf, AUTH_LOG_IDS));
    c->log = (struct log_settings){.level = LOG_LEVEL_INFO,
                                   .redact = clear ? LOG_REDACT_NONE : LOG_REDACT_HASH};
    c->log_level_unknown = !log_level_parse(conf_str(c->conf, AUTH_LOG_LEVEL), &c->log.level);
    c->log.format = strcmp(format, "json") == 0   ? LOG_FORMAT_JSON
                    : strcmp(format, "text") == 0 ? LOG_FORMAT_TEXT
                                                  : LOG_FORMAT_AUTO;
}

// `foci-jwt healthcheck`, `foci-jwt policy test USER ROOM`.
static int load_command(struct auth_config *c, char *err)
{
    const struct conf *const k = c->conf;
    size_t const n = conf_positionals(k);
    if (n == 0) {
        c->command = conf_bool(k, AUTH_HEALTHCHECK) ? AUTH_COMMAND_HEALTHCHECK : AUTH_COMMAND_SERVE;
    } else if (n == 1 && strcmp(conf_positional(k, 0), "healthcheck") == 0) {
        c->command = AUTH_COMMAND_HEALTHCHECK;
    } else if (n == 4 && strcmp(conf_positional(k, 0), "policy") == 0 &&
               strcmp(conf_positional(k, 1), "test") == 0) {
        c->command = AUTH_COMMAND_POLICY_TEST;
    } else {
        (void)snprintf(err, CONF_ERROR_MAX,
                       "\"%.64s\" is no command; there are: healthcheck, policy test USER ROOM",
                       conf_positional(k, 0));
        return -EINVAL;
    }
    return 0;
}

// A misspelt variable is the likeliest cause of one that is missing.
static void explain_with_warning(const struct auth_config *c, char *err)
{
    size_t const n = strlen(err);
    if (conf_warnings(c->conf) > 0 && n < CONF_ERROR_MAX) {
        (void)snprintf(err + n, CONF_ERROR_MAX - n, " (%s)", conf_warning(c->conf, 0));
    }
}

int auth_config_load(int argc, const char *const *argv, const char *const *envp,
                     struct auth_config **ret, char err[static CONF_ERROR_MAX])
{
    CLEANUP(auth_config_free) struct auth_config *c = NEW(struct auth_config);
    if (!c) {
        return -ENOMEM;
    }
    arena_init(&c->arena, 1024, 1u << 20);
    int r = conf_load(auth_config_spec(), argc, argv, envp, &c->conf, err);
    if (r < 0) {
        return r;
    }
    enum conf_action const action = conf_action(c->conf);
    if (action == CONF_SHOW_HELP || action == CONF_SHOW_VERSION) {
        *ret = STEAL(c);
        return 0;
    }
    c->dev = conf_bool(c->conf, AUTH_DEV);
    c->insecure = strcmp(conf_str(c->conf, AUTH_INSECURE), AUTH_INSECURE_PHRASE) == 0;
    c->ignore_unknown = conf_bool(c->conf, AUTH_IGNORE_UNKNOWN);
    load_log(c);
    load_bind(c);
    r = load_command(c, err);
    if (r == 0 && c->command != AUTH_COMMAND_HEALTHCHECK) { // which needs only to know where
        r = load_keys(c, err);
        r = r < 0 ? r : load_urls(c, err);
        r = r < 0 ? r : load_access(c, err);
        r = r < 0 ? r : load_overrides(c, AUTH_OPENID_OVERRIDES, &c->openid_overrides, err);
        r = r < 0 ? r : load_overrides(c, AUTH_CS_API_OVERRIDES, &c->cs_api_overrides, err);
        r = r < 0 ? r : check_trust(c, err);
        r = r < 0 ? r : auth_config_load_edges(c, err);
    }
    if (r < 0) {
        explain_with_warning(c, err);
        return r;
    }
    *ret = STEAL(c);
    return 0;
}

static bool is_listed(const struct auth_config *c, const char *server_name)
{
    for (size_t i = 0; i < conf_list_len(c->conf, AUTH_FULL_ACCESS); i++) {
        if (strcmp(conf_list_at(c->conf, AUTH_FULL_ACCESS, i), server_name) == 0) {
            return true;
        }
    }
    return false;
}

bool auth_config_full_access(const struct auth_config *c, const char *server_name)
{
    return c->everybody || is_listed(c, server_name);
}

static bool has_override(const struct server_overrides *o, const char *server_name)
{
    for (size_t i = 0; i < o->count; i++) {
        if (strcmp(o->list[i].server_name, server_name) == 0) {
            return true;
        }
    }
    return false;
}

bool auth_config_names_server(const struct auth_config *c, const char *server_name)
{
    return is_listed(c, server_name) || has_override(&c->openid_overrides, server_name) ||
           has_override(&c->cs_api_overrides, server_name);
}

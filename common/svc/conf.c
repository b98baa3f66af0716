// SPDX-License-Identifier: Apache-2.0
#include "common/svc/conf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/conf_internal.h"

// Keys and tokens; larger files are not what the operator meant.
#define FROM_FILE_MAX (64u << 10)

#define WARNINGS_MAX 32

// Names that can be compared with what was written: items, their other names, their _from_file
// forms.
#define NAMES_MAX 512

struct conf {
    const struct conf_spec *spec;
    struct conf_slot *slots;
    enum conf_action action;
    const char **positionals;
    size_t positional_count;
    char *warnings[WARNINGS_MAX];
    size_t warning_count;
    const char *file; // its path
    char *err;        // while loading
};

static int fail(struct conf *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int fail(struct conf *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(c->err, CONF_ERROR_MAX, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static void warn(struct conf *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void warn(struct conf *c, const char *fmt, ...)
{
    char line[CONF_ERROR_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (c->warning_count < WARNINGS_MAX) {
        c->warnings[c->warning_count] = mem_strdup(line);
        c->warning_count += c->warnings[c->warning_count] != NULL;
    }
}

void conf_free(struct conf *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; c->slots != NULL && i < c->spec->count; i++) {
        conf_slot_done(&c->slots[i]);
    }
    for (size_t i = 0; i < c->warning_count; i++) {
        mem_free(c->warnings[i]);
    }
    mem_free(c->slots);
    mem_free(c->positionals);
    mem_free(c);
}

// ---- setting values -------------------------------------------------------------------------

static int bad_value(struct conf *c, size_t i, const char *origin, const char *why)
{
    return fail(c, "%s (%s): %s", c->spec->items[i].name, origin, why);
}

// A value from one source; one of a stronger source that is there already stays.
static int assign(struct conf *c, size_t i, enum conf_source source, const char *origin,
                  const char *text)
{
    struct conf_slot *const s = &c->slots[i];
    const struct conf_item *const item = &c->spec->items[i];
    char why[CONF_ERROR_MAX] = "out of memory";
    if (s->source == source && source != CONF_SOURCE_DEFAULT) {
        return fail(c, "%s is given twice: %s and %s; keep one", item->name, s->origin, origin);
    }
    if (s->source > source) {
        // Still checked: a wrong value that happens not to count is a trap for later.
        struct conf_slot ignored = {0};
        int const rc = conf_slot_set(&ignored, item, text, why);
        conf_slot_done(&ignored);
        return rc < 0 ? bad_value(c, i, origin, why) : 0;
    }
    conf_slot_done(s);
    int const rc = conf_slot_set(s, item, text, why);
    if (rc < 0) {
        return bad_value(c, i, origin, why);
    }
    s->source = source;
    (void)snprintf(s->origin, sizeof(s->origin), "%s", origin);
    if ((item->flags & CONF_DEPRECATED) && source != CONF_SOURCE_DEFAULT) {
        warn(c, "%s (%s) is deprecated; use %s", item->name, origin,
             item->instead != NULL ? item->instead : "its replacement");
    }
    return 0;
}

// The value that has just been assigned from this source is the content of a file, if it is one: a
// pipe has nothing to read a second time.
static int note_path(struct conf *c, size_t i, enum conf_source source, const char *path)
{
    struct conf_slot *const s = &c->slots[i];
    struct stat st;
    if (s->source != source || stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
        return 0; // or a stronger one stayed
    }
    s->path = mem_strdup(path);
    return s->path != NULL ? 0 : -ENOMEM;
}

static int assign_from_file(struct conf *c, size_t i, enum conf_source source, const char *origin,
                            const char *path)
{
    char *text = NULL;
    size_t n = 0;
    int rc = conf_read_file(path, FROM_FILE_MAX, &text, &n);
    if (rc < 0) {
        return fail(c, "%s (%s): cannot read %s: %s", c->spec->items[i].name, origin, path,
                    strerror(-rc));
    }
    char where[CONF_ORIGIN_MAX];
    (void)snprintf(where, sizeof(where), "%.120s, read from %.180s", origin, path);
    rc = n > 0 ? assign(c, i, source, where, text)
               : fail(c, "%s (%s): the file %s is empty", c->spec->items[i].name, origin, path);
    explicit_bzero(text, n);
    mem_free(text);
    return rc == 0 ? note_path(c, i, source, path) : rc;
}

// True if written is name + suffix of the FROM_FILE form, by the given joint ("_" or "-").
static bool is_from_file(const char *written, const char *name, const char *suffix)
{
    size_t const n = strlen(name);
    return strncmp(written, name, n) == 0 && strcmp(written + n, suffix) == 0;
}

// ---- near misses ----------------------------------------------------------------------------

enum name_kind {
    NAME_FILE,
    NAME_ENV,
    NAME_FLAG,
};

static size_t collect_names(const struct conf_spec *spec, enum name_kind kind, const char **ret)
{
    size_t n = 0;
    for (size_t i = 0; i < spec->count; i++) {
        const struct conf_item *const item = &spec->items[i];
        if (kind == NAME_FILE && n < NAMES_MAX) {
            ret[n++] = item->name;
        }
        const char *const *const more = kind == NAME_ENV    ? item->env
                                        : kind == NAME_FLAG ? item->flag
                                                            : item->alias;
        for (size_t k = 0; k < CONF_ALIASES && more[k] != NULL && n < NAMES_MAX; k++) {
            ret[n++] = more[k];
        }
    }
    ret[n] = NULL;
    return n;
}

static const char *nearest(const struct conf_spec *spec, enum name_kind kind, const char *written)
{
    const char *names[NAMES_MAX + 1];
    (void)collect_names(spec, kind, names);
    return conf_nearest(written, names);
}

// ---- file -----------------------------------------------------------------------------------

struct file_walk {
    struct conf *c;
    const char *path;
};

static int on_leaf(void *user, const struct conf_leaf *leaf)
{
    const struct file_walk *const w = user;
    struct conf *const c = w->c;
    char origin[CONF_ORIGIN_MAX];
    (void)snprintf(origin, sizeof(origin), "file %.250s:%u", w->path, leaf->line);
    for (size_t i = 0; i < c->spec->count; i++) {
        const struct conf_item *const item = &c->spec->items[i];
        bool hit = strcmp(leaf->name, item->name) == 0;
        for (size_t k = 0; k < CONF_ALIASES && item->alias[k] != NULL; k++) {
            hit |= strcmp(leaf->name, item->alias[k]) == 0;
        }
        if (hit) {
            return assign(c, i, CONF_SOURCE_FILE, origin, leaf->text);
        }
        if ((item->flags & CONF_FROM_FILE) && is_from_file(leaf->name, item->name, "_from_file")) {
            return assign_from_file(c, i, CONF_SOURCE_FILE, origin, leaf->text);
        }
    }
    const char *const near = nearest(c->spec, NAME_FILE, leaf->name);
    return fail(c, "%s (%s) is no setting%s%s%s; --help lists all", leaf->name, origin,
                near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                near != NULL ? "?" : "");
}

static int read_file(struct conf *c, const char *path, const char *origin)
{
    char why[CONF_ERROR_MAX] = "";
    struct file_walk w = {c, path};
    int const rc = conf_file_read(path, NULL, on_leaf, &w, why);
    if (rc == 0 || rc == -ENOMEM) {
        return rc;
    }
    if (rc == -EINVAL && why[0] != '\0') {
        return fail(c, "configuration (%s): %s", origin, why);
    }
    return rc == -EINVAL
               ? rc
               : fail(c, "configuration (%s): cannot read %s: %s", origin, path, strerror(-rc));
}

// ---- environment ----------------------------------------------------------------------------

// An entry that ends in * stands for all names that begin like it.
static bool in_list(const char *const *list, const char *name)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        size_t const n = strlen(list[i]);
        bool const begins = n > 0 && list[i][n - 1] == '*';
        if (begins ? strncmp(list[i], name, n - 1) == 0 : strcmp(list[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_prefix(const char *const *prefixes, const char *name)
{
    for (size_t i = 0; prefixes != NULL && prefixes[i] != NULL; i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static const char *right_env_name(const struct conf_spec *spec, const char *name)
{
    for (const struct conf_rename *r = spec->env_renamed; r != NULL && r->wrong != NULL; r++) {
        if (strcmp(r->wrong, name) == 0) {
            return r->right;
        }
    }
    return nearest(spec, NAME_ENV, name);
}

static void warn_unknown_env(struct conf *c, const char *name)
{
    const struct conf_spec *const spec = c->spec;
    bool const ours = spec->config_env != NULL && strcmp(name, spec->config_env) == 0;
    if (ours || !has_prefix(spec->env_prefixes, name) || in_list(spec->env_foreign, name)) {
        return;
    }
    const char *const near = right_env_name(spec, name);
    warn(c, "environment variable %s is no setting of %s%s%s%s", name, spec->program,
         near != NULL ? "; did you mean " : " and is ignored", near != NULL ? near : "",
         near != NULL ? "?" : "");
}

static int on_env(struct conf *c, const char *name, const char *value)
{
    char origin[CONF_ORIGIN_MAX];
    (void)snprintf(origin, sizeof(origin), "environment %.200s", name);
    for (size_t i = 0; i < c->spec->count; i++) {
        const struct conf_item *const item = &c->spec->items[i];
        for (size_t k = 0; k < CONF_ALIASES && item->env[k] != NULL; k++) {
            if (strcmp(name, item->env[k]) == 0) {
                return assign(c, i, CONF_SOURCE_ENV, origin, value);
            }
            if ((item->flags & CONF_FROM_FILE) && is_from_file(name, item->env[k], "_FROM_FILE")) {
                return assign_from_file(c, i, CONF_SOURCE_ENV, origin, value);
            }
        }
    }
    warn_unknown_env(c, name);
    return 0;
}

static int read_env(struct conf *c, const char *const *envp)
{
    for (size_t i = 0; envp != NULL && envp[i] != NULL; i++) {
        const char *const eq = strchr(envp[i], '=');
        char name[128];
        if (eq == NULL || (size_t)(eq - envp[i]) >= sizeof(name) || eq[1] == '\0') {
            continue;
        }
        memcpy(name, envp[i], (size_t)(eq - envp[i]));
        name[eq - envp[i]] = '\0';
        int const rc = on_env(c, name, eq + 1);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static const char *env_value(const char *const *envp, const char *name)
{
    size_t const n = name != NULL ? strlen(name) : 0;
    for (size_t i = 0; n > 0 && envp != NULL && envp[i] != NULL; i++) {
        if (strncmp(envp[i], name, n) == 0 && envp[i][n] == '=' && envp[i][n + 1] != '\0') {
            return envp[i] + n + 1;
        }
    }
    return NULL;
}

// ---- credentials ----------------------------------------------------------------------------

static int read_credential(struct conf *c, size_t i, const char *path)
{
    const struct conf_item *const item = &c->spec->items[i];
    char origin[CONF_ORIGIN_MAX];
    (void)snprintf(origin, sizeof(origin), "credential %.250s", path);
    if (c->slots[i].source > CONF_SOURCE_CREDENTIAL) {
        warn(c, "%s (%s) is not used: %s outranks it; keep one", item->name, origin,
             c->slots[i].origin);
        return 0;
    }
    if (item->flags & CONF_CREDENTIAL_PATH) {
        return assign(c, i, CONF_SOURCE_CREDENTIAL, origin, path);
    }
    char *text = NULL;
    size_t n = 0;
    int rc = conf_read_file(path, FROM_FILE_MAX, &text, &n);
    if (rc < 0) {
        return fail(c, "%s (%s): cannot read it: %s", item->name, origin, strerror(-rc));
    }
    rc = n > 0 ? assign(c, i, CONF_SOURCE_CREDENTIAL, origin, text)
               : fail(c, "%s (%s): it is empty", item->name, origin);
    explicit_bzero(text, n);
    mem_free(text);
    return rc == 0 ? note_path(c, i, CONF_SOURCE_CREDENTIAL, path) : rc;
}

// systemd.exec(5), "Credentials": files in a folder that only the service sees. Last, to tell which
// of them are outranked.
static int read_credentials(struct conf *c, const char *const *envp)
{
    const char *const folder = env_value(envp, "CREDENTIALS_DIRECTORY");
    for (size_t i = 0; folder != NULL && i < c->spec->count; i++) {
        const struct conf_item *const item = &c->spec->items[i];
        char path[CONF_ORIGIN_MAX];
        int const n = snprintf(path, sizeof(path), "%s/%s", folder, item->name);
        bool const wanted = item->type == CONF_SECRET ||
                            (item->flags & (CONF_CREDENTIAL | CONF_CREDENTIAL_PATH)) != 0;
        if (!wanted || n < 0 || (size_t)n >= sizeof(path) || access(path, F_OK) != 0) {
            continue;
        }
        int const rc = read_credential(c, i, path);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

// ---- flags ----------------------------------------------------------------------------------

// One flag as written: name without dashes, value or NULL.
struct flag {
    char name[64];
    const char *value;
    bool value_is_next; // the value would be the next argument
};

static bool split_flag(const char *arg, struct flag *ret)
{
    if (arg[0] != '-' || arg[1] == '\0') {
        return false;
    }
    const char *const name = arg + (arg[1] == '-' ? 2 : 1);
    const char *const eq = strchr(name, '=');
    size_t const n = eq != NULL ? (size_t)(eq - name) : strlen(name);
    (void)snprintf(ret->name, sizeof(ret->name), "%.*s", (int)MIN(n, sizeof(ret->name) - 1), name);
    ret->value = eq != NULL ? eq + 1 : NULL;
    ret->value_is_next = eq == NULL;
    return true;
}

static bool is_bool_word(const char *text)
{
    struct conf_slot s = {0};
    struct conf_item const item = {.type = CONF_BOOL};
    char why[CONF_ERROR_MAX];
    bool const yes = text != NULL && conf_slot_set(&s, &item, text, why) == 0;
    conf_slot_done(&s);
    return yes;
}

static int unknown_flag(struct conf *c, const char *arg, const char *name)
{
    const char *const near = nearest(c->spec, NAME_FLAG, name);
    return fail(c, "%s is no flag of %s%s%s%s; --help lists all", arg, c->spec->program,
                near != NULL ? "; did you mean --" : "", near != NULL ? near : "",
                near != NULL ? "?" : "");
}

// Sets the item a flag names. *used: how many arguments behind it were its value.
static int on_flag(struct conf *c, const char *arg, struct flag *f, const char *next, int *used)
{
    char origin[CONF_ORIGIN_MAX];
    (void)snprintf(origin, sizeof(origin), "flag --%s", f->name);
    for (size_t i = 0; i < c->spec->count; i++) {
        const struct conf_item *const item = &c->spec->items[i];
        for (size_t k = 0; k < CONF_ALIASES && item->flag[k] != NULL; k++) {
            bool const from_file = (item->flags & CONF_FROM_FILE) &&
                                   is_from_file(f->name, item->flag[k], "-from-file");
            if (!from_file && strcmp(f->name, item->flag[k]) != 0) {
                continue;
            }
            bool const lone_bool =
                item->type == CONF_BOOL && f->value_is_next && !is_bool_word(next);
            if (f->value_is_next && !lone_bool) {
                f->value = next;
                *used = 1;
            }
            const char *const value = lone_bool ? "true" : f->value;
            if (value == NULL) {
                return fail(c, "--%s needs a value: %s", f->name, item->help);
            }
            return from_file ? assign_from_file(c, i, CONF_SOURCE_FLAG, origin, value)
                             : assign(c, i, CONF_SOURCE_FLAG, origin, value);
        }
    }
    return unknown_flag(c, arg, f->name);
}

static int add_positional(struct conf *c, const char *arg)
{
    if (c->positional_count >= c->spec->positional_max) {
        return fail(c, "\"%s\" is not understood; --help lists what is", arg);
    }
    c->positionals[c->positional_count++] = arg;
    return 0;
}

static bool action_of(const char *name, enum conf_action *ret)
{
    if (strcmp(name, "help") == 0 || strcmp(name, "h") == 0) {
        *ret = CONF_SHOW_HELP;
    } else if (strcmp(name, "version") == 0) {
        *ret = CONF_SHOW_VERSION;
    } else if (strcmp(name, "check-config") == 0) {
        *ret = CONF_CHECK;
    } else {
        return false;
    }
    return true;
}

// first: looks only for actions and --config, so that --help works beside any mistake.
static int read_flags(struct conf *c, int argc, const char *const *argv, bool first)
{
    for (int i = 1; i < argc; i++) {
        struct flag f;
        int used = 0;
        const char *const next = i + 1 < argc ? argv[i + 1] : NULL;
        int rc = 0;
        if (!split_flag(argv[i], &f)) {
            rc = first ? 0 : add_positional(c, argv[i]);
        } else if (action_of(f.name, &c->action)) {
            rc = 0;
        } else if (strcmp(f.name, "config") == 0) {
            c->file = f.value_is_next ? next : f.value;
            used = f.value_is_next ? 1 : 0;
            rc = c->file != NULL ? 0 : fail(c, "--config needs the path of a file");
        } else if (!first) {
            rc = on_flag(c, argv[i], &f, next, &used);
        }
        if (rc < 0) {
            return rc;
        }
        i += used;
    }
    return 0;
}

// ---- whole ----------------------------------------------------------------------------------

static int read_defaults(struct conf *c)
{
    for (size_t i = 0; i < c->spec->count; i++) {
        const char *const def = c->spec->items[i].def;
        int const rc = def != NULL ? assign(c, i, CONF_SOURCE_DEFAULT, "default", def) : 0;
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static size_t find_item(const struct conf_spec *spec, const char *name)
{
    size_t i = 0;
    while (i < spec->count && strcmp(spec->items[i].name, name) != 0) {
        i++;
    }
    return i;
}

static int check_whole(struct conf *c)
{
    for (size_t i = 0; i < c->spec->count; i++) {
        const struct conf_item *const item = &c->spec->items[i];
        if ((item->flags & CONF_REQUIRED) && c->slots[i].source == CONF_SOURCE_NONE) {
            return fail(c, "%s is not set; give %s%s or --%s: %s", item->name,
                        item->env[0] != NULL ? "the environment variable " : "",
                        item->env[0] != NULL ? item->env[0] : item->name,
                        item->flag[0] != NULL ? item->flag[0] : item->name, item->help);
        }
        size_t const other =
            item->conflicts != NULL ? find_item(c->spec, item->conflicts) : c->spec->count;
        if (other < c->spec->count && conf_is_set(c, i) && conf_is_set(c, other)) {
            return fail(c, "%s (%s) and %s (%s) exclude each other; keep one", item->name,
                        c->slots[i].origin, c->spec->items[other].name, c->slots[other].origin);
        }
    }
    return 0;
}

static int load(struct conf *c, int argc, const char *const *argv, const char *const *envp)
{
    int rc = read_flags(c, argc, argv, true);
    if (rc < 0 || c->action == CONF_SHOW_HELP || c->action == CONF_SHOW_VERSION) {
        return rc;
    }
    char origin[CONF_ORIGIN_MAX] = "flag --config";
    if (c->file == NULL) {
        c->file = env_value(envp, c->spec->config_env);
        (void)snprintf(origin, sizeof(origin), "environment %.100s",
                       c->spec->config_env != NULL ? c->spec->config_env : "");
    }
    rc = read_defaults(c);
    if (rc == 0 && c->file != NULL) {
        rc = read_file(c, c->file, origin);
    } else if (rc == 0 && c->spec->config_default != NULL) {
        char *probe = NULL;
        if (conf_read_file(c->spec->config_default, 1u << 20, &probe, NULL) == 0) {
            mem_free(probe);
            rc = read_file(c, c->spec->config_default, "default");
        }
    }
    rc = rc == 0 ? read_env(c, envp) : rc;
    rc = rc == 0 ? read_flags(c, argc, argv, false) : rc;
    rc = rc == 0 ? read_credentials(c, envp) : rc;
    return rc == 0 ? check_whole(c) : rc;
}

static int conf_new(const struct conf_spec *spec, size_t positionals, char *err, struct conf **ret)
{
    struct conf *const c = NEW(struct conf);
    if (c == NULL) {
        return -ENOMEM;
    }
    c->spec = spec;
    c->err = err;
    c->slots = mem_array(spec->count, sizeof(*c->slots));
    c->positionals = mem_array(positionals, sizeof(*c->positionals));
    if (c->slots == NULL || c->positionals == NULL) {
        conf_free(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}

int conf_load(const struct conf_spec *spec, int argc, const char *const *argv,
              const char *const *envp, struct conf **ret, char err[static CONF_ERROR_MAX])
{
    struct conf *c = NULL;
    int rc = conf_new(spec, spec->positional_max, err, &c);
    if (rc == 0) {
        rc = load(c, argc, argv, envp);
    }
    if (rc < 0) {
        if (rc == -ENOMEM) {
            (void)snprintf(err, CONF_ERROR_MAX, "out of memory");
        }
        conf_free(c);
        return rc;
    }
    c->err = NULL;
    *ret = c;
    return 0;
}

int conf_check_text(const struct conf_spec *spec, const char *text, char err[static CONF_ERROR_MAX])
{
    struct conf *c = NULL;
    char why[CONF_ERROR_MAX] = "";
    int rc = conf_new(spec, 0, err, &c);
    if (rc == 0) {
        struct file_walk w = {c, "text"};
        rc = conf_file_read(NULL, text, on_leaf, &w, why);
        if (rc == -EINVAL && why[0] != '\0') {
            rc = fail(c, "%s", why);
        }
    }
    conf_free(c);
    return rc;
}

// ---- reading --------------------------------------------------------------------------------

enum conf_action conf_action(const struct conf *c)
{
    return c->action;
}

bool conf_is_set(const struct conf *c, size_t item)
{
    return c->slots[item].source > CONF_SOURCE_DEFAULT;
}

bool conf_has(const struct conf *c, size_t item)
{
    return c->slots[item].source != CONF_SOURCE_NONE;
}

static const struct conf_slot *slot(const struct conf *c, size_t item, enum conf_type type)
{
    assert(item < c->spec->count && c->spec->items[item].type == type);
    return &c->slots[item];
}

const char *conf_str(const struct conf *c, size_t item)
{
    enum conf_type const type = c->spec->items[item].type;
    const struct conf_slot *const s =
        slot(c, item, type == CONF_SECRET ? CONF_SECRET : CONF_STRING);
    return s->text != NULL ? s->text : "";
}

int64_t conf_int(const struct conf *c, size_t item)
{
    return slot(c, item, CONF_INT)->num;
}

bool conf_bool(const struct conf *c, size_t item)
{
    return slot(c, item, CONF_BOOL)->num != 0;
}

int64_t conf_ms(const struct conf *c, size_t item)
{
    return slot(c, item, CONF_DURATION)->num;
}

size_t conf_list_len(const struct conf *c, size_t item)
{
    return slot(c, item, CONF_LIST)->list_len;
}

const char *conf_list_at(const struct conf *c, size_t item, size_t i)
{
    return slot(c, item, CONF_LIST)->list[i];
}

size_t conf_bind(const struct conf *c, size_t item, struct addr ret[static CONF_BIND_MAX])
{
    const struct conf_slot *const s = slot(c, item, CONF_BIND);
    memcpy(ret, s->binds, sizeof(s->binds));
    return s->bind_len;
}

const char *conf_path(const struct conf *c, size_t item)
{
    return c->slots[item].path;
}

const char *conf_origin(const struct conf *c, size_t item)
{
    return conf_has(c, item) ? c->slots[item].origin : "unset";
}

int conf_fail(const struct conf *c, size_t item, char err[static CONF_ERROR_MAX], const char *fmt,
              ...)
{
    int const n =
        snprintf(err, CONF_ERROR_MAX, "%s (%s): ", c->spec->items[item].name, conf_origin(c, item));
    va_list ap;
    va_start(ap, fmt);
    if (n > 0 && n < CONF_ERROR_MAX) {
        (void)vsnprintf(err + n, CONF_ERROR_MAX - (size_t)n, fmt, ap);
    }
    va_end(ap);
    return -EINVAL;
}

size_t conf_warnings(const struct conf *c)
{
    return c->warning_count;
}

const char *conf_warning(const struct conf *c, size_t i)
{
    return c->warnings[i];
}

size_t conf_positionals(const struct conf *c)
{
    return c->positional_count;
}

const char *conf_positional(const struct conf *c, size_t i)
{
    return c->positionals[i];
}

// ---- text for people ------------------------------------------------------------------------

void conf_help(const struct conf_spec *spec, struct dynbuf *out)
{
    dynbuf_addf(
        out, "%s %s\n%s\n\nA flag outranks the environment, that the file, that the default.\n\n",
        spec->program, spec->version, spec->summary);
    dynbuf_addf(out, "  --config PATH\n      Configuration file (libconfig)%s%s.\n",
                spec->config_env != NULL ? "; environment " : "",
                spec->config_env != NULL ? spec->config_env : "");
    for (size_t i = 0; i < spec->count; i++) {
        const struct conf_item *const item = &spec->items[i];
        if (item->flags & CONF_NO_DUMP) {
            continue;
        }
        dynbuf_addf(out, "  %s%s%s%s\n      %s", item->flag[0] != NULL ? "--" : "",
                    item->flag[0] != NULL ? item->flag[0] : item->name,
                    item->arg != NULL ? " " : "", item->arg != NULL ? item->arg : "", item->help);
        dynbuf_addf(out, "\n      file: %s", item->name);
        if (item->env[0] != NULL) {
            dynbuf_addf(out, "; environment: %s%s", item->env[0],
                        item->flags & CONF_FROM_FILE ? ", or a path in it with _FROM_FILE" : "");
        }
        if (item->def != NULL) {
            dynbuf_addf(out, "; default: %s", item->def);
        }
        dynbuf_add_str(out, "\n");
    }
    dynbuf_add_str(out, "  --check-config\n      Print each setting with its origin and end.\n"
                        "  --version, --help\n");
}

void conf_dump(const struct conf *c, struct dynbuf *out)
{
    for (size_t i = 0; i < c->spec->count; i++) {
        const struct conf_item *const item = &c->spec->items[i];
        const struct conf_slot *const s = &c->slots[i];
        bool const hide = item->type == CONF_SECRET || (item->flags & CONF_HIDDEN);
        const char *const text = s->text == NULL ? "" : hide ? "***" : s->text;
        dynbuf_addf(out, "%s = %s  (%s)\n", item->name, text, conf_origin(c, i));
    }
}

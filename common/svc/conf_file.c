// SPDX-License-Identifier: Apache-2.0
#include <libconfig.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "common/svc/conf_internal.h"

// A configuration file is written by people: larger ones are something else.
#define TEXT_MAX (1u << 20)

// Deeper than any setting of ours; libconfig itself has no limit.
#define DEPTH_MAX 8

struct walk {
    int (*fn)(void *user, const struct conf_leaf *leaf);
    void *user;
    char name[256];
    struct dynbuf text;
};

static bool scalar_text(const config_setting_t *s, struct dynbuf *out)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
        dynbuf_addf(out, "%d", config_setting_get_int(s));
        return true;
    case CONFIG_TYPE_INT64:
        dynbuf_addf(out, "%lld", config_setting_get_int64(s));
        return true;
    case CONFIG_TYPE_FLOAT:
        dynbuf_addf(out, "%g", config_setting_get_float(s));
        return true;
    case CONFIG_TYPE_BOOL:
        dynbuf_add_str(out, config_setting_get_bool(s) ? "true" : "false");
        return true;
    case CONFIG_TYPE_STRING:
        dynbuf_add_str(out, config_setting_get_string(s));
        return true;
    default:
        return false;
    }
}

static void sequence_text(const config_setting_t *s, struct dynbuf *out)
{
    for (int i = 0; i < config_setting_length(s); i++) {
        dynbuf_add_str(out, i > 0 ? "," : "");
        (void)scalar_text(config_setting_get_elem(s, (unsigned)i), out);
    }
}

static int visit(struct walk *w, const config_setting_t *s, size_t name_len, int depth);

static int visit_group(struct walk *w, const config_setting_t *s, size_t name_len, int depth)
{
    for (int i = 0; i < config_setting_length(s); i++) {
        const config_setting_t *const child = config_setting_get_elem(s, (unsigned)i);
        const char *const name = config_setting_name(child);
        int const n = snprintf(w->name + name_len, sizeof(w->name) - name_len, "%s%s",
                               name_len > 0 ? "." : "", name != NULL ? name : "?");
        if (n < 0 || (size_t)n >= sizeof(w->name) - name_len) {
            return -E2BIG;
        }
        int const rc = visit(w, child, name_len + (size_t)n, depth + 1);
        if (rc != 0) {
            return rc;
        }
        w->name[name_len] = '\0';
    }
    return 0;
}

// Recursion is bounded by DEPTH_MAX.
static int visit(struct walk *w, const config_setting_t *s, size_t name_len, int depth)
{
    if (depth > DEPTH_MAX) {
        return -E2BIG;
    }
    if (config_setting_is_group(s)) {
        return visit_group(w, s, name_len, depth);
    }
    dynbuf_reset(&w->text);
    if (!scalar_text(s, &w->text)) {
        sequence_text(s, &w->text);
    }
    const char *const text = dynbuf_cstr(&w->text);
    if (text == NULL) {
        return -ENOMEM;
    }
    struct conf_leaf const leaf = {w->name, text, config_setting_source_line(s)};
    return w->fn(w->user, &leaf);
}

static int syntax_error(const config_t *c, const char *path, char *why)
{
    (void)snprintf(why, CONF_ERROR_MAX, "%s, line %d: %s", path != NULL ? path : "configuration",
                   config_error_line(c), config_error_text(c));
    return -EINVAL;
}

int conf_file_read(const char *path, const char *text,
                   int (*fn)(void *user, const struct conf_leaf *leaf), void *user,
                   char why[static CONF_ERROR_MAX])
{
    char *content = NULL;
    if (path != NULL) {
        // Read by us: libconfig's own reading follows @include and tells no errno.
        int const rc = conf_read_file(path, TEXT_MAX, &content, NULL);
        if (rc < 0) {
            return rc;
        }
        text = content;
    }
    config_t c;
    config_init(&c);
    struct walk w = {.fn = fn, .user = user};
    dynbuf_init(&w.text, TEXT_MAX);
    int rc = config_read_string(&c, text) == CONFIG_TRUE ? 0 : syntax_error(&c, path, why);
    if (rc == 0) {
        rc = visit(&w, config_root_setting(&c), 0, 0);
    }
    dynbuf_done(&w.text);
    config_destroy(&c);
    mem_free(content);
    return rc;
}

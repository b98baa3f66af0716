// SPDX-License-Identifier: Apache-2.0
#include <libconfig.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "common/svc/conf_internal.h"
#include "common/svc/conf_tree.h"

// Deeper than any setting of ours; libconfig itself has no limit.
#define DEPTH_MAX CONF_TREE_DEPTH_MAX

// The file as it is, so that libconfig's line numbers are the file's. To be freed with wipe_free.
// (Read by us: libconfig's own reading tells no errno.)
static int read_text(const char *path, char **ret)
{
    size_t n = 0;
    unsigned mode = 0;
    int const rc = conf_read_whole(path, CONF_TREE_TEXT_MAX, ret, &n, &mode);
    if (rc == 0 && memchr(*ret, 0, n) != NULL) {
        explicit_bzero(*ret, n);
        mem_free(*ret);
        *ret = NULL;
        return -EILSEQ; // no text; what follows the zero would be left out silently
    }
    return rc;
}

static void wipe_free(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        mem_free(text);
    }
}

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
        int const rc = read_text(path, &content);
        if (rc < 0) {
            return rc;
        }
        text = content;
    }
    config_t c;
    config_init(&c);
    struct walk w = {.fn = fn, .user = user};
    dynbuf_init(&w.text, CONF_TREE_TEXT_MAX);
    int rc = config_read_string(&c, text) == CONFIG_TRUE ? 0 : syntax_error(&c, path, why);
    if (rc == 0) {
        rc = visit(&w, config_root_setting(&c), 0, 0);
    }
    dynbuf_done(&w.text);
    config_destroy(&c);
    wipe_free(content);
    return rc;
}

// ---- trees ----------------------------------------------------------------------------------

struct grow {
    struct arena *arena;
    const char *path;
    char *err;
};

static int grow_failed(const struct grow *g)
{
    bool const full = g->arena->over_cap;
    (void)snprintf(g->err, CONF_ERROR_MAX, "%s: %s", g->path,
                   full ? "more than this program accepts; make it smaller" : "out of memory");
    return full ? -E2BIG : -ENOMEM;
}

static int grow_node(const struct grow *g, const config_setting_t *s, unsigned line, int depth,
                     struct conf_tree **ret);

static int grow_children(const struct grow *g, const config_setting_t *s, int depth,
                         struct conf_tree *node)
{
    struct conf_tree *last = NULL;
    node->count = (size_t)config_setting_length(s);
    for (unsigned i = 0; i < node->count; i++) {
        // An entry of a list has no name, and libconfig not always a line for it.
        struct conf_tree *child = NULL;
        const config_setting_t *const from = config_setting_get_elem(s, i);
        int const rc = grow_node(g, from, node->line, depth + 1, &child);
        if (rc < 0) {
            return rc;
        }
        if (last != NULL) {
            last->next = child;
        } else {
            node->first = child;
        }
        last = child;
    }
    return 0;
}

static bool fill_scalar(const struct grow *g, const config_setting_t *s, struct conf_tree *node)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
        node->type = CONF_TREE_INT;
        node->v.i = config_setting_get_int(s);
        return true;
    case CONFIG_TYPE_INT64:
        node->type = CONF_TREE_INT;
        node->v.i = config_setting_get_int64(s);
        return true;
    case CONFIG_TYPE_FLOAT:
        node->type = CONF_TREE_FLOAT;
        node->v.f = config_setting_get_float(s);
        return true;
    case CONFIG_TYPE_BOOL:
        node->type = CONF_TREE_BOOL;
        node->v.b = config_setting_get_bool(s) != 0;
        return true;
    default: {
        const char *const text = config_setting_get_string(s);
        node->type = CONF_TREE_STRING;
        node->v.s = arena_strdup(g->arena, bytes_str(text != NULL ? text : ""));
        return node->v.s != NULL;
    }
    }
}

// Recursion is bounded by DEPTH_MAX.
static int grow_node(const struct grow *g, const config_setting_t *s, unsigned line, int depth,
                     struct conf_tree **ret)
{
    unsigned const own = config_setting_source_line(s);
    if (depth > DEPTH_MAX) {
        (void)snprintf(g->err, CONF_ERROR_MAX, "%s:%u: groups inside groups, more than %d deep",
                       g->path, line, DEPTH_MAX);
        return -E2BIG;
    }
    struct conf_tree *const node = arena_alloc(g->arena, sizeof(*node));
    if (node == NULL) {
        return grow_failed(g);
    }
    const char *const name = config_setting_name(s);
    node->line = own > 0 ? own : line;
    node->name = name != NULL ? arena_strdup(g->arena, bytes_str(name)) : NULL;
    if (name != NULL && node->name == NULL) {
        return grow_failed(g);
    }
    *ret = node;
    if (config_setting_is_aggregate(s)) {
        node->type = config_setting_is_group(s) ? CONF_TREE_GROUP : CONF_TREE_LIST;
        return grow_children(g, s, depth, node);
    }
    return fill_scalar(g, s, node) ? 0 : grow_failed(g);
}

static int grow_tree(const struct grow *g, const char *text, const struct conf_tree **ret)
{
    const char *what = NULL;
    unsigned line = conf_tree_scan(text, &what);
    struct conf_tree *root = NULL;
    config_t c;
    config_init(&c);
    int rc = 0;
    if (what == NULL && config_read_string(&c, text) != CONFIG_TRUE) {
        line = (unsigned)MAX(config_error_line(&c), 1);
        what = config_error_text(&c);
    }
    if (what != NULL) {
        bool const syntax = strcmp(what, "syntax error") == 0;
        (void)snprintf(g->err, CONF_ERROR_MAX, "%s:%u: %s%s", g->path, line, what,
                       syntax ? "; look for a missing or surplus ; , quote or bracket in this line "
                                "or before it"
                              : "");
        rc = -EINVAL;
    } else {
        rc = grow_node(g, config_root_setting(&c), 1, 0, &root);
    }
    config_destroy(&c);
    if (rc == 0) {
        *ret = root;
    }
    return rc;
}

int conf_tree_read(const char *path, const char *text, struct arena *arena,
                   const struct conf_tree **ret, char err[static CONF_ERROR_MAX])
{
    char *content = NULL;
    if (text == NULL) {
        int const rc = read_text(path, &content);
        if (rc < 0) {
            (void)snprintf(err, CONF_ERROR_MAX,
                           "%s: cannot be read: %s; check path and permissions", path,
                           rc == -EILSEQ ? "a zero byte in a text" : strerror(-rc));
            return rc;
        }
    }
    struct grow const g = {.arena = arena, .path = path, .err = err};
    int const rc = grow_tree(&g, text != NULL ? text : content, ret);
    wipe_free(content);
    return rc;
}

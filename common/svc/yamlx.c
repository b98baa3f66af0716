// SPDX-License-Identifier: Apache-2.0
#include "common/svc/yamlx.h"

#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

#include "common/base/mem.h"

struct yamlx_node {
    enum yamlx_type type;
    unsigned line;
    bool plain; // scalar without quotes, so that it may be null
    char *key;  // in a mapping
    char *text; // scalar, zero-terminated
    size_t text_n;
    struct yamlx_node *first; // children, in the order of the file
    struct yamlx_node *last;
    struct yamlx_node *next; // of the same parent
    struct yamlx_node *parent;
    size_t count;
};

struct yamlx {
    struct yamlx_node *root;
};

// Reading in progress.
struct builder {
    yaml_parser_t parser;
    const struct yamlx_limits *limits;
    char *err;
    struct yamlx *out;
    struct yamlx_node *open; // innermost collection that has not ended
    char *key;               // of the value that comes next
    unsigned key_line;
    size_t nodes;
    unsigned depth;
    unsigned documents;
};

// ---- the tree -------------------------------------------------------------------------------

static void wipe(char *s, size_t n)
{
    if (s) {
        explicit_bzero(s, n);
        mem_free(s);
    }
}

// Depth is bounded by the limits, but a loop needs no stack at all.
static void tree_free(struct yamlx_node *root)
{
    struct yamlx_node *n = root;
    while (n) {
        struct yamlx_node *const child = n->first;
        if (child) {
            n->first = child->next;
            n = child;
            continue;
        }
        struct yamlx_node *const parent = n->parent;
        wipe(n->text, n->text_n);
        mem_free(n->key);
        mem_free(n);
        n = parent;
    }
}

void yamlx_free(struct yamlx *y)
{
    if (y) {
        tree_free(y->root);
        mem_free(y);
    }
}

const struct yamlx_node *yamlx_root(const struct yamlx *y)
{
    return y->root;
}

bool yamlx_is(const struct yamlx_node *n, enum yamlx_type type)
{
    return n && n->type == type;
}

bool yamlx_is_null(const struct yamlx_node *n)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"}; // YAML 1.1, !!null
    if (!n) {
        return true;
    }
    for (size_t i = 0; n->type == YAMLX_SCALAR && n->plain && i < ARRAY_LEN(nulls); i++) {
        if (strcmp(n->text, nulls[i]) == 0) {
            return true;
        }
    }
    return false;
}

const char *yamlx_str(const struct yamlx_node *n)
{
    bool const text =
        yamlx_is(n, YAMLX_SCALAR) && !yamlx_is_null(n) && strlen(n->text) == n->text_n;
    return text ? n->text : NULL;
}

unsigned yamlx_line(const struct yamlx_node *n)
{
    return n ? n->line : 0;
}

size_t yamlx_len(const struct yamlx_node *n)
{
    return n ? n->count : 0;
}

static const struct yamlx_node *child_at(const struct yamlx_node *n, size_t i)
{
    const struct yamlx_node *c = n ? n->first : NULL;
    for (; c && i > 0; i--) {
        c = c->next;
    }
    return c;
}

const struct yamlx_node *yamlx_at(const struct yamlx_node *n, size_t i)
{
    return child_at(n, i);
}

const struct yamlx_node *yamlx_get(const struct yamlx_node *n, const char *key)
{
    for (const struct yamlx_node *c = n && n->type == YAMLX_MAPPING ? n->first : NULL; c;
         c = c->next) {
        if (strcmp(c->key, key) == 0) {
            return c;
        }
    }
    return NULL;
}

// ---- building it ----------------------------------------------------------------------------

static PRINTF_LIKE(3, 4) int complain(struct builder *b, size_t line, const char *fmt, ...)
{
    va_list ap;
    int const n = snprintf(b->err, YAMLX_ERROR_MAX, "line %zu: ", line);
    va_start(ap, fmt);
    (void)vsnprintf(b->err + n, YAMLX_ERROR_MAX - (size_t)n, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

static unsigned line_of(const yaml_event_t *e)
{
    return (unsigned)e->start_mark.line + 1;
}

static bool wants_key(const struct builder *b)
{
    return b->open && b->open->type == YAMLX_MAPPING && !b->key;
}

// A new node as the next child of the open collection. NULL without memory.
static struct yamlx_node *append(struct builder *b, enum yamlx_type type, unsigned line)
{
    struct yamlx_node *const n = NEW(struct yamlx_node);
    if (!n) {
        return NULL;
    }
    n->type = type;
    n->line = line;
    n->parent = b->open;
    n->key = STEAL(b->key);
    if (!b->open) {
        b->out->root = n;
        return n;
    }
    if (b->open->last) {
        b->open->last->next = n;
    } else {
        b->open->first = n;
    }
    b->open->last = n;
    b->open->count++;
    return n;
}

static int on_key(struct builder *b, const yaml_event_t *e)
{
    const char *const text = (const char *)e->data.scalar.value;
    if (strlen(text) != e->data.scalar.length) {
        return complain(b, line_of(e), "a key holds a zero byte");
    }
    const struct yamlx_node *const before = yamlx_get(b->open, text);
    if (before) {
        return complain(b, line_of(e), "the key %.60s is on line %u already", text, before->line);
    }
    b->key = mem_strdup(text);
    b->key_line = line_of(e);
    return b->key ? 0 : -ENOMEM;
}

static int on_scalar(struct builder *b, const yaml_event_t *e)
{
    if (wants_key(b)) {
        return on_key(b, e);
    }
    struct yamlx_node *const n = append(b, YAMLX_SCALAR, line_of(e));
    if (!n) {
        return -ENOMEM;
    }
    n->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    n->text = mem_alloc(e->data.scalar.length + 1);
    if (!n->text) {
        return -ENOMEM;
    }
    n->text_n = e->data.scalar.length;
    memcpy(n->text, e->data.scalar.value, n->text_n);
    return 0;
}

static int on_open(struct builder *b, enum yamlx_type type, const yaml_event_t *e)
{
    if (wants_key(b)) {
        return complain(b, line_of(e), "only text can be a key here");
    }
    if (++b->depth > b->limits->max_depth) {
        (void)complain(b, line_of(e), "nested more than %u deep", b->limits->max_depth);
        return -E2BIG;
    }
    struct yamlx_node *const n = append(b, type, line_of(e));
    if (!n) {
        return -ENOMEM;
    }
    b->open = n;
    return 0;
}

static int on_event(struct builder *b, const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL;
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++b->documents > 1
                   ? complain(b, line_of(e), "a second document starts; one file is one document")
                   : 0;
    case YAML_ALIAS_EVENT:
        return complain(b, line_of(e), "aliases (*name) are not read; write the value itself");
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->open = b->open->parent;
        b->depth--;
        return 0;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    }
    if (anchor) {
        return complain(b, line_of(e), "anchors (&name) are not read");
    }
    if (++b->nodes > b->limits->max_nodes) {
        (void)complain(b, line_of(e), "more than %zu values", b->limits->max_nodes);
        return -E2BIG;
    }
    return e->type == YAML_SCALAR_EVENT           ? on_scalar(b, e)
           : e->type == YAML_SEQUENCE_START_EVENT ? on_open(b, YAMLX_SEQUENCE, e)
                                                  : on_open(b, YAMLX_MAPPING, e);
}

static int build(struct builder *b)
{
    for (;;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&b->parser, &e)) {
            if (b->parser.error == YAML_MEMORY_ERROR) {
                return -ENOMEM;
            }
            // Its texts name what was expected; they never quote the file.
            return complain(b, b->parser.problem_mark.line + 1, "%s",
                            b->parser.problem ? b->parser.problem : "this is no YAML");
        }
        bool const end = e.type == YAML_STREAM_END_EVENT;
        int const r = on_event(b, &e);
        // The copies libyaml made may be secrets.
        if (e.type == YAML_SCALAR_EVENT && e.data.scalar.value) {
            explicit_bzero(e.data.scalar.value, e.data.scalar.length);
        }
        yaml_event_delete(&e);
        if (r < 0 || end) {
            return r;
        }
    }
}

int yamlx_parse(struct bytes text, const struct yamlx_limits *limits, struct yamlx **ret,
                char err[static YAMLX_ERROR_MAX])
{
    struct builder b = {.limits = limits, .err = err};
    (void)snprintf(err, YAMLX_ERROR_MAX, "out of memory");
    if (text.n > limits->max_bytes) {
        (void)snprintf(err, YAMLX_ERROR_MAX, "line 1: longer than %zu bytes", limits->max_bytes);
        return -E2BIG;
    }
    CLEANUP(yamlx_free) struct yamlx *out = NEW(struct yamlx);
    if (!out || !yaml_parser_initialize(&b.parser)) {
        return -ENOMEM;
    }
    b.out = out;
    yaml_parser_set_input_string(&b.parser, text.n > 0 ? text.p : (const uint8_t *)"", text.n);
    int const r = build(&b);
    mem_free(b.key);
    yaml_parser_delete(&b.parser);
    if (r == 0) {
        *ret = STEAL(out);
    }
    return r;
}

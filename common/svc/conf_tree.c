// SPDX-License-Identifier: Apache-2.0
#include "common/svc/conf_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/svc/conf_internal.h"

const char *conf_tree_type_name(enum conf_tree_type type)
{
    switch (type) {
    case CONF_TREE_GROUP:
        return "a group { }";
    case CONF_TREE_LIST:
        return "a list";
    case CONF_TREE_BOOL:
        return "true or false";
    case CONF_TREE_INT:
        return "a whole number";
    case CONF_TREE_FLOAT:
        return "a number with a point";
    case CONF_TREE_STRING:
        return "a text in quotes";
    }
    return "?";
}

const struct conf_tree *conf_tree_find(const struct conf_tree *group, const char *name)
{
    if (group == NULL || group->type != CONF_TREE_GROUP) {
        return NULL;
    }
    for (const struct conf_tree *n = group->first; n != NULL; n = n->next) {
        if (strcmp(n->name, name) == 0) {
            return n;
        }
    }
    return NULL;
}

int conf_tree_fail(const struct conf_tree *node, const char *path, char err[static CONF_ERROR_MAX],
                   const char *fmt, ...)
{
    int const n = snprintf(err, CONF_ERROR_MAX, "%.256s:%u: ", path, node->line);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err + n, CONF_ERROR_MAX - (size_t)n, fmt, args);
    va_end(args);
    // Text from the file may stand in it: one line stays one line.
    for (char *p = err; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            *p = '?';
        }
    }
    return -EINVAL;
}

bool conf_tree_names_known(const struct conf_tree *group, const char *const *names,
                           const char *path, char err[static CONF_ERROR_MAX])
{
    for (const struct conf_tree *n = group->first; n != NULL; n = n->next) {
        bool known = false;
        for (size_t i = 0; names[i] != NULL && !known; i++) {
            known = strcmp(names[i], n->name) == 0;
        }
        if (known) {
            continue;
        }
        const char *const near = conf_nearest(n->name, names);
        if (near != NULL) {
            (void)conf_tree_fail(n, path, err, "there is no \"%.64s\" here; did you mean \"%s\"?",
                                 n->name, near);
        } else {
            (void)conf_tree_fail(n, path, err, "there is no \"%.64s\" here; take it out", n->name);
        }
        return false;
    }
    return true;
}

// ---- what libconfig lets pass ---------------------------------------------------------------

// Behind the string that begins at p, NULL if it has no end; counts its lines.
static const char *skip_string(const char *p, unsigned *line)
{
    for (p++; *p != '\0' && *p != '"'; p++) {
        *line += *p == '\n';
        if (*p == '\\' && p[1] != '\0') {
            p++;
            *line += *p == '\n';
        }
    }
    return *p == '"' ? p + 1 : NULL;
}

// Behind the comment that begins at p, p itself if none does, NULL if it has no end.
static const char *skip_comment(const char *p, unsigned *line)
{
    if (*p == '#' || (p[0] == '/' && p[1] == '/')) {
        return p + strcspn(p, "\n");
    }
    if (p[0] == '/' && p[1] == '*') {
        for (p += 2; *p != '\0' && !(p[0] == '*' && p[1] == '/'); p++) {
            *line += *p == '\n';
        }
        return *p != '\0' ? p + 2 : NULL;
    }
    return p;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-' || c == '+' || c == '.' || c == '*';
}

// True if the word is an integer without L that has no place in 32 bits.
static bool is_cut_integer(const char *p, size_t n)
{
    char word[48];
    if (n == 0 || (p[0] != '-' && p[0] != '+' && (p[0] < '0' || p[0] > '9'))) {
        return false;
    }
    size_t const len = MIN(n, sizeof(word) - 1);
    memcpy(word, p, len);
    word[len] = '\0';
    if (strspn(word, "-+0123456789abcdefxABCDEFX") != len) {
        return false; // a float, or 12L; what else it may be libconfig says
    }
    if (len < n) {
        return true;
    }
    bool const hex = strpbrk(word, "xX") != NULL;
    if (!hex && strpbrk(word, "eE") != NULL) {
        return false; // 1e3
    }
    char *end = NULL;
    errno = 0;
    long long const v = strtoll(word, &end, hex ? 16 : 10);
    return errno == ERANGE || v > INT32_MAX || v < INT32_MIN;
}

unsigned conf_tree_scan(const char *text, const char **ret_what)
{
    unsigned line = 1;
    const char *p = text;
    while (*p != '\0') {
        unsigned const begin = line;
        const char *const behind = *p == '"' ? skip_string(p, &line) : skip_comment(p, &line);
        if (behind == NULL) {
            *ret_what = *p == '"' ? "the text that begins here has no closing quote"
                                  : "the comment that begins here has no end: close it with */";
            return begin;
        }
        if (behind != p) {
            p = behind;
        } else if (*p == '@') {
            *ret_what = "@include is not followed; put everything into one file";
            return line;
        } else if (is_word(*p)) {
            size_t n = 1;
            while (is_word(p[n])) {
                n++;
            }
            if (is_cut_integer(p, n)) {
                *ret_what = "this number is too large";
                return line;
            }
            p += n;
        } else {
            line += *p == '\n';
            p++;
        }
    }
    return 0;
}

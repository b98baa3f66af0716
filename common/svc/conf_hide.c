// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "common/svc/conf.h"

static bool is_secret(const struct conf_item *item)
{
    return item->type == CONF_SECRET || (item->flags & CONF_HIDDEN) != 0;
}

// True if the n characters at name are one of these names.
static bool is_one_of(const char *const names[static CONF_ALIASES], const char *name, size_t n)
{
    for (size_t i = 0; i < CONF_ALIASES && names[i] != NULL; i++) {
        if (strncmp(names[i], name, n) == 0 && names[i][n] == '\0') {
            return true;
        }
    }
    return false;
}

static bool names_secret(const struct conf_spec *spec, bool env, const char *name, size_t n)
{
    for (size_t i = 0; i < spec->count; i++) {
        const struct conf_item *const item = &spec->items[i];
        if (is_secret(item) && is_one_of(env ? item->env : item->flag, name, n)) {
            return true;
        }
    }
    return false;
}

static void hide_flags(const struct conf_spec *spec, int argc, char *const *argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            continue;
        }
        const char *const name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
        char *const eq = strchr(argv[i], '=');
        size_t const n = eq != NULL ? (size_t)(eq - name) : strlen(name);
        if (!names_secret(spec, false, name, n)) {
            continue;
        }
        char *const value = eq != NULL ? eq + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (value != NULL) {
            memset(value, '*', strlen(value));
        }
    }
}

void conf_hide_secrets(const struct conf_spec *spec, int argc, char *const *argv, char *const *envp)
{
    hide_flags(spec, argc, argv);
    for (size_t i = 0; envp != NULL && envp[i] != NULL; i++) {
        char *const eq = strchr(envp[i], '=');
        if (eq != NULL && names_secret(spec, true, envp[i], (size_t)(eq - envp[i]))) {
            explicit_bzero(eq + 1, strlen(eq + 1));
        }
    }
}

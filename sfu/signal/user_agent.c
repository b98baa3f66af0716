// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/user_agent.h"

#include <stdio.h>

// The version behind a token: digits and dots, with the underscores of Apple's systems as dots.
static void copy_version(const char *at, char *ret, size_t cap)
{
    size_t n = 0;
    while (n + 1 < cap && ((*at >= '0' && *at <= '9') || *at == '.' || *at == '_')) {
        ret[n++] = *at == '_' ? '.' : *at;
        at++;
    }
    while (n > 0 && ret[n - 1] == '.') {
        n--;
    }
    ret[n] = 0;
}

static void parse_browser(const char *ua, struct user_agent *ret)
{
    // The first that is there counts: each claims to be those behind it as well.
    static const struct {
        const char *token;
        const char *name;
        const char *mobile; // with "Mobile" in the text; NULL: the same
    } browsers[] = {
        {"FxiOS/", "Firefox iOS", NULL},
        {"CriOS/", "Chrome Mobile iOS", NULL},
        {"EdgA/", "Edge Mobile", NULL},
        {"Edg/", "Edge", NULL},
        {"OPR/", "Opera", "Opera Mobile"},
        {"SamsungBrowser/", "Samsung Internet", NULL},
        {"Firefox/", "Firefox", "Firefox Mobile"},
        {"HeadlessChrome/", "HeadlessChrome", NULL},
        {"Chrome/", "Chrome", "Chrome Mobile"},
        {"Version/", "Safari", "Mobile Safari"},
    };
    bool const mobile = strstr(ua, "Mobile") != NULL;
    for (size_t i = 0; i < ARRAY_LEN(browsers); i++) {
        const char *const at = strstr(ua, browsers[i].token);
        // Safari's version has a token of its own, which others have as well.
        bool const is_it = i + 1 < ARRAY_LEN(browsers) || strstr(ua, "Safari/") != NULL;
        if (at != NULL && is_it) {
            bool const small = mobile && browsers[i].mobile != NULL;
            (void)snprintf(ret->browser, sizeof(ret->browser), "%s",
                           small ? browsers[i].mobile : browsers[i].name);
            copy_version(at + strlen(browsers[i].token), ret->browser_version,
                         sizeof(ret->browser_version));
            return;
        }
    }
}

static void set_os(struct user_agent *ret, const char *name, const char *version)
{
    (void)snprintf(ret->os, sizeof(ret->os), "%s", name);
    copy_version(version, ret->os_version, sizeof(ret->os_version));
}

// "Android 14; Pixel 8 Build/UQ1A" or "Android 14; Pixel 8)".
static void android_device(const char *at, struct user_agent *ret)
{
    const char *const from = strstr(at, "; ");
    if (from == NULL) {
        return;
    }
    size_t n = strcspn(from + 2, ";)");
    const char *const build = strstr(from + 2, " Build/");
    if (build != NULL && (size_t)(build - from - 2) < n) {
        n = (size_t)(build - from - 2);
    }
    (void)snprintf(ret->device, sizeof(ret->device), "%.*s", (int)MIN(n, (size_t)47), from + 2);
}

static void parse_os(const char *ua, struct user_agent *ret)
{
    static const struct {
        const char *token;
        const char *name;
    } systems[] = {
        {"Windows NT ", "Windows"}, {"Android ", "Android"},   {"iPhone OS ", "iOS"},
        {"CPU OS ", "iOS"},         {"Mac OS X ", "Mac OS X"}, {"CrOS ", "Chrome OS"},
        {"Linux", "Linux"},
    };
    for (size_t i = 0; i < ARRAY_LEN(systems); i++) {
        const char *const at = strstr(ua, systems[i].token);
        if (at == NULL) {
            continue;
        }
        const char *const behind = at + strlen(systems[i].token);
        set_os(ret, systems[i].name, behind);
        if (strcmp(systems[i].name, "Android") == 0) {
            android_device(behind, ret);
        } else if (strcmp(systems[i].name, "iOS") == 0) {
            bool const pad = strstr(ua, "iPad") != NULL;
            (void)snprintf(ret->device, sizeof(ret->device), "%s", pad ? "iPad" : "iPhone");
        } else if (strcmp(systems[i].name, "Mac OS X") == 0) {
            (void)snprintf(ret->device, sizeof(ret->device), "Mac");
        }
        return;
    }
}

void user_agent_parse(const char *ua, struct user_agent *ret)
{
    *ret = (struct user_agent){0};
    if (ua != NULL) {
        parse_browser(ua, ret);
        parse_os(ua, ret);
    }
}

// SPDX-License-Identifier: Apache-2.0
// LINK: jwt

#include <stdlib.h>
#include <string.h>

#include "jwt-service/access_policy.h"
#include "jwt-service/base/token_issuer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// libconfig 1.5 forgets memory at some syntax errors, which a service that reads its file again
// after each change of it can bear.
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig";
}

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void ask(const struct access_policy *p, const struct access_defaults *d,
                const struct access_question *q)
{
    struct access_decision a;
    char rule[ACCESS_POLICY_NAME_MAX + 1];
    access_policy_decide(p, d, q, &a);
    check(a.allowed || !(a.create || a.publish || a.subscribe || a.delegate));
    check(a.publish || a.sources == 0);
    check(a.create || a.max_participants == 0);
    check(!a.allowed || (a.token_lifetime_s >= ACCESS_POLICY_LIFETIME_MIN_S &&
                         a.token_lifetime_s <= ACCESS_POLICY_LIFETIME_MAX_S));
    check(a.max_participants <= ACCESS_POLICY_PARTICIPANTS_MAX);
    // Whom the server's name alone refuses, no rule lets in.
    check(!access_policy_denies_server(p, d, q->server_name, rule) || !a.allowed);
    struct dynbuf out;
    dynbuf_init(&out, 16u << 20);
    access_policy_explain(p, d, q, &out);
    const char *const text = dynbuf_cstr(&out);
    check(text != NULL && strncmp(text, "user ", 5) == 0);
    dynbuf_done(&out);
}

// A policy file of anybody: rules that decide something, or one line for the operator. Up to the
// first zero it is the file, behind it come user, room and, with the next byte, the access.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *const text = malloc(size + 3);
    if (text == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(text, data, size);
    }
    memset(text + size, 0, 3);
    const char *const user = text + MIN(strlen(text) + 1, size);
    const char *const room = user + MIN(strlen(user) + 1, (size_t)(text + size - user));
    const char *const server = access_policy_server_of(user);
    struct access_question const q = {.server_name = server != NULL ? server : user,
                                      .user_id = user,
                                      .room_id = room,
                                      .full_access = size % 2 == 1};
    struct access_defaults const d = {.restricted_can_publish = size % 3 == 1,
                                      .max_participants = 7};
    struct access_policy *p = NULL;
    char err[CONF_ERROR_MAX] = "";
    int const rc = access_policy_parse("fuzz.conf", text, &p, err);
    check((rc == 0) == (p != NULL));
    check(rc == 0 || (strncmp(err, "fuzz.conf:", 10) == 0 && strchr(err, '\n') == NULL));
    ask(p, &d, &q);
    (void)access_policy_glob(text, user);
    access_policy_free(p);
    free(text);
    return 0;
}

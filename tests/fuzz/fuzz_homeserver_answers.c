// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// What homeservers say while a token is checked: the server document (.well-known/matrix/server) and
// the userinfo answer. Whatever it is, a way is found, and nobody is vouched for by another server.
#include <stdint.h>
#include <stdlib.h>

#include "jwt-service/openid/openid_verifier.h"
#include "jwt-service/openid/server_route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_route(struct server_lookup *l)
{
    struct dns_srvs const none = {0};
    for (int i = 0; l->step != SERVER_ROUTE_DONE; i++) {
        if (i == 3 || l->step == SERVER_ROUTE_WELL_KNOWN) {
            abort(); // a document is never looked up again
        }
        char name[SERVER_SRV_NAME];
        server_lookup_srv_name(l, name);
        server_lookup_srv(l, &none);
    }
    if (l->route.count == 0 || l->route.count > SERVER_ROUTE_TARGETS) {
        abort();
    }
    for (size_t i = 0; i < l->route.count; i++) {
        if (!*l->route.targets[i].host || l->route.targets[i].port == 0) {
            abort();
        }
    }
    if (!*l->route.tls_name || strpbrk(l->route.host_header, " \t\r\n/@?#")) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char server[] = "hs.example";
    struct bytes const in = bytes_of(data, size);
    struct server_name name;
    if (server_name_parse(bytes_str(server), &name) < 0) {
        abort();
    }
    struct server_lookup l;
    server_lookup_begin(&l, &name);
    (void)server_lookup_well_known(&l, in);
    check_route(&l);

    char user[OPENID_USER_MAX + 1];
    if (openid_subject(in, server, user) == 0) {
        const char *const colon = strchr(user, ':');
        if (user[0] != '@' || !colon || colon == user + 1 || strcmp(colon + 1, server) != 0) {
            abort();
        }
    }
    return 0;
}

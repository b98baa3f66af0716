// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/absent_services.h"

enum grant {
    GRANT_RECORD,
    GRANT_INGRESS,
    GRANT_SIP_ADMIN,
    GRANT_SIP_CALL,
};

static const char *const egress[] = {
    "StartRoomCompositeEgress",
    "StartWebEgress",
    "StartParticipantEgress",
    "StartTrackCompositeEgress",
    "StartTrackEgress",
    "StartEgress",
    "UpdateLayout",
    "UpdateStream",
    "ListEgress",
    "StopEgress",
    NULL,
};
static const char *const ingress[] = {
    "CreateIngress", "UpdateIngress", "ListIngress", "DeleteIngress", NULL,
};
static const char *const sip[] = {
    "ListSIPTrunk",
    "CreateSIPInboundTrunk",
    "CreateSIPOutboundTrunk",
    "UpdateSIPInboundTrunk",
    "UpdateSIPOutboundTrunk",
    "GetSIPInboundTrunk",
    "GetSIPOutboundTrunk",
    "ListSIPInboundTrunk",
    "ListSIPOutboundTrunk",
    "DeleteSIPTrunk",
    "CreateSIPDispatchRule",
    "UpdateSIPDispatchRule",
    "ListSIPDispatchRule",
    "DeleteSIPDispatchRule",
    "CreateSIPParticipant",
    "TransferSIPParticipant",
    NULL,
};

static const struct service {
    const char *name;
    const char *const *methods;
    enum grant grant;
    const char *text;
} services[] = {
    {"livekit.Egress", egress, GRANT_RECORD, "egress not connected (redis required)"},
    {"livekit.Ingress", ingress, GRANT_INGRESS, "ingress not connected (redis required)"},
    {"livekit.SIP", sip, GRANT_SIP_ADMIN, "sip not connected (redis required)"},
};

static const struct service *find(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        if (bytes_eq_str(name, services[i].name)) {
            return &services[i];
        }
    }
    return NULL;
}

bool absent_service_is(struct bytes service)
{
    return find(service) != NULL;
}

static bool has_method(const struct service *s, struct bytes name)
{
    for (size_t i = 0; s->methods[i] != NULL; i++) {
        if (bytes_eq_str(name, s->methods[i])) {
            return true;
        }
    }
    return false;
}

static bool granted(const struct service *s, struct bytes method, const struct access_token *token)
{
    bool const call = bytes_eq_str(method, "CreateSIPParticipant") ||
                      bytes_eq_str(method, "TransferSIPParticipant");
    if (token == NULL) {
        return false;
    }
    switch (call ? GRANT_SIP_CALL : s->grant) {
    case GRANT_RECORD:
        return token->claims.has_video && token->claims.video.room_record;
    case GRANT_INGRESS:
        return token->claims.has_video && token->claims.video.ingress_admin;
    case GRANT_SIP_ADMIN:
        return token->claims.sip_admin;
    case GRANT_SIP_CALL:
        return token->claims.sip_call;
    }
    return false;
}

struct twirp_error absent_service_error(const struct twirp_call *call, struct bytes path,
                                        const struct access_token *token)
{
    const struct service *const s = find(call->service);
    if (s == NULL || !has_method(s, call->method)) {
        return twirp_no_handler(path);
    }
    if (!granted(s, call->method, token)) {
        return twirp_error_of(TWIRP_UNAUTHENTICATED, "permissions denied");
    }
    return twirp_error_of(TWIRP_INTERNAL, "%s", s->text);
}

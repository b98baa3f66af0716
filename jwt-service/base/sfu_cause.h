// SPDX-License-Identifier: Apache-2.0
#pragma once
// Why a call to the SFU's API failed, in the terms of who has to repair it: "Unable to create room
// on SFU" alone sends operators to the wrong place (authorization-service 9.30, operators P5). Pure.

#include "common/lk/twirp.h"
#include "common/svc/httpc.h"

enum sfu_cause {
    SFU_CAUSE_NONE,
    SFU_CAUSE_URL,         // nothing that speaks the API there: no route, a redirect, a web page
    SFU_CAUSE_DNS,         // the host name is not known
    SFU_CAUSE_CONNECT,     // nobody listens, or no way there
    SFU_CAUSE_TLS,         // certificate or protocol
    SFU_CAUSE_TIMEOUT,     // no answer in time
    SFU_CAUSE_PROXY,       // a proxy in between does not reach the SFU (502, 503, 504)
    SFU_CAUSE_KEY_UNKNOWN, // the SFU does not know the API key
    SFU_CAUSE_SECRET,      // it knows the key, but another secret
    SFU_CAUSE_CLOCK,       // our token is too old or too new for its clock
    SFU_CAUSE_PERMISSION,  // it refused for another reason that lies in the token
    SFU_CAUSE_NOT_FOUND,   // no such room or participant: an answer, nothing to repair
    SFU_CAUSE_SFU,         // any other error of the SFU's
    SFU_CAUSE_BROKEN,      // the connection broke or the answer makes no sense
    SFU_CAUSE_COUNT,
};

// What to do about it, "" if there is nothing to say: "are LIVEKIT_KEY and ...".
const char *sfu_cause_hint(enum sfu_cause c);

// Of an HTTP answer other than 200, and of a call without any answer (step is not HTTPC_OK).
enum sfu_cause sfu_cause_of_answer(unsigned status, struct bytes body,
                                   const struct twirp_error *error);
enum sfu_cause sfu_cause_of_step(enum httpc_step step);

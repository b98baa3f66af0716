// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a User-Agent header says of browser, system and device, for clients that do not say it
// themselves (livekit-protocol 1.5): rooms treat Firefox and Safari differently. Pure.
//
// livekit asks the rules of ua-parser (uap-core); these are those of today's browsers, with the same
// names. Whoever else it is stays unnamed.

#include "common/base/bytes.h"

struct user_agent {
    char browser[24]; // "Firefox", "Chrome Mobile", "" unknown
    char browser_version[24];
    char os[16]; // "Mac OS X", "Linux", "Windows", "Android", "iOS", "Chrome OS"
    char os_version[24];
    char device[48]; // "iPhone", "Mac", the model of an Android device
};

// ua may be NULL.
void user_agent_parse(const char *ua, struct user_agent *ret);

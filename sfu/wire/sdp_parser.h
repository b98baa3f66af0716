// SPDX-License-Identifier: Apache-2.0
#pragma once
// Private to sfu/wire/sdp*.c: the parser's state and the text helpers its files share.

#include "sfu/wire/sdp.h"

struct sdp_parser {
    struct sdp *s;
    struct sdp_media *m; // section being read, NULL on session level
    // next free entry of each table; a section owns the run that was filled while it was being read
    struct sdp_codec *codec;
    struct sdp_extmap *extmap;
    struct sdp_ssrc *ssrc;
    struct sdp_ssrc_group *group;
    struct sdp_rid *rid;
    struct sdp_msid *msid;
    struct bytes *candidate;
    int16_t codec_of_pt[128]; // index in m->codecs, -1 = not listed
    struct bytes simulcast;   // value of the section's a=simulcast
    enum sdp_direction session_direction;
    int err; // first error; the rest of the text is not read
};

// One a= line of the current section or of the session; line starts behind "a=". Errors go to
// p->err.
void sdp_parser_attribute(struct sdp_parser *p, struct bytes line);

// Without blanks and tabs on both sides.
struct bytes sdp_trim(struct bytes b);

// The text in front of the first sep; *rest is what follows it (empty without sep).
struct bytes sdp_split(struct bytes b, char sep, struct bytes *rest);

bool sdp_has_prefix(struct bytes b, const char *prefix);

// What is repeated in our own descriptions must be plain printable ASCII: descriptions are protobuf
// strings, and a client refuses a whole message with one bad byte in it.
bool sdp_printable(struct bytes b);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// STUN messages (RFC 8489), with the attributes of ICE (RFC 8445 section 16.1) and TURN (RFC 8656
// section 18). Pure.
//
//      0                   1                   2                   3
//      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//     |0 0|     STUN message type     |        message length         |
//     |                     magic cookie 0x2112A442                   |
//     |                  transaction id (96 bits)                     |
//     |        attribute type         |    length without padding     |
//     |                    value, padded to 4 bytes                   | ...
//
// MESSAGE-INTEGRITY covers everything in front of it, with a header length that ends behind it;
// FINGERPRINT is last.

#include "common/base/addr.h"
#include "common/base/bytes.h"

#define STUN_COOKIE UINT32_C(0x2112A442)
#define STUN_HEADER_LEN 20
#define STUN_TXID_LEN 12

// The largest message that this program writes: a check with both user names at their limit has
// 600.
#define STUN_MAX_LEN 640

enum stun_class {
    STUN_REQUEST = 0,
    STUN_INDICATION = 1,
    STUN_SUCCESS = 2,
    STUN_ERROR = 3,
};

enum stun_method {
    STUN_BINDING = 0x001,
    STUN_ALLOCATE = 0x003,
    STUN_REFRESH = 0x004,
    STUN_SEND = 0x006,
    STUN_DATA = 0x007,
    STUN_CREATE_PERMISSION = 0x008,
    STUN_CHANNEL_BIND = 0x009,
};

enum stun_attr_type {
    STUN_ATTR_MAPPED_ADDRESS = 0x0001,
    STUN_ATTR_USERNAME = 0x0006,
    STUN_ATTR_MESSAGE_INTEGRITY = 0x0008,
    STUN_ATTR_ERROR_CODE = 0x0009,
    STUN_ATTR_UNKNOWN_ATTRIBUTES = 0x000A,
    STUN_ATTR_CHANNEL_NUMBER = 0x000C,
    STUN_ATTR_LIFETIME = 0x000D,
    STUN_ATTR_XOR_PEER_ADDRESS = 0x0012,
    STUN_ATTR_DATA = 0x0013,
    STUN_ATTR_REALM = 0x0014,
    STUN_ATTR_NONCE = 0x0015,
    STUN_ATTR_XOR_RELAYED_ADDRESS = 0x0016,
    STUN_ATTR_REQUESTED_ADDRESS_FAMILY = 0x0017,
    STUN_ATTR_EVEN_PORT = 0x0018,
    STUN_ATTR_REQUESTED_TRANSPORT = 0x0019,
    STUN_ATTR_DONT_FRAGMENT = 0x001A,
    STUN_ATTR_MESSAGE_INTEGRITY_SHA256 = 0x001C,
    STUN_ATTR_XOR_MAPPED_ADDRESS = 0x0020,
    STUN_ATTR_RESERVATION_TOKEN = 0x0022,
    STUN_ATTR_PRIORITY = 0x0024,
    STUN_ATTR_USE_CANDIDATE = 0x0025,
    STUN_ATTR_SOFTWARE = 0x8022,
    STUN_ATTR_FINGERPRINT = 0x8028,
    STUN_ATTR_ICE_CONTROLLED = 0x8029,
    STUN_ATTR_ICE_CONTROLLING = 0x802A,
};

// A parsed message: views into the datagram, which must stay.
struct stun_msg {
    struct bytes raw;
    uint8_t cls; // enum stun_class
    uint16_t method;
    uint8_t txid[STUN_TXID_LEN];
    uint16_t integrity_at; // offset of MESSAGE-INTEGRITY; 0: none
    uint16_t attrs_end; // where the attributes that count end: at MESSAGE-INTEGRITY, FINGERPRINT or
                        // the message's end
    uint16_t fingerprint_at; // offset of FINGERPRINT; 0: none
};

struct stun_attr {
    uint16_t type;
    struct bytes value; // without padding
};

// ---- reading --------------------------------------------------------------------------------

// Parses one whole message. -EBADMSG: not STUN, length field or an attribute past the end,
// FINGERPRINT not last or wrong (the checksum is always verified when present). *ret untouched
// then.
int stun_parse(struct bytes datagram, struct stun_msg *ret) NODISCARD;

// Iteration over the attributes in front of MESSAGE-INTEGRITY (later ones but FINGERPRINT do not
// count, RFC 8489 section 14.5): *pos = 0 first. False at the end.
bool stun_next_attr(const struct stun_msg *m, size_t *pos, struct stun_attr *ret);

// The first attribute of that type; false if there is none.
bool stun_find(const struct stun_msg *m, uint16_t type, struct bytes *ret);
bool stun_has(const struct stun_msg *m, uint16_t type);

// Typed access. -ENOENT: not there. -EBADMSG: wrong size or value.
int stun_get_u32(const struct stun_msg *m, uint16_t type, uint32_t *ret) NODISCARD;
int stun_get_u64(const struct stun_msg *m, uint16_t type, uint64_t *ret) NODISCARD;
// An XOR-*-ADDRESS (RFC 8489 section 14.2).
int stun_get_xor_addr(const struct stun_msg *m, uint16_t type, struct addr *ret) NODISCARD;
// An XOR-*-ADDRESS value found by iteration (CreatePermission has several).
int stun_decode_xor_addr(const struct stun_msg *m, struct bytes value, struct addr *ret) NODISCARD;
// ERROR-CODE as 300..699.
int stun_get_error(const struct stun_msg *m, uint16_t *ret) NODISCARD;

// Splits USERNAME at its first colon (RFC 8445 section 7.2.2: receiver's ufrag, sender's ufrag).
// -ENOENT, -EBADMSG (no colon).
int stun_get_username(const struct stun_msg *m, struct bytes *ret_ours,
                      struct bytes *ret_theirs) NODISCARD;

// True if MESSAGE-INTEGRITY is there and is the HMAC-SHA1 under key.
bool stun_check_integrity(const struct stun_msg *m, struct bytes key);

// The comprehension-required attributes (type below 0x8000) that are not in `known`: the first cap
// of them go into ret; returns how many went in. RFC 8489 section 6.3.1: such a request is answered
// with 420.
size_t stun_unknown_attrs(const struct stun_msg *m, const uint16_t *known, size_t known_count,
                          uint16_t *ret, size_t cap);

// ---- writing --------------------------------------------------------------------------------
//
// stun_begin, attributes in any order, then stun_end_integrity and/or stun_end_fingerprint. Errors
// are sticky in w; nothing may be written to w before stun_begin.

void stun_begin(struct wr *w, enum stun_class cls, enum stun_method method,
                const uint8_t txid[static STUN_TXID_LEN]);
void stun_put(struct wr *w, uint16_t type, struct bytes value);
void stun_put_u32(struct wr *w, uint16_t type, uint32_t v);
void stun_put_u64(struct wr *w, uint16_t type, uint64_t v);
void stun_put_flag(struct wr *w, uint16_t type); // no value
void stun_put_xor_addr(struct wr *w, uint16_t type, const struct addr *a);
// RFC 8445 section 7.2.2: "theirs:ours".
void stun_put_username(struct wr *w, struct bytes theirs, struct bytes ours);
// ERROR-CODE with the reason phrase of the RFC.
void stun_put_error(struct wr *w, uint16_t code);
void stun_put_unknown_attrs(struct wr *w, const uint16_t *types, size_t n);
// MESSAGE-INTEGRITY: nothing but stun_end_fingerprint may follow.
void stun_end_integrity(struct wr *w, struct bytes key);
void stun_end_fingerprint(struct wr *w);

// ---- whole messages -------------------------------------------------------------------------

// Answers to a Binding request. key empty: without MESSAGE-INTEGRITY (plain STUN). All carry
// FINGERPRINT.
void stun_write_binding_success(struct wr *w, const struct stun_msg *req, const struct addr *mapped,
                                struct bytes key);
// unknown: for code 420, else NULL and 0.
void stun_write_binding_error(struct wr *w, const struct stun_msg *req, uint16_t code,
                              const uint16_t *unknown, size_t unknown_count, struct bytes key);

// For the worker's lookup before any state is touched: our ufrag of a Binding request with
// USERNAME, a view into the datagram. -EBADMSG: no valid STUN; -ENOENT: STUN of another kind
// (response, indication, TURN method, plain Binding).
int stun_peek_local_ufrag(struct bytes datagram, struct bytes *ret) NODISCARD;

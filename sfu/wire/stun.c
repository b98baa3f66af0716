// SPDX-License-Identifier: Apache-2.0
#include "sfu/wire/stun.h"

#include "common/base/crc32.h"
#include "common/base/sha1.h"

#define FINGERPRINT_XOR UINT32_C(0x5354554E) // RFC 8489 section 14.7
#define COMPREHENSION_OPTIONAL 0x8000
#define ATTR_HEADER_LEN 4
#define INTEGRITY_ATTR_LEN (ATTR_HEADER_LEN + SHA1_LEN)
#define FINGERPRINT_ATTR_LEN (ATTR_HEADER_LEN + 4)
#define XOR_ADDR_V4_LEN 8
#define XOR_ADDR_V6_LEN 20
// Address families of RFC 8489 section 14.1.
#define STUN_FAMILY_V4 1
#define STUN_FAMILY_V6 2

// Header fields that the caller needs to find the attributes.
static bool parse_header(struct bytes d, struct stun_msg *m)
{
    struct rd r = rd_init(d);
    uint16_t const type = rd_be16(&r);
    uint16_t const len = rd_be16(&r);
    uint32_t const cookie = rd_be32(&r);
    struct bytes const txid = rd_take(&r, STUN_TXID_LEN);
    if (!rd_ok(&r) || (type & 0xC000) != 0 || cookie != STUN_COOKIE || len % 4 != 0 ||
        len != rd_left(&r)) {
        return false;
    }
    memcpy(m->txid, txid.p, STUN_TXID_LEN);
    // RFC 8489 section 5: M11..M7 C1 M6..M4 C0 M3..M0.
    m->cls = (uint8_t)(((type >> 7) & 2) | ((type >> 4) & 1));
    m->method = (uint16_t)((type & 0x000F) | ((type & 0x00E0) >> 1) | ((type & 0x3E00) >> 2));
    return true;
}

static bool fingerprint_matches(struct bytes raw, size_t at)
{
    struct rd r = rd_init(raw);
    rd_skip(&r, at + ATTR_HEADER_LEN);
    uint32_t const got = rd_be32(&r);
    return rd_ok(&r) && got == (crc32_ieee(bytes_of(raw.p, at)) ^ FINGERPRINT_XOR);
}

int stun_parse(struct bytes datagram, struct stun_msg *ret)
{
    struct stun_msg m = {.raw = datagram};
    // Offsets are kept in 16 bits; the length field cannot say more anyway.
    if (datagram.p == NULL || datagram.n < STUN_HEADER_LEN || datagram.n > UINT16_MAX ||
        !parse_header(datagram, &m)) {
        return -EBADMSG;
    }
    struct rd r = rd_init(datagram);
    rd_skip(&r, STUN_HEADER_LEN);
    m.attrs_end = (uint16_t)datagram.n;
    bool counting = true;
    while (rd_left(&r) > 0) {
        uint16_t const at = (uint16_t)(datagram.n - rd_left(&r));
        uint16_t const type = rd_be16(&r);
        uint16_t const len = rd_be16(&r);
        rd_skip(&r, ((size_t)len + 3) & ~(size_t)3);
        if (!rd_ok(&r)) {
            return -EBADMSG;
        }
        if (type == STUN_ATTR_MESSAGE_INTEGRITY && counting) {
            if (len != SHA1_LEN) {
                return -EBADMSG;
            }
            m.integrity_at = at;
            m.attrs_end = at;
            counting = false;
        } else if (type == STUN_ATTR_FINGERPRINT) {
            if (len != 4 || rd_left(&r) != 0) {
                return -EBADMSG;
            }
            m.fingerprint_at = at;
            if (counting) {
                m.attrs_end = at;
            }
        }
    }
    if (m.fingerprint_at != 0 && !fingerprint_matches(datagram, m.fingerprint_at)) {
        return -EBADMSG;
    }
    *ret = m;
    return 0;
}

bool stun_next_attr(const struct stun_msg *m, size_t *pos, struct stun_attr *ret)
{
    size_t const at = *pos == 0 ? STUN_HEADER_LEN : *pos;
    if (at >= m->attrs_end) {
        return false;
    }
    struct rd r = rd_init(bytes_of(m->raw.p, m->attrs_end));
    rd_skip(&r, at);
    ret->type = rd_be16(&r);
    uint16_t const len = rd_be16(&r);
    ret->value = rd_take(&r, len);
    rd_skip(&r, (4u - len % 4u) % 4u);
    *pos = m->attrs_end - rd_left(&r);
    return rd_ok(&r);
}

bool stun_find(const struct stun_msg *m, uint16_t type, struct bytes *ret)
{
    size_t pos = 0;
    struct stun_attr a;
    while (stun_next_attr(m, &pos, &a)) {
        if (a.type == type) {
            *ret = a.value;
            return true;
        }
    }
    return false;
}

bool stun_has(const struct stun_msg *m, uint16_t type)
{
    struct bytes unused;
    return stun_find(m, type, &unused);
}

int stun_get_u32(const struct stun_msg *m, uint16_t type, uint32_t *ret)
{
    struct bytes v;
    if (!stun_find(m, type, &v)) {
        return -ENOENT;
    }
    if (v.n != 4) {
        return -EBADMSG;
    }
    struct rd r = rd_init(v);
    *ret = rd_be32(&r);
    return 0;
}

int stun_get_u64(const struct stun_msg *m, uint16_t type, uint64_t *ret)
{
    struct bytes v;
    if (!stun_find(m, type, &v)) {
        return -ENOENT;
    }
    if (v.n != 8) {
        return -EBADMSG;
    }
    struct rd r = rd_init(v);
    *ret = rd_be64(&r);
    return 0;
}

// The 16 bytes that an address is XORed with: cookie and transaction id (RFC 8489 section 14.2).
static void xor_mask(const uint8_t txid[static STUN_TXID_LEN], uint8_t ret[static 16])
{
    struct wr w = wr_init(ret, 16);
    wr_be32(&w, STUN_COOKIE);
    wr_bytes(&w, bytes_of(txid, STUN_TXID_LEN));
}

int stun_decode_xor_addr(const struct stun_msg *m, struct bytes value, struct addr *ret)
{
    struct rd r = rd_init(value);
    rd_skip(&r, 1);
    uint8_t const family = rd_u8(&r);
    struct addr a = {.port = (uint16_t)(rd_be16(&r) ^ (STUN_COOKIE >> 16))};
    if (family == STUN_FAMILY_V4 && value.n == XOR_ADDR_V4_LEN) {
        a.family = ADDR_V4;
    } else if (family == STUN_FAMILY_V6 && value.n == XOR_ADDR_V6_LEN) {
        a.family = ADDR_V6;
    } else {
        return -EBADMSG;
    }
    uint8_t mask[16];
    xor_mask(m->txid, mask);
    struct bytes const ip = rd_rest(&r);
    for (size_t i = 0; i < ip.n; i++) {
        a.ip[i] = ip.p[i] ^ mask[i];
    }
    *ret = a;
    return 0;
}

int stun_get_xor_addr(const struct stun_msg *m, uint16_t type, struct addr *ret)
{
    struct bytes v;
    return stun_find(m, type, &v) ? stun_decode_xor_addr(m, v, ret) : -ENOENT;
}

int stun_get_error(const struct stun_msg *m, uint16_t *ret)
{
    struct bytes v;
    if (!stun_find(m, STUN_ATTR_ERROR_CODE, &v)) {
        return -ENOENT;
    }
    struct rd r = rd_init(v);
    rd_skip(&r, 2);
    uint8_t const class_digit = rd_u8(&r) & 7;
    uint8_t const number = rd_u8(&r);
    if (!rd_ok(&r) || class_digit < 3 || class_digit > 6 || number > 99) {
        return -EBADMSG;
    }
    *ret = (uint16_t)(class_digit * 100 + number);
    return 0;
}

int stun_get_username(const struct stun_msg *m, struct bytes *ret_ours, struct bytes *ret_theirs)
{
    struct bytes v;
    if (!stun_find(m, STUN_ATTR_USERNAME, &v)) {
        return -ENOENT;
    }
    const uint8_t *const colon = v.n > 0 ? memchr(v.p, ':', v.n) : NULL;
    if (colon == NULL) {
        return -EBADMSG;
    }
    size_t const n = (size_t)(colon - v.p);
    *ret_ours = bytes_of(v.p, n);
    *ret_theirs = bytes_of(colon + 1, v.n - n - 1);
    return 0;
}

// HMAC over the first `end` bytes with the length field set as if the message ended `total` bytes
// after its start.
static void integrity(struct bytes raw, size_t end, size_t total, struct bytes key,
                      uint8_t ret[static SHA1_LEN])
{
    uint8_t head[4];
    memcpy(head, raw.p, 2);
    struct wr w = wr_init(head + 2, 2);
    wr_be16(&w, (uint16_t)(total - STUN_HEADER_LEN));
    struct hmac_sha1 h;
    hmac_sha1_init(&h, key);
    hmac_sha1_update(&h, bytes_of(head, sizeof(head)));
    hmac_sha1_update(&h, bytes_of(raw.p + sizeof(head), end - sizeof(head)));
    hmac_sha1_final(&h, ret);
}

bool stun_check_integrity(const struct stun_msg *m, struct bytes key)
{
    if (m->integrity_at == 0) {
        return false;
    }
    size_t const at = m->integrity_at;
    uint8_t want[SHA1_LEN];
    integrity(m->raw, at, at + INTEGRITY_ATTR_LEN, key, want);
    return bytes_eq_consttime(bytes_of(want, sizeof(want)),
                              bytes_of(m->raw.p + at + ATTR_HEADER_LEN, SHA1_LEN));
}

size_t stun_unknown_attrs(const struct stun_msg *m, const uint16_t *known, size_t known_count,
                          uint16_t *ret, size_t cap)
{
    size_t n = 0;
    size_t pos = 0;
    struct stun_attr a;
    while (n < cap && stun_next_attr(m, &pos, &a)) {
        bool is_known = a.type >= COMPREHENSION_OPTIONAL;
        for (size_t i = 0; i < known_count && !is_known; i++) {
            is_known = known[i] == a.type;
        }
        if (!is_known) {
            ret[n++] = a.type;
        }
    }
    return n;
}

// ---- writing --------------------------------------------------------------------------------

static void patch_length(struct wr *w)
{
    if (wr_ok(w)) {
        wr_patch16(w, 2, (uint16_t)(wr_len(w) - STUN_HEADER_LEN));
    }
}

void stun_begin(struct wr *w, enum stun_class cls, enum stun_method method,
                const uint8_t txid[static STUN_TXID_LEN])
{
    unsigned const c = cls;
    unsigned const m = method;
    unsigned const type =
        (m & 0x000F) | ((m & 0x0070) << 1) | ((m & 0x0F80) << 2) | ((c & 1) << 4) | ((c & 2) << 7);
    // Offsets count from the start of the writer.
    assert(wr_len(w) == 0);
    wr_be16(w, (uint16_t)type);
    wr_be16(w, 0);
    wr_be32(w, STUN_COOKIE);
    wr_bytes(w, bytes_of(txid, STUN_TXID_LEN));
}

void stun_put(struct wr *w, uint16_t type, struct bytes value)
{
    if (value.n > UINT16_MAX) {
        w->err = true;
        return;
    }
    wr_be16(w, type);
    wr_be16(w, (uint16_t)value.n);
    wr_bytes(w, value);
    wr_pad(w, 4);
    patch_length(w);
}

void stun_put_u32(struct wr *w, uint16_t type, uint32_t v)
{
    wr_be16(w, type);
    wr_be16(w, 4);
    wr_be32(w, v);
    patch_length(w);
}

void stun_put_u64(struct wr *w, uint16_t type, uint64_t v)
{
    wr_be16(w, type);
    wr_be16(w, 8);
    wr_be64(w, v);
    patch_length(w);
}

void stun_put_flag(struct wr *w, uint16_t type)
{
    stun_put(w, type, (struct bytes){NULL, 0});
}

void stun_put_xor_addr(struct wr *w, uint16_t type, const struct addr *a)
{
    if (!wr_ok(w)) {
        return;
    }
    uint8_t mask[16];
    // The transaction id is where stun_begin wrote it.
    xor_mask(w->base + 8, mask);
    size_t const ip_len = a->family == ADDR_V6 ? 16 : 4;
    wr_be16(w, type);
    wr_be16(w, (uint16_t)(4 + ip_len));
    wr_u8(w, 0);
    wr_u8(w, a->family == ADDR_V6 ? STUN_FAMILY_V6 : STUN_FAMILY_V4);
    wr_be16(w, (uint16_t)(a->port ^ (STUN_COOKIE >> 16)));
    for (size_t i = 0; i < ip_len; i++) {
        wr_u8(w, a->ip[i] ^ mask[i]);
    }
    patch_length(w);
}

void stun_put_username(struct wr *w, struct bytes theirs, struct bytes ours)
{
    // RFC 8489 section 14.3: fewer than 509 bytes... and RFC 8839 allows 256 characters on each
    // side of the colon.
    if (theirs.n > 256 || ours.n > 256) {
        w->err = true;
        return;
    }
    wr_be16(w, STUN_ATTR_USERNAME);
    wr_be16(w, (uint16_t)(theirs.n + 1 + ours.n));
    wr_bytes(w, theirs);
    wr_u8(w, ':');
    wr_bytes(w, ours);
    wr_pad(w, 4);
    patch_length(w);
}

static const char *reason_phrase(uint16_t code)
{
    switch (code) {
    case 300:
        return "Try Alternate";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthenticated";
    case 403:
        return "Forbidden";
    case 420:
        return "Unknown Attribute";
    case 437:
        return "Allocation Mismatch";
    case 438:
        return "Stale Nonce";
    case 440:
        return "Address Family not Supported";
    case 441:
        return "Wrong Credentials";
    case 442:
        return "Unsupported Transport Protocol";
    case 443:
        return "Peer Address Family Mismatch";
    case 486:
        return "Allocation Quota Reached";
    case 487:
        return "Role Conflict";
    case 500:
        return "Server Error";
    case 508:
        return "Insufficient Capacity";
    default:
        return "";
    }
}

void stun_put_error(struct wr *w, uint16_t code)
{
    uint8_t buf[64];
    struct wr v = wr_init(buf, sizeof(buf));
    wr_be16(&v, 0);
    wr_u8(&v, (uint8_t)(code / 100));
    wr_u8(&v, (uint8_t)(code % 100));
    wr_str(&v, reason_phrase(code));
    stun_put(w, STUN_ATTR_ERROR_CODE, wr_bytes_view(&v));
}

void stun_put_unknown_attrs(struct wr *w, const uint16_t *types, size_t n)
{
    wr_be16(w, STUN_ATTR_UNKNOWN_ATTRIBUTES);
    wr_be16(w, (uint16_t)(2 * n));
    for (size_t i = 0; i < n; i++) {
        wr_be16(w, types[i]);
    }
    wr_pad(w, 4);
    patch_length(w);
}

void stun_end_integrity(struct wr *w, struct bytes key)
{
    if (!wr_ok(w)) {
        return;
    }
    uint8_t mac[SHA1_LEN];
    size_t const at = wr_len(w);
    integrity(bytes_of(w->base, at), at, at + INTEGRITY_ATTR_LEN, key, mac);
    stun_put(w, STUN_ATTR_MESSAGE_INTEGRITY, bytes_of(mac, sizeof(mac)));
}

void stun_end_fingerprint(struct wr *w)
{
    if (!wr_ok(w)) {
        return;
    }
    size_t const at = wr_len(w);
    // The length field counts the attribute before the checksum is made (RFC 8489 section 14.7).
    wr_patch16(w, 2, (uint16_t)(at + FINGERPRINT_ATTR_LEN - STUN_HEADER_LEN));
    uint32_t const crc = crc32_ieee(bytes_of(w->base, at));
    stun_put_u32(w, STUN_ATTR_FINGERPRINT, crc ^ FINGERPRINT_XOR);
}

// ---- whole messages -------------------------------------------------------------------------

void stun_write_binding_success(struct wr *w, const struct stun_msg *req, const struct addr *mapped,
                                struct bytes key)
{
    stun_begin(w, STUN_SUCCESS, STUN_BINDING, req->txid);
    stun_put_xor_addr(w, STUN_ATTR_XOR_MAPPED_ADDRESS, mapped);
    if (key.n > 0) {
        stun_end_integrity(w, key);
    }
    stun_end_fingerprint(w);
}

void stun_write_binding_error(struct wr *w, const struct stun_msg *req, uint16_t code,
                              const uint16_t *unknown, size_t unknown_count, struct bytes key)
{
    stun_begin(w, STUN_ERROR, STUN_BINDING, req->txid);
    stun_put_error(w, code);
    if (unknown_count > 0) {
        stun_put_unknown_attrs(w, unknown, unknown_count);
    }
    if (key.n > 0) {
        stun_end_integrity(w, key);
    }
    stun_end_fingerprint(w);
}

int stun_peek_local_ufrag(struct bytes datagram, struct bytes *ret)
{
    struct stun_msg m;
    int const rc = stun_parse(datagram, &m);
    if (rc != 0) {
        return rc;
    }
    struct bytes ours;
    struct bytes theirs;
    if (m.cls != STUN_REQUEST || m.method != STUN_BINDING ||
        stun_get_username(&m, &ours, &theirs) != 0) {
        return -ENOENT;
    }
    *ret = ours;
    return 0;
}

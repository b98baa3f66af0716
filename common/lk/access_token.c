// SPDX-License-Identifier: Apache-2.0
#include "common/lk/access_token.h"

#include <stdatomic.h>

#include <jwt.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/lk/access_claims.h"
#include "common/svc/digest.h"
#include "common/svc/jsonx.h"

// A verified token and the memory of its strings.
struct token_box {
    atomic_uint refs;
    struct access_token token;
    struct arena arena;
};

static const char *const why_names[ACCESS_TOKEN_WHY_COUNT] = {
    [ACCESS_TOKEN_OK] = "ok",
    [ACCESS_TOKEN_TOO_LONG] = "too_long",
    [ACCESS_TOKEN_MALFORMED] = "malformed",
    [ACCESS_TOKEN_UNKNOWN_KEY] = "unknown_key",
    [ACCESS_TOKEN_RETIRED_KEY] = "retired_key",
    [ACCESS_TOKEN_BAD_ALG] = "bad_alg",
    [ACCESS_TOKEN_BAD_SIGNATURE] = "bad_signature",
    [ACCESS_TOKEN_NO_EXP] = "no_exp",
    [ACCESS_TOKEN_EXPIRED] = "expired",
    [ACCESS_TOKEN_NOT_YET_VALID] = "not_yet_valid",
};

// livekit-protocol 1.3; golang-jwt's words, since operators search for them.
static const char *const why_texts[ACCESS_TOKEN_WHY_COUNT] = {
    [ACCESS_TOKEN_TOO_LONG] = "invalid authorization token",
    [ACCESS_TOKEN_MALFORMED] = "invalid authorization token",
    [ACCESS_TOKEN_UNKNOWN_KEY] = "invalid API key",
    [ACCESS_TOKEN_RETIRED_KEY] = "invalid API key",
    [ACCESS_TOKEN_BAD_ALG] =
        "invalid token, error: token signature is invalid: signing method is invalid",
    [ACCESS_TOKEN_BAD_SIGNATURE] =
        "invalid token, error: token signature is invalid: signature is invalid",
    [ACCESS_TOKEN_NO_EXP] =
        "invalid token, error: token has invalid claims: token is missing required claim: exp "
        "claim is required",
    [ACCESS_TOKEN_EXPIRED] = "invalid token, error: token has invalid claims: token is expired",
    [ACCESS_TOKEN_NOT_YET_VALID] =
        "invalid token, error: token has invalid claims: token is not valid yet",
};

const char *access_token_why_name(enum access_token_why why)
{
    return (unsigned)why < ACCESS_TOKEN_WHY_COUNT ? why_names[why] : "?";
}

static int refuse(struct access_token_refusal *refusal, enum access_token_why why)
{
    refusal->why = why;
    (void)snprintf(refusal->text, sizeof(refusal->text), "%s", why_texts[why]);
    return -EACCES;
}

// The three segments of a compact JWS (RFC 7515 section 3.1).
struct segments {
    struct bytes header;
    struct bytes payload;
    struct bytes signature;
};

static bool split(struct bytes token, struct segments *ret)
{
    const uint8_t *const d1 = token.n ? memchr(token.p, '.', token.n) : NULL;
    if (!d1) {
        return false;
    }
    const uint8_t *const end = token.p + token.n;
    const uint8_t *const d2 = memchr(d1 + 1, '.', (size_t)(end - d1 - 1));
    if (!d2 || memchr(d2 + 1, '.', (size_t)(end - d2 - 1))) {
        return false;
    }
    ret->header = bytes_of(token.p, (size_t)(d1 - token.p));
    ret->payload = bytes_of(d1 + 1, (size_t)(d2 - d1 - 1));
    ret->signature = bytes_of(d2 + 1, (size_t)(end - d2 - 1));
    return true;
}

// Decodes one base64url segment that must be a JSON object without repeated keys.
static int decode_segment(struct bytes segment, struct jsonx **ret)
{
    struct dynbuf text;
    dynbuf_init(&text, ACCESS_TOKEN_MAX);
    int r = base64_decode(BASE64_URL_NOPAD, segment, &text);
    if (r == 0) {
        // A claim that stands there twice is read differently by different readers.
        struct jsonx_limits const limits = {
            .max_bytes = ACCESS_TOKEN_MAX, .max_depth = 16, .flags = JSONX_REJECT_DUPLICATES};
        r = jsonx_parse(dynbuf_view(&text), &limits, ret);
    }
    dynbuf_done(&text);
    return r;
}

// The alg of the header decides nothing: it has to be the one we sign with. An extension that must
// be understood (RFC 7515 section 4.1.11) never is.
static enum access_token_why check_header(struct bytes segment)
{
    CLEANUP(jsonx_free) struct jsonx *header = NULL;
    struct bytes alg = {0};
    if (decode_segment(segment, &header) < 0 || jsonx_get_str(header, "alg", &alg) < 0) {
        return ACCESS_TOKEN_MALFORMED;
    }
    return bytes_eq_str(alg, "HS256") && !jsonx_get(header, "crit") ? ACCESS_TOKEN_OK
                                                                    : ACCESS_TOKEN_BAD_ALG;
}

// Our own comparison first: libjwt before 1.17 compares signatures with strcmp, whose time tells
// how much of a guess was right (CVE-2024-25189).
static bool hmac_matches(const struct segments *seg, const struct api_key *key)
{
    uint8_t mac[DIGEST_SHA256_LEN];
    struct bytes const head =
        bytes_of(seg->header.p, seg->header.n + 1 + seg->payload.n); // they stand side by side
    digest_hmac_sha256(bytes_str(key->secret), head, mac);
    struct dynbuf got;
    dynbuf_init(&got, DIGEST_SHA256_LEN * 2);
    bool const ok = base64_decode(BASE64_URL_NOPAD, seg->signature, &got) == 0 &&
                    bytes_eq_consttime(dynbuf_view(&got), bytes_of(mac, sizeof(mac)));
    dynbuf_done(&got);
    return ok;
}

static bool signature_is_valid(struct bytes token, const struct segments *seg,
                               const struct api_key *key)
{
    if (!hmac_matches(seg, key)) {
        return false;
    }
    char *const text = mem_strndup((const char *)token.p, token.n);
    if (!text) {
        return false;
    }
    jwt_t *jwt = NULL;
    int const r =
        jwt_decode(&jwt, text, (const unsigned char *)key->secret, (int)strlen(key->secret));
    bool const ok = r == 0 && jwt_get_alg(jwt) == JWT_ALG_HS256;
    if (r == 0) {
        jwt_free(jwt);
    }
    mem_free(text);
    return ok;
}

static enum access_token_why check_times(const struct access_claims *c, int64_t now_s)
{
    if (c->exp == 0) {
        return ACCESS_TOKEN_NO_EXP;
    }
    if (now_s >= c->exp + ACCESS_TOKEN_LEEWAY_S) {
        return ACCESS_TOKEN_EXPIRED;
    }
    if (now_s < c->nbf - ACCESS_TOKEN_LEEWAY_S || now_s < c->iat - ACCESS_TOKEN_LEEWAY_S) {
        return ACCESS_TOKEN_NOT_YET_VALID;
    }
    return ACCESS_TOKEN_OK;
}

// The answer for an `iss` that is none of ours names it, as far as it can be shown, and tells if it
// was one: whoever holds such a token needs a new one, not another server.
static int refuse_key(struct access_token_refusal *refusal, struct bytes iss, bool retired)
{
    (void)refuse(refusal, retired ? ACCESS_TOKEN_RETIRED_KEY : ACCESS_TOKEN_UNKNOWN_KEY);
    bool printable = iss.n <= 64;
    for (size_t i = 0; i < iss.n && printable; i++) {
        printable = iss.p[i] > 0x20 && iss.p[i] < 0x7f;
    }
    if (printable) {
        (void)snprintf(refusal->text, sizeof(refusal->text), "invalid API key: %.*s%s", (int)iss.n,
                       (const char *)iss.p, retired ? " (retired)" : "");
    }
    return -EACCES;
}

static int read_claims(const struct jsonx *payload, const struct api_key *key,
                       struct access_token **ret)
{
    struct token_box *const box = NEW(struct token_box);
    if (!box) {
        return -ENOMEM;
    }
    atomic_init(&box->refs, 1);
    arena_init(&box->arena, 1024, ACCESS_TOKEN_CLAIMS_MAX);
    int r = access_claims_read(payload, &box->arena, &box->token.claims);
    if (r == 0) {
        box->token.api_key = arena_strdup(&box->arena, bytes_str(key->key));
        r = box->token.api_key ? 0 : -ENOMEM;
    }
    if (r < 0) {
        access_token_free(&box->token);
        return r;
    }
    *ret = &box->token;
    return 0;
}

int access_token_verify(const struct api_keys *keys, wall_t now, struct bytes token,
                        struct access_token **ret, struct access_token_refusal *refusal)
{
    struct segments seg;
    CLEANUP(jsonx_free) struct jsonx *payload = NULL;
    struct bytes iss = {0};
    if (token.n > ACCESS_TOKEN_MAX) {
        return refuse(refusal, ACCESS_TOKEN_TOO_LONG);
    }
    if (!split(token, &seg) || decode_segment(seg.payload, &payload) < 0) {
        return refuse(refusal, ACCESS_TOKEN_MALFORMED);
    }
    enum access_token_why why = check_header(seg.header);
    if (why == ACCESS_TOKEN_MALFORMED) {
        return refuse(refusal, why);
    }
    int const got_iss = jsonx_get_str(payload, "iss", &iss);
    const struct api_key *const key = got_iss == 0 ? api_keys_find(keys, iss, now) : NULL;
    if (!key) {
        return refuse_key(refusal, iss, got_iss == 0 && api_keys_is_retired(keys, iss, now));
    }
    if (why != ACCESS_TOKEN_OK) {
        return refuse(refusal, why);
    }
    if (!signature_is_valid(token, &seg, key)) {
        return refuse(refusal, ACCESS_TOKEN_BAD_SIGNATURE);
    }
    struct access_token *t = NULL;
    int const r = read_claims(payload, key, &t);
    if (!t) {
        return r == -ENOMEM ? r : refuse(refusal, ACCESS_TOKEN_MALFORMED);
    }
    why = check_times(&t->claims, now.us / US_PER_S);
    if (why != ACCESS_TOKEN_OK) {
        access_token_free(t);
        return refuse(refusal, why);
    }
    *ret = t;
    return 0;
}

static const char *copy_text(struct arena *a, const char *text, bool *ok)
{
    const char *const copy = text != NULL ? arena_strdup(a, bytes_str(text)) : NULL;
    *ok &= text == NULL || copy != NULL;
    return copy;
}

static bool copy_claims(struct arena *a, const struct access_claims *from, struct access_claims *to)
{
    bool ok = true;
    *to = *from;
    const char **const text[] = {&to->identity, &to->name,        &to->kind,
                                 &to->metadata, &to->room_config, &to->room_preset,
                                 &to->sha256,   &to->video.room,  &to->video.destination_room};
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        *text[i] = copy_text(a, *text[i], &ok);
    }
    struct access_attribute *const attributes =
        arena_array(a, from->attribute_count, sizeof(*attributes));
    const char **const details = arena_array(a, from->kind_detail_count, sizeof(*details));
    if (attributes == NULL || details == NULL) {
        return false;
    }
    for (size_t i = 0; i < from->attribute_count; i++) {
        attributes[i].key = copy_text(a, from->attributes[i].key, &ok);
        attributes[i].value = copy_text(a, from->attributes[i].value, &ok);
    }
    for (size_t i = 0; i < from->kind_detail_count; i++) {
        details[i] = copy_text(a, from->kind_details[i], &ok);
    }
    to->attributes = attributes;
    to->kind_details = details;
    return ok;
}

int access_token_new(const struct access_claims *claims, const char *api_key,
                     struct access_token **ret)
{
    struct token_box *const box = NEW(struct token_box);
    if (!box) {
        return -ENOMEM;
    }
    atomic_init(&box->refs, 1);
    arena_init(&box->arena, 1024, ACCESS_TOKEN_COPY_MAX);
    bool ok = copy_claims(&box->arena, claims, &box->token.claims);
    box->token.api_key = copy_text(&box->arena, api_key, &ok);
    if (!ok) {
        access_token_free(&box->token);
        return -ENOMEM;
    }
    *ret = &box->token;
    return 0;
}

struct access_token *access_token_ref(struct access_token *t)
{
    struct token_box *const box = CONTAINER_OF(t, struct token_box, token);
    (void)atomic_fetch_add_explicit(&box->refs, 1, memory_order_relaxed);
    return t;
}

void access_token_free(struct access_token *t)
{
    if (!t) {
        return;
    }
    struct token_box *const box = CONTAINER_OF(t, struct token_box, token);
    if (atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) == 1) {
        arena_done(&box->arena);
        mem_free(box);
    }
}

// ---- minting --------------------------------------------------------------------------------

// Signs `header.payload` in out and appends the signature segment.
static void sign(struct dynbuf *out, const struct api_key *key)
{
    uint8_t mac[DIGEST_SHA256_LEN];
    digest_hmac_sha256(bytes_str(key->secret), dynbuf_view(out), mac);
    dynbuf_add_u8(out, '.');
    base64_encode(BASE64_URL_NOPAD, bytes_of(mac, sizeof(mac)), out);
}

// A code point of the UTF-8 text at in.p[*i] (which jsonx has validated), advancing *i.
static uint32_t next_code_point(struct bytes in, size_t *i)
{
    uint8_t const c = in.p[(*i)++];
    unsigned const more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    uint32_t cp = more ? c & (0x3fu >> more) : c;
    for (unsigned k = 0; k < more && *i < in.n; k++) {
        cp = (cp << 6) | (in.p[(*i)++] & 0x3fu);
    }
    return cp;
}

// JSON text as pure ASCII without the characters whose base64url can contain '-' or '_'. Outside
// strings JSON has none of them, so they may be escaped wherever they stand.
static void escape_for_atob(struct bytes json, struct dynbuf *out)
{
    for (size_t i = 0; i < json.n;) {
        uint32_t const cp = next_code_point(json, &i);
        if (cp > 0xffff) {
            dynbuf_addf(out, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((cp - 0x10000) >> 10)),
                        (unsigned)(0xdc00 + ((cp - 0x10000) & 0x3ff)));
        } else if (cp >= 0x7f || cp == '>' || cp == '?' || cp == '~') {
            dynbuf_addf(out, "\\u%04x", (unsigned)cp);
        } else {
            dynbuf_add_u8(out, (uint8_t)cp);
        }
    }
}

// Element Call reads the payload with atob(), which knows the standard alphabet only. libjwt writes
// UTF-8 and has no say in it, so the rare token whose payload has '-' or '_' is written anew with
// the same claims and signed again.
static int mint_for_atob(const char *token, const struct api_key *key, char **ret)
{
    struct segments seg;
    if (!split(bytes_str(token), &seg)) {
        return -EINVAL;
    }
    if (!memchr(seg.payload.p, '-', seg.payload.n) && !memchr(seg.payload.p, '_', seg.payload.n)) {
        *ret = mem_strdup(token);
        return *ret ? 0 : -ENOMEM;
    }
    struct dynbuf json;
    struct dynbuf ascii;
    struct dynbuf out;
    dynbuf_init(&json, ACCESS_TOKEN_MAX);
    dynbuf_init(&ascii, ACCESS_TOKEN_MAX * 3); // a two-byte character becomes six
    dynbuf_init(&out, ACCESS_TOKEN_MAX * 4);
    int r = base64_decode(BASE64_URL_NOPAD, seg.payload, &json);
    if (r == 0) {
        escape_for_atob(dynbuf_view(&json), &ascii);
        dynbuf_add(&out, seg.header);
        dynbuf_add_u8(&out, '.');
        base64_encode(BASE64_URL_NOPAD, dynbuf_view(&ascii), &out);
        sign(&out, key);
        size_t n = 0;
        *ret = dynbuf_ok(&ascii) ? dynbuf_take_cstr(&out, &n) : NULL;
        r = *ret ? 0 : -ENOMEM;
    }
    dynbuf_done(&json);
    dynbuf_done(&ascii);
    dynbuf_done(&out);
    return r;
}

static int mint_json(const char *json, const struct api_key *key, char **ret)
{
    jwt_t *jwt = NULL;
    if (jwt_new(&jwt) != 0) {
        return -ENOMEM;
    }
    char *text = NULL;
    char *token = NULL;
    int r = -EINVAL;
    if (jwt_add_grants_json(jwt, json) == 0 &&
        jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)key->secret,
                    (int)strlen(key->secret)) == 0) {
        text = jwt_encode_str(jwt);
        r = text ? mint_for_atob(text, key, &token) : -ENOMEM;
    }
    free(text); // libjwt's allocator is malloc in all of 1.x; jwt_free_str is not there before 1.12
    jwt_free(jwt);
    if (r == 0) {
        *ret = token;
    }
    return r;
}

int access_token_mint(const struct access_claims *claims, const struct api_key *key, char **ret)
{
    if (claims->exp <= 0) {
        return -EINVAL;
    }
    CLEANUP(jsonx_free) struct jsonx *payload = NULL;
    int r = access_claims_write(claims, key->key, &payload);
    if (r < 0) {
        return r;
    }
    size_t n = 0;
    char *const json = jsonx_dump(payload, 0, &n);
    if (!json) {
        return -ENOMEM;
    }
    r = n <= ACCESS_TOKEN_MAX / 2 ? mint_json(json, key, ret) : -E2BIG;
    mem_free(json);
    return r;
}

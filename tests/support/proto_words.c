// SPDX-License-Identifier: Apache-2.0
#include "tests/support/proto_words.h"

#define DEPTH_MAX 5
#define FIELDS_MAX 12
#define REPEATED_MAX 200
#define MESSAGE_ENOUGH 65536 // of each level; ends the work
#define LONG_TEXT_MAX 40000  // over most limits of texts, below that of a message

// Wire types (protobuf encoding).
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static void put_varint(struct dynbuf *out, uint64_t v)
{
    uint8_t b[10];
    size_t n = 0;
    do {
        b[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v > 0);
    dynbuf_add(out, bytes_of(b, n));
}

static void put_tag(struct dynbuf *out, uint32_t id, unsigned wire)
{
    put_varint(out, (uint64_t)id << 3 | wire);
}

static uint64_t number(struct rd *in)
{
    uint8_t const b = rd_u8(in);
    switch (b >> 6) {
    case 0:
    case 1:
        return b & 31u;
    case 2:
        return (uint64_t)rd_be16(in) << (b & 31);
    default:
        return UINT64_MAX >> (b & 63);
    }
}

static void put_text(struct rd *in, const struct proto_words *words, struct dynbuf *out)
{
    uint8_t const b = rd_u8(in);
    if (b < 192 && words->count > 0) {
        struct bytes const word = bytes_str(words->words[b % words->count]);
        put_varint(out, word.n);
        dynbuf_add(out, word);
    } else if (b < 250) {
        struct bytes const raw = rd_take(in, MIN((size_t)(b & 31), rd_left(in)));
        put_varint(out, raw.n);
        for (size_t i = 0; i < raw.n; i++) {
            uint8_t const c = raw.p[i] & 0x7f; // texts are UTF-8, or the message is none
            dynbuf_add(out, bytes_of(&c, 1));
        }
    } else {
        static const char filler[] =
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        size_t const n = (size_t)LONG_TEXT_MAX >> (2 * (b - 250));
        put_varint(out, n);
        for (size_t left = n; left > 0;) {
            size_t const take = MIN(left, sizeof(filler) - 1);
            dynbuf_add(out, bytes_of(filler, take));
            left -= take;
        }
    }
}

static void put_message(const ProtobufCMessageDescriptor *type, struct rd *in,
                        const struct proto_words *words, unsigned depth, struct dynbuf *out);

static void put_value(const ProtobufCFieldDescriptor *f, struct rd *in,
                      const struct proto_words *words, unsigned depth, struct dynbuf *out)
{
    uint8_t raw[8] = {0};
    struct dynbuf nested;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        put_tag(out, f->id, WIRE_BYTES);
        put_text(in, words, out);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        dynbuf_init(&nested, (size_t)1 << 20);
        put_message(f->descriptor, in, words, depth + 1, &nested);
        put_tag(out, f->id, WIRE_BYTES);
        put_varint(out, nested.n);
        dynbuf_add(out, dynbuf_view(&nested));
        dynbuf_done(&nested);
        break;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        put_tag(out, f->id, WIRE_32);
        raw[3] = rd_u8(in);
        dynbuf_add(out, bytes_of(raw, 4));
        break;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        put_tag(out, f->id, WIRE_64);
        raw[7] = rd_u8(in);
        dynbuf_add(out, bytes_of(raw, 8));
        break;
    default:
        put_tag(out, f->id, WIRE_VARINT);
        put_varint(out, number(in));
        break;
    }
}

static void put_message(const ProtobufCMessageDescriptor *type, struct rd *in,
                        const struct proto_words *words, unsigned depth, struct dynbuf *out)
{
    if (type->n_fields == 0 || depth >= DEPTH_MAX) {
        return;
    }
    for (unsigned n = rd_u8(in) % FIELDS_MAX; n > 0 && rd_left(in) > 0 && out->n < MESSAGE_ENOUGH;
         n--) {
        const ProtobufCFieldDescriptor *const f = &type->fields[rd_u8(in) % type->n_fields];
        uint8_t const more = f->label == PROTOBUF_C_LABEL_REPEATED ? rd_u8(in) : 0;
        unsigned const times = more > 250 ? REPEATED_MAX : 1u + more % 3;
        size_t const before = out->n;
        put_value(f, in, words, depth, out);
        size_t const len = out->n - before; // 0 when out is full
        for (unsigned i = 1; i < times && out->n < MESSAGE_ENOUGH; i++) {
            uint8_t copy[64];
            if (more > 250 && len <= sizeof(copy) && len > 0) {
                memcpy(copy, out->p + before, len);
                dynbuf_add(out, bytes_of(copy, len));
            } else if (rd_left(in) > 0) {
                put_value(f, in, words, depth, out);
            }
        }
    }
}

void proto_words_write(const ProtobufCMessageDescriptor *type, struct rd *in,
                       const struct proto_words *words, struct dynbuf *out)
{
    put_message(type, in, words, 0, out);
}

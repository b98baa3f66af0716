// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/data_channel.h"

void data_channel_table_init(struct data_channel_table *c, bool dtls_client)
{
    *c = (struct data_channel_table){.ids_even = dtls_client};
}

static bool id_is_ours(const struct data_channel_table *c, uint16_t id)
{
    return (id % 2 == 0) == c->ids_even;
}

static struct data_channel *find_free(struct data_channel_table *c)
{
    for (size_t i = 0; i < DATA_CHANNELS_MAX; i++) {
        if (c->list[i].state == DATA_CHANNEL_FREE) {
            return &c->list[i];
        }
    }
    return NULL;
}

int data_channel_table_open(struct data_channel_table *c, const struct data_channel_params *params,
                            struct data_channel **ret)
{
    if (params->label.n > DATA_CHANNEL_LABEL_MAX || params->reliability_kind > DCEP_TIMED) {
        return -EINVAL;
    }
    uint16_t id = c->ids_even ? 0 : 1;
    while (id < DATA_CHANNEL_IDS && data_channel_table_by_id(c, id) != NULL) {
        id = (uint16_t)(id + 2);
    }
    struct data_channel *const ch = find_free(c);
    if (id >= DATA_CHANNEL_IDS || ch == NULL) {
        return -ENOBUFS;
    }
    *ch = (struct data_channel){
        .id = id,
        .state = DATA_CHANNEL_CONNECTING,
        .unordered = params->unordered,
        .reliability_kind = params->reliability_kind,
        .reliability = params->reliability,
        .priority = params->priority,
        .label_len = (uint8_t)params->label.n,
        .announce = true,
    };
    if (params->label.n > 0) {
        memcpy(ch->label, params->label.p, params->label.n);
    }
    *ret = ch;
    return 0;
}

int data_channel_table_opened(struct data_channel_table *c, uint16_t id,
                              const struct dcep_open *open, struct data_channel **ret)
{
    struct data_channel *ch = data_channel_table_by_id(c, id);
    if (id_is_ours(c, id) || (ch != NULL && !ch->opened_by_peer)) {
        return -EPROTO;
    }
    if (ch != NULL) {
        *ret = ch;
        return 0;
    }
    ch = find_free(c);
    if (ch == NULL) {
        return -ENOBUFS;
    }
    *ch = (struct data_channel){
        .id = id,
        .state = DATA_CHANNEL_OPEN,
        .opened_by_peer = true,
        .unordered = open->unordered,
        .reliability_kind = open->reliability_kind,
        .reliability = open->reliability,
        .priority = open->priority,
        .label_len = (uint8_t)MIN(open->label.n, DATA_CHANNEL_LABEL_MAX),
        .announce = true,
    };
    if (ch->label_len > 0) {
        memcpy(ch->label, open->label.p, ch->label_len);
    }
    *ret = ch;
    return 0;
}

struct data_channel *data_channel_table_by_id(struct data_channel_table *c, uint16_t id)
{
    for (size_t i = 0; i < DATA_CHANNELS_MAX; i++) {
        if (c->list[i].state != DATA_CHANNEL_FREE && c->list[i].id == id) {
            return &c->list[i];
        }
    }
    return NULL;
}

struct data_channel *data_channel_table_by_label(struct data_channel_table *c, struct bytes label)
{
    for (size_t i = 0; i < DATA_CHANNELS_MAX; i++) {
        struct data_channel *const ch = &c->list[i];
        if (ch->state != DATA_CHANNEL_FREE && bytes_eq(bytes_of(ch->label, ch->label_len), label)) {
            return ch;
        }
    }
    return NULL;
}

void data_channel_table_remove(struct data_channel_table *c, struct data_channel *ch)
{
    (void)c;
    *ch = (struct data_channel){.state = DATA_CHANNEL_FREE};
}

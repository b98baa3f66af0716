// SPDX-License-Identifier: Apache-2.0
// LINK: transport
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/transport/data_channel.h"

static const struct data_channel_params plain = {.label = {(const uint8_t *)"x", 1}};
static const struct dcep_open theirs = {
    .label = {(const uint8_t *)"_lossy", 6}, .unordered = true, .reliability_kind = DCEP_REXMIT};

static void ids_follow_the_dtls_role(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        struct data_channel_table c;
        struct data_channel *ch = NULL;
        data_channel_table_init(&c, client);
        for (uint16_t i = 0; i < DATA_CHANNELS_MAX; i++) {
            assert_int_equal(data_channel_table_open(&c, &plain, &ch), 0);
            assert_int_equal(ch->id, 2 * i + (client ? 0 : 1));
            assert_int_equal(ch->state, DATA_CHANNEL_CONNECTING);
        }
        assert_int_equal(data_channel_table_open(&c, &plain, &ch), -ENOBUFS);
    }
}

static void freed_ids_are_taken_again(void **state)
{
    (void)state;
    struct data_channel_table c;
    struct data_channel *a = NULL, *b = NULL, *again = NULL;
    data_channel_table_init(&c, true);
    assert_int_equal(data_channel_table_open(&c, &plain, &a), 0);
    assert_int_equal(data_channel_table_open(&c, &plain, &b), 0);
    data_channel_table_remove(&c, a);
    assert_null(data_channel_table_by_id(&c, 0));
    assert_int_equal(data_channel_table_open(&c, &plain, &again), 0);
    assert_int_equal(again->id, 0);
    assert_ptr_equal(data_channel_table_by_id(&c, 2), b);
}

static void channels_of_the_peer_are_found_by_label(void **state)
{
    (void)state;
    struct data_channel_table c;
    struct data_channel *ch = NULL, *again = NULL;
    data_channel_table_init(&c, true);
    assert_int_equal(data_channel_table_opened(&c, 65533, &theirs, &ch), 0);
    assert_int_equal(ch->state, DATA_CHANNEL_OPEN);
    assert_true(ch->opened_by_peer && ch->unordered);
    assert_ptr_equal(data_channel_table_by_label(&c, bytes_str("_lossy")), ch);
    assert_null(data_channel_table_by_label(&c, bytes_str("_loss")));
    assert_int_equal(data_channel_table_opened(&c, 65533, &theirs, &again), 0); // repeated
    assert_ptr_equal(again, ch);
}

static void ids_of_our_parity_are_refused(void **state)
{
    (void)state;
    struct data_channel_table c;
    struct data_channel *ch = NULL;
    data_channel_table_init(&c, true);
    assert_int_equal(data_channel_table_opened(&c, 4, &theirs, &ch), -EPROTO);
    for (uint16_t i = 0; i < DATA_CHANNELS_MAX; i++) {
        assert_int_equal(data_channel_table_opened(&c, (uint16_t)(2 * i + 1), &theirs, &ch), 0);
    }
    assert_int_equal(data_channel_table_opened(&c, 101, &theirs, &ch), -ENOBUFS);
}

static void long_labels_are_cut_or_refused(void **state)
{
    (void)state;
    struct data_channel_table c;
    struct data_channel *ch = NULL;
    uint8_t label[DATA_CHANNEL_LABEL_MAX + 1];
    memset(label, 'a', sizeof(label));
    data_channel_table_init(&c, true);
    struct data_channel_params const p = {.label = bytes_of(label, sizeof(label))};
    assert_int_equal(data_channel_table_open(&c, &p, &ch), -EINVAL);
    struct dcep_open const o = {.label = bytes_of(label, sizeof(label))};
    assert_int_equal(data_channel_table_opened(&c, 1, &o, &ch), 0);
    assert_int_equal(ch->label_len, DATA_CHANNEL_LABEL_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_follow_the_dtls_role),
        cmocka_unit_test(freed_ids_are_taken_again),
        cmocka_unit_test(channels_of_the_peer_are_found_by_label),
        cmocka_unit_test(ids_of_our_parity_are_refused),
        cmocka_unit_test(long_labels_are_cut_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

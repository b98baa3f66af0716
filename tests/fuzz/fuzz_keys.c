// SPDX-License-Identifier: Apache-2.0
// LINK: ctl

#include <stdlib.h>
#include <string.h>

#include "deploy/focictl/key_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW ((wall_t){INT64_C(1795284000) * US_PER_S})

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

// Any file as a key file: a set or one error line, and a rotation of a set keeps all that was in it.
static void rotate(struct bytes text, const struct api_keys *before)
{
    struct key_rotation const r = {.now = NOW,
                                   .overlap_s = 7200,
                                   .delay_s = 5,
                                   .key = "a new key for the fuzzer",
                                   .secret = "its secret"};
    struct key_rotation_report report;
    struct key_file_error e;
    struct dynbuf out;
    dynbuf_init(&out, 4 * KEY_FILE_MAX);
    int const rc = key_edit_rotate(text, &r, &out, &report, &e);
    if (rc == 0) {
        CLEANUP(api_keys_free) struct api_keys *after = NULL;
        must(key_file_parse(dynbuf_view(&out), NOW, &after, &e) == 0);
        must(strcmp(api_keys_first(after)->key, r.key) == 0);
        must(api_keys_count(after) == api_keys_count(before) + 1 - report.removed);
        for (size_t i = 0; i < api_keys_count(before); i++) {
            const struct api_key *const old = api_keys_at(before, i);
            const struct api_key *const now = api_keys_find(after, bytes_str(old->key), NOW);
            must(now == NULL ||
                 (strcmp(now->secret, old->secret) == 0 && now->signs.us == old->signs.us &&
                  now->retires.us <= old->retires.us));
            must(now != NULL || api_key_is_retired(old, NOW));
        }
    }
    dynbuf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key_file_error e = {0};
    struct key_finding findings[KEY_FINDINGS_MAX];
    CLEANUP(api_keys_free) struct api_keys *k = NULL;
    if (size > KEY_FILE_MAX) {
        return 0;
    }
    struct bytes const text = bytes_of(data, size);
    int const rc = key_file_parse(text, NOW, &k, &e);
    must(rc == 0 || (rc == -EINVAL && e.text[0] != '\0' && !strchr(e.text, '\n')));
    if (rc < 0) {
        return 0;
    }
    must(api_keys_count(k) >= 1 && api_keys_count(k) <= API_KEYS_MAX);
    must(api_keys_signer(k, NOW) != NULL && api_keys_equal(k, k));
    must(key_file_findings(k, NOW, 0644, findings) <= KEY_FINDINGS_MAX);
    struct dynbuf table;
    dynbuf_init(&table, 16 * KEY_FILE_MAX);
    key_edit_list(k, NOW, &table);
    dynbuf_done(&table);
    rotate(text, k);
    return 0;
}

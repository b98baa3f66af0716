// SPDX-License-Identifier: Apache-2.0
#pragma once
// Changes the text of a key file (common/lk/keys.h: its form) and leaves alone what it need not
// touch: other keys, comments, order. Pure.

#include "common/base/dynbuf.h"
#include "common/lk/key_file.h"

// A key that is retired this long is forgotten: until then a token that was made with it is refused
// with the word that it is retired. Keeps a file that is rotated every day under API_KEYS_MAX.
#define KEY_EDIT_FORGET_S 86400

struct key_rotation {
    wall_t now;
    int64_t overlap_s; // how long the old key still verifies
    int64_t delay_s;   // how long the new one does not sign yet
    const char *key;   // the new pair
    const char *secret;
};

struct key_rotation_report {
    char old[64];     // the key that retires, cut if longer; "" there was none that did not already
    wall_t signs;     // from when on the new key does
    wall_t retires;   // when the old one does
    unsigned removed; // long retired keys that are gone from the file
};

// The new pair comes before the first one of `text`; the first key that is not retired gets the
// time at which it retires, now + overlap, unless it retires earlier. The result is appended to
// out, which the caller wipes. -EINVAL: *ret_error (the old text is no key file, or the new name is
// in it); -E2BIG more than API_KEYS_MAX; -ENOMEM, also if out is too small.
int key_edit_rotate(struct bytes text, const struct key_rotation *r, struct dynbuf *out,
                    struct key_rotation_report *ret, struct key_file_error *ret_error) NODISCARD;

// The text of a file with this key alone.
void key_edit_new(wall_t now, const char *key, const char *secret, struct dynbuf *out);

// Appends a table of the keys: name, what each is for now, since and until when. No secrets.
void key_edit_list(const struct api_keys *k, wall_t now, struct dynbuf *out);

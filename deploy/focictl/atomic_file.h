// SPDX-License-Identifier: Apache-2.0
#pragma once
// A file that is changed as a whole: whoever reads it sees the old content or the new one, also
// after a power cut, and two programs that change it do so one after the other.

#include "common/base/bytes.h"

#define ATOMIC_FILE_LOCK_MS 3000 // longer than anybody holds it

struct atomic_file;

// Locks the folder of the file at path (flock, no file of its own) and finds what links point to, so
// that a link stays one. The file need not exist, its folder must. -EBUSY: locked by somebody for
// ATOMIC_FILE_LOCK_MS; other errno values of finding and opening; -ENOMEM.
int atomic_file_open(const char *path, struct atomic_file **ret) NODISCARD;
// Unlocks. Accepts NULL.
void atomic_file_close(struct atomic_file *f);
DEFINE_CLEANUP(struct atomic_file *, atomic_file_close)

// The path without links, for messages and for reading. Valid until the end.
const char *atomic_file_path(const struct atomic_file *f);

// Writes a new file beside it, with owner and permissions of the old one (0600 if there is none),
// brings it to disk and renames it. Negative errno; the old content is then as it was. -EBUSY: the
// file is a mount point of its own (a container was given the file and not its folder).
int atomic_file_replace(struct atomic_file *f, struct bytes content) NODISCARD;

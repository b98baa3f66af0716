// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tells when the file at a path may have changed, however it is changed: written in place, replaced
// by a rename, removed and made again, a symbolic link on the way to it pointed elsewhere (the
// ..data of Kubernetes), a folder on the way renamed, permissions changed. Not more than may: the
// one who is told reads the file and compares.
//
// inotify(7) on the file, on the folders in which its name and the links on the way stand, and on
// the folders between; looked up anew after each change. Nothing wakes up while nothing changes.
// What the kernel does not see (a file server's other clients) is not told: offer a signal beside.
// Owner thread: the loop's.

#include "common/sys/loop.h"

// A change is told when it is complete: this long after a rename or after the writer has closed the
// file, so that several steps (write, chmod, rename) are one change,
#define FILEWATCH_SETTLE_MS 50
// and this long after the last write of someone who leaves it open.
#define FILEWATCH_OPEN_WRITER_MS 1000
// A file that never rests is told this often.
#define FILEWATCH_MAX_DELAY_MS 3000

struct filewatch;

// Watches path (copied; relative ones from the present directory; need not exist). fn is called on
// the loop after changes from now on; what was read before should be compared once after this
// returns. -ENOMEM, -EMFILE or -ENOSPC (the limits of inotify(7)), -ENAMETOOLONG.
int filewatch_new(struct loop *l, const char *path, void (*fn)(void *user), void *user,
                  struct filewatch **ret) NODISCARD;
void filewatch_free(struct filewatch *w); // accepts NULL; also inside of fn
DEFINE_CLEANUP(struct filewatch *, filewatch_free)

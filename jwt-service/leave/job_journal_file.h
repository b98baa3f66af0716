// SPDX-License-Identifier: Apache-2.0
#pragma once
// The journal as a file: frames of job_frame, appended and made durable, rewritten without what is
// out of date. Every function but _open waits for the disk and belongs on a thread of its own; one
// call at a time.
//
//   <dir>/jobs.journal      the frames         <dir>/jobs.journal.new   while it is rewritten
//   <dir>/jobs.lock         flock'd by the process that has the journal, holds its number
//
// A write that fails leaves nothing behind: the file is cut back to where it was before the next
// one, so that no stale frame can stand behind newer ones. fdatasync that fails counts as a failed
// write and all is written anew, because the kernel may have dropped the pages (Linux marks them
// clean after the error).

#include "common/base/bytes.h"

struct job_file;

#define JOB_FILE_ERROR_MAX 512

// Opens and locks; makes the directory (not its parents) and the file, mode 0700 and 0600, if they
// are not there. -EBUSY: another process has it. err is one line for the operator.
int job_file_open(const char *dir, struct job_file **ret,
                  char err[static JOB_FILE_ERROR_MAX]) NODISCARD;
void job_file_close(struct job_file *f); // accepts NULL

const char *job_file_path(const struct job_file *f);

// The whole content, to be freed with mem_free. -EFBIG over 1 GiB.
int job_file_read(struct job_file *f, uint8_t **ret, size_t *ret_n) NODISCARD;

// What stands behind `size` is no frames: it is cut off now, so that nobody finds it again; if that
// fails, before the next write.
void job_file_set_size(struct job_file *f, uint64_t size);
uint64_t job_file_size(const struct job_file *f);

// Writes data behind the last frame and makes it durable; *ret_offset is where it begins.
int job_file_append(struct job_file *f, struct bytes data, uint64_t *ret_offset) NODISCARD;

// A frame that is to be kept; `offset` becomes the new one.
struct job_piece {
    uint64_t offset;
    uint32_t len;
    void *user;
};

// Writes a new file of these pieces, which must be sorted by offset, and puts it in place of the
// old one. After an error everything is as it was.
int job_file_rewrite(struct job_file *f, struct job_piece *pieces, size_t count) NODISCARD;

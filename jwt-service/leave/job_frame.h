// SPDX-License-Identifier: Apache-2.0
#pragma once
// The records of the journal: one frame each, found again after damage. Pure.
//
//   frame    FF 'f' 'J' FE | be32 CRC-32 of all that follows | be32 length of the payload | payload
//   payload  u8 kind | u8 state | be64 timeout in ns | be64 time of the last restart in us |
//            eight texts, each be16 length, bytes, a zero byte (job_record's in their order)
//
// No valid UTF-8 contains FF or FE, and job_record_check admits nothing else, so no text that a
// client chose can pass for the beginning of a frame. What is not a whole frame is skipped up to the
// next marker: a cut or overwritten place costs the frames it touches and no others.

#include "jwt-service/leave/job_codec.h"

enum job_frame_kind {
    JOB_FRAME_PUT = 1,
    JOB_FRAME_REMOVE = 2, // only room and identity are set
};

#define JOB_FRAME_HEAD 12
#define JOB_FRAME_MAX (JOB_FRAME_HEAD + 64u + JOB_RECORD_MAX)

struct job_frame {
    enum job_frame_kind kind;
    struct job_record record; // texts borrowed from the input
    size_t len;               // of the frame in bytes
};

// Appends a frame. Check dynbuf_ok afterwards; r must have passed job_record_check (texts that do
// not fit set the error).
void job_frame_put(const struct job_record *r, struct dynbuf *out);
void job_frame_remove(const char *room, const char *identity, struct dynbuf *out);

// Reads the frame at the start of `in`. -EAGAIN: a beginning of one that was cut off; -EBADMSG: no
// frame.
int job_frame_read(struct bytes in, struct job_frame *ret) NODISCARD;

struct job_scan {
    size_t frames;
    size_t gaps;      // damaged places
    size_t gap_bytes; // their size in total, the tail not counted
    size_t end;       // behind the last whole frame
    size_t tail;      // bytes after it: a write that did not get done
};

// Finds all frames in the order they stand in; fn(user, frame, offset) for each.
void job_frame_scan(struct bytes in,
                    void (*fn)(void *user, const struct job_frame *f, size_t offset), void *user,
                    struct job_scan *ret);

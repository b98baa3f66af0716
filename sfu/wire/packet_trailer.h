// SPDX-License-Identifier: Apache-2.0
#pragma once
// Packet trailers: what publishers may append to each encoded video frame (a time, a number, data of
// the application) behind its last byte, outside of end-to-end encryption. Receivers that do not know
// them would decode, or fail to decrypt, what does not belong to the frame.
//
//   tag ^ FF | length ^ FF | value ^ FF ... | length of all of it ^ FF | "LKTS"
//
// Pure. Upstream: client-sdk-js src/frameMetadata/frameMetadata.ts, livekit pkg/sfu/packettrailer.

#include "common/base/bytes.h"

// Length of the trailer at the end of the payload of a frame's last packet; 0 if there is none. Only
// for tracks that announced them: encrypted bytes may look like anything.
uint8_t packet_trailer_len(struct bytes payload);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// In which codec a subscriber gets a track, if its publisher sends it in several (backup_codec.h).
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/wrappedreceiver.go.

struct jsep_codec;
struct jsep_transceiver;
struct subscription;
struct track_media;

// The codec of the subscriber's section that can carry what the publisher sends, and the media of
// the track in it. The primary codec goes first, or the backup that replaces it. NULL: none.
const struct jsep_codec *subscription_match_codec(const struct subscription *s,
                                                  const struct jsep_transceiver *section,
                                                  struct track_media **ret_media);

// A codec that the publisher may send when it is asked to, and that the section could carry. NULL:
// none.
struct track_media *subscription_promised(const struct subscription *s,
                                          const struct jsep_transceiver *section);

// The track's media changed: gives s the codec that it should have now.
void subscription_choose_codec(struct subscription *s);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// One codec of a published track: the section that carries it, the receiver of its packets and who
// gets them. A track has its primary codec and, if the client publishes it a second time for those
// who cannot receive the first, a backup codec (livekit-protocol 4.5); each subscription is in the
// outputs of one of them.
//
//   (unused) ──section matched──► section set ──received──► receiver set
//       ▲                                                        │ section silent
//       └────────────── 200 ms later ─── ending ◄────────────────┘
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/mediatrackreceiver.go
// (simulcastReceiver).

#include "sfu/media/receiver.h"
#include "sfu/room/room_env.h"

struct down_track;
struct jsep_transceiver;
struct pc_transport;
struct published_track;
struct subscription;

// Packets of one codec that are gathered before they are fanned out: two frames of a video at once;
// what is over goes out first (router_flush).
#define TRACK_MEDIA_BATCH 32

// One subscriber in the fan-out: everything the router touches for it, in one cache line.
struct track_output {
    struct down_track *down_track;
    struct pc_transport *transport;
    struct subscription *subscription;
};

struct track_media {
    struct receiver *receiver;    // NULL: nothing may be received (yet)
    struct track_output *outputs; // live subscriptions
    uint32_t output_count, output_cap;
    bool video, dirty;
    bool ending;   // its section fell silent: the rest follows (published_track.h)
    uint8_t index; // of TrackInfo.codecs: 0 primary, 1 backup
    uint8_t batch_count;
    struct track_media *dirty_next; // env->dirty
    struct published_track *track;
    enum codec codec;                 // what comes
    enum codec asked;                 // what add_track named; CODEC_NONE: nothing
    uint32_t section_id;              // of the transport's demultiplexer
    struct jsep_transceiver *section; // NULL: no offer carries it
    struct packet *batch[TRACK_MEDIA_BATCH];
};

// The state of a track's codec `index` before any section carries it.
void track_media_init(struct track_media *m, struct published_track *t, uint8_t index,
                      enum codec codec);

// Attaches the section of an offer: its answer will ask for the codec. TrackInfo gets the rids.
void track_media_set_section(struct track_media *m, struct jsep_transceiver *section);

// Makes a receiver from what the section negotiated, enters mime type and mid into TrackInfo and
// lets packets in. -ENOTSUP: no usable codec; -ENOMEM.
int track_media_receive(struct track_media *m) NODISCARD;

// Gives up the section, which may carry something else from now on; the rest stays.
void track_media_detach(struct track_media *m);

// Gives up receiver and section, and what TrackInfo says of them; back to the state of
// track_media_init. The outputs must be gone.
void track_media_close(struct track_media *m);

// It has neither section nor receiver, and a section may be matched with it: add_track gave it a
// cid.
bool track_media_is_awaited(const struct track_media *m);

// The demultiplexer learned the SSRC of an encoding: TrackInfo shows it.
void track_media_layer_bound(struct track_media *m, uint8_t encoding, bool rtx, uint32_t ssrc);

// Makes room for one more output. -ENOMEM.
int track_media_reserve_output(struct track_media *m) NODISCARD;

// Adds a subscription that has a down track to the fan-out, after track_media_reserve_output;
// removes it.
void track_media_add_output(struct track_media *m, struct subscription *s);
void track_media_remove_output(struct track_media *m, struct subscription *s);

// Which encodings subscribers need. One that has come or changed says so at once, and what is needed
// grows by that; what nobody needs any more is found with the next of the publisher's reports, about a
// second later. (Everybody asked with each one that comes would be quadratic in a large room.)
void track_media_need(struct track_media *m, const struct down_track *dt);
void track_media_update_needed(struct track_media *m);

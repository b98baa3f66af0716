// SPDX-License-Identifier: Apache-2.0
#pragma once
// Down track: one subscription to one published track, the way out of an SFU.
//
//   for each down track of a track { for each packet of the batch {
//       slot = outbox_reserve(); out = {slot->data, cap};
//       if (down_track_write(dt, now, r, packet, &twcc_sn, &out) == DOWN_TRACK_SENT) commit(slot)
//   } }
//
// It chooses the layer (layer_selector), renumbers (rtp_munger, vp8_munger), writes header,
// extensions and payload into memory of the caller, and remembers where each outgoing sequence
// number came from (sequencer), so that NACKs are answered from the receiver's history. Everything
// that is equal for all subscribers was computed once at ingress (packet.info); the cost here is
// state of about four cache lines, one header and one memcpy.
//
// Four switches stop it: disabled (subscriber hides the tile), publisher muted, paused (bandwidth),
// and no layer allowed. The SSRC stays; sequence numbers continue; time goes on by the resume rule
// (media-plane 5.3).
//
// Pure. Thread: the worker that owns the subscription. Upstream: livekit pkg/sfu/downtrack.go,
// forwarder.go, sequencer.go @788d4c35; deviations: random first sequence number and timestamp,
// timestamp offsets per publication, full SVC streams.

#include "sfu/media/receiver.h"

#define DOWN_TRACK_MID_MAX 16
#define DOWN_TRACK_CNAME_MAX 63

// Largest layer numbers; also "no limit".
#define DOWN_TRACK_SPATIAL_MAX 2
#define DOWN_TRACK_TEMPORAL_MAX 3

// As spatial layer: nothing at all.
#define DOWN_TRACK_NO_LAYER (-1)

// Header, extensions but the dependency descriptor, and descriptor growth: 12 + 4 + mid 18 +
// transport-cc 4 + abs-send-time 5 + audio level 3 or playout delay 5 + capture time 18 + OSN 2 +
// padding. out.cap
// must hold payload, dependency descriptor and this.
#define DOWN_TRACK_HEADER_MAX 128

// Padding before the first media, for subscribers that report a track only when RTP of it comes
// (livekit pkg/rtc/clientinfo.go, FireTrackByRTPPacket). livekit sends it for up to 5 s, every 100 ms
// (pkg/sfu/downtrack.go, maxPaddingOnMuteDuration, paddingOnMuteInterval); 7 packets with doubled
// distances span about as long, and audio gets them too (there: silence, which needs a trailer with
// end-to-end encryption). They begin a little later than media could, so that it comes first if
// there is any (waitBeforeSendPaddingOnMute).
#define DOWN_TRACK_PADDING_PACKETS 7u
#define DOWN_TRACK_PADDING_WAIT_MS 50
#define DOWN_TRACK_PADDING_INTERVAL_MS 100

struct down_track_conf {
    enum codec codec;
    uint32_t clock_rate;
    uint8_t pt;         // as negotiated with the subscriber
    uint8_t rtx_pt;     // 0 = no RTX: NACKs are then not answered (media-plane 3.2)
    uint8_t red_pt;     // 0 = subscriber takes no RED: its primary block is sent instead
    bool cut_trailers;  // subscriber does not know packet trailers (packet_trailer.h)
    bool padding_first; // down_track_write_padding has something to do while no media comes
    uint32_t ssrc, rtx_ssrc;
    uint32_t first_ts;      // random
    uint16_t first_sn;      // random; the top bit is cleared: in [0, 2^15) (RFC 3711 section 3.3.1)
    uint16_t first_rtx_sn;  // likewise
    struct rtp_ext_map ext; // ids of the subscriber's transport
    mono_t key_full;        // down_track_key_full of the one before, zero if there was none
    // Of the room: playout_delay.h. Nothing is told unless the extension is negotiated.
    uint32_t min_playout_delay_ms, max_playout_delay_ms;
    char mid[DOWN_TRACK_MID_MAX + 1];     // "" = no MID extension
    char cname[DOWN_TRACK_CNAME_MAX + 1]; // equal for all tracks of one publisher: lip sync
};

// Why a packet was not sent. Counted for each down track.
enum down_track_result {
    DOWN_TRACK_SENT,
    DOWN_TRACK_DISABLED,   // subscriber does not want it now
    DOWN_TRACK_MUTED,      // publisher is muted
    DOWN_TRACK_PAUSED,     // no bandwidth, or no layer allowed
    DOWN_TRACK_UNWRITABLE, // the subscriber's transport is not up
    DOWN_TRACK_WAIT_KEY,   // nothing may be sent before a key frame
    DOWN_TRACK_LAYER,      // another layer is being sent
    DOWN_TRACK_TEMPORAL,   // temporal layer is not sent
    DOWN_TRACK_PADDING,    // padding-only packet: compacted away
    DOWN_TRACK_LATE,       // behind what can be mapped, or of before a layer switch
    DOWN_TRACK_DUPLICATE,
    DOWN_TRACK_TIMESTAMP, // key frame of another layer whose time cannot be aligned yet
    DOWN_TRACK_MALFORMED, // descriptor unreadable
    DOWN_TRACK_NO_SPACE,  // out.cap is too small
    DOWN_TRACK_NOTHING,   // down_track_write_rtx, _silence, _padding: nothing is due
    DOWN_TRACK_RESULT_COUNT,
};

// Where a packet goes, and what the transport needs to protect it.
struct down_track_out {
    uint8_t *data;
    size_t cap;
    size_t len;        // set with DOWN_TRACK_SENT, as everything below
    size_t header_len; // where encryption starts
    uint32_t ssrc;
    uint32_t roc; // rollover counter of this SSRC (RFC 3711 section 3.3.1)
    uint16_t sn;
    uint16_t twcc_sn; // valid if has_twcc
    bool has_twcc;
    bool is_rtx;
};

struct down_track;

// Key frames that one subscriber may have made on one track: so many at once, and then one each
// interval. A key frame is worth several others, and everybody gets it: somebody who asks for one after
// the other, by PLI, by switching layers or by subscribing again, would take the others' bandwidth or
// their picture's quality. Repeated requests until a key frame comes count as one. What is over waits.
#define DOWN_TRACK_KEYS_BURST 10
#define DOWN_TRACK_KEYS_INTERVAL_US (5 * US_PER_S)

// When the allowance is full again: for the conf of the next one to the same subscriber.
mono_t down_track_key_full(const struct down_track *dt);

// Copies conf. The layer limits start open (highest quality). -EINVAL, -ENOMEM.
int down_track_new(const struct down_track_conf *conf, struct down_track **ret) NODISCARD;
void down_track_free(struct down_track *dt); // accepts NULL

// Forwards one packet of the receiver into out, or says why not. twcc_sn: next transport-wide
// sequence number of the subscriber's transport, taken and increased only if the extension is
// negotiated and the packet is sent: packets must leave in the order of the calls. r: the receiver
// of the packet, the same in all calls.
enum down_track_result down_track_write(struct down_track *dt, mono_t now, const struct receiver *r,
                                        const struct packet *p, uint16_t *twcc_sn,
                                        struct down_track_out *out);

// A padding-only packet (RFC 3550 section 5.1), numbered as part of the stream, whatever stops the
// track but an unwritable transport: the media that follows continues it without a hole, and its
// timestamps go on as the clock does. DOWN_TRACK_NOTHING unless conf.padding_first, and when none is
// due: media was sent, the subscriber reported to have got one, or there were enough of them
// (DOWN_TRACK_PADDING_PACKETS). Call when down_track_deadline is reached. NACKs for it are not
// answered: nothing is in it that could be missed (media-plane 4.3).
enum down_track_result down_track_write_padding(struct down_track *dt, mono_t now,
                                                uint16_t *twcc_sn, struct down_track_out *out);

// The track comes in another codec from another receiver from now on: same SSRC, sequence numbers
// and time go on, the payload type changes, and it begins with a key frame. Both codecs have the
// same clock (all video has). rtx_pt 0: no RTX any more; it does not begin here if there was none.
void down_track_set_codec(struct down_track *dt, mono_t now, enum codec codec, uint8_t pt,
                          uint8_t rtx_pt);

// Hint before a down_track_write that follows soon: loads the state into the cache.
void down_track_prefetch(const struct down_track *dt);

// ---- what is wanted -------------------------------------------------------------------------

// Highest layers that the subscriber wants (UpdateTrackSettings). spatial DOWN_TRACK_NO_LAYER stops
// the video.
void down_track_set_max_layers(struct down_track *dt, int spatial, int temporal);

// Highest layers that the bandwidth allows (stream allocator); open at the start. target =
// min(wanted, allowed). The too high layer stops at once if `urgent`, else it goes on until the key
// frame of the lower one.
void down_track_set_allowed_layers(struct down_track *dt, int spatial, int temporal, bool urgent);

void down_track_set_disabled(struct down_track *dt, mono_t now, bool disabled);
void down_track_set_publisher_muted(struct down_track *dt, mono_t now, bool muted);
// A reason of its own, so that it stands beside the others; nothing in the server uses it so far.
void down_track_set_paused(struct down_track *dt, mono_t now, bool paused);

// Whether the subscriber's transport can take media at all (ICE, DTLS); false at the start.
// Becoming writable asks for a key frame.
void down_track_set_writable(struct down_track *dt, mono_t now, bool writable);

bool down_track_is_forwarding(const struct down_track *dt); // none of the switches is set

// Encodings (bit = rank) that this subscription needs repaired: the current and the target one, as
// of the last down_track_poll_key_frame. For receiver_set_needed.
uint8_t down_track_needed_mask(const struct down_track *dt);

struct down_track_layers {
    int8_t current_spatial, current_temporal; // DOWN_TRACK_NO_LAYER: nothing sent yet
    int8_t target_spatial, target_temporal;
    int8_t max_spatial, max_temporal; // wanted by the subscriber
};
void down_track_get_layers(const struct down_track *dt, struct down_track_layers *ret);

// Spatial layer for a requested size (media-plane 7.2). heights: of the layers, ascending, n of
// them (may be 0: 180, 360 and then the source are assumed); source_*: dimensions of the published
// track, 0 if unknown. Pure helper.
int down_track_layer_for_size(const uint32_t *heights, size_t n, uint32_t source_width,
                              uint32_t source_height, uint32_t width, uint32_t height);

// ---- key frames -----------------------------------------------------------------------------

// True if a key frame should be asked for now (give *ret_encoding to receiver_request_key_frame).
// Spaces its own repetitions by clamp(2 x RTT, 200 ms, 1 s). Call after writes and when
// down_track_deadline is reached.
bool down_track_poll_key_frame(struct down_track *dt, mono_t now, const struct receiver *r,
                               uint8_t *ret_encoding);

// When poll_key_frame, write_rtx, write_padding or write_sr should be called again; MONO_NEVER if
// nothing is due.
mono_t down_track_deadline(const struct down_track *dt);

// ---- RTCP -----------------------------------------------------------------------------------

// From the subscriber. The caller finds the down track by media SSRC (media or RTX).
void down_track_rtcp_block(struct down_track *dt, mono_t now, const struct rtcp_report_block *b);
void down_track_rtcp_nack(struct down_track *dt, mono_t now, const uint16_t *sns, size_t n);
void down_track_rtcp_pli(struct down_track *dt, mono_t now); // also for FIR

// Writes the next packet that is due besides the stream: an answer to a NACK, or (out->is_rtx
// false) a packet of a key frame whose beginning came late. At most one per call: call after NACKs,
// and after a batch if down_track_has_catch_up, until DOWN_TRACK_NOTHING.
enum down_track_result down_track_write_rtx(struct down_track *dt, mono_t now,
                                            const struct receiver *r, uint16_t *twcc_sn,
                                            struct down_track_out *out);

// True if a layer was entered by a key frame whose first packet had been overtaken or lost, and the
// packets that passed in the meantime are to be fetched from the history by down_track_write_rtx.
bool down_track_has_catch_up(const struct down_track *dt);

// Adds a sender report if it is due (or always, if force). -EAGAIN: not due, or nothing to report
// yet; -ENOBUFS: out full.
int down_track_write_sr(struct down_track *dt, mono_t now, const struct receiver *r, bool force,
                        struct rtcp_out *out) NODISCARD;

// Round trip of the subscriber's transport (any source); reports that echo our SRs set it by
// themselves.
void down_track_set_rtt(struct down_track *dt, int64_t rtt_us);

struct down_track_stats {
    uint64_t packets, bytes; // media, with headers; RTX not included
    uint64_t rtx_packets, rtx_bytes;
    uint64_t nacks, nacks_answered, nacks_missed; // sequence numbers
    uint32_t plis;
    uint32_t plis_late; // of them: came over the allowance of key frames
    uint32_t key_frames;
    uint32_t layer_switches;
    int64_t rtt_us;        // 0 unknown
    uint8_t fraction_lost; // last report
    int64_t lost;
    uint32_t jitter_us;
    uint32_t interval_expected, interval_lost; // between the last two reports, for quality
    uint64_t results[DOWN_TRACK_RESULT_COUNT];
};
// Everything that was counted; the server itself reads the totals below.
void down_track_get_stats(const struct down_track *dt, struct down_track_stats *ret);

// Totals since the start, for quality.
struct down_track_totals {
    enum down_track_result block; // why nothing is sent; DOWN_TRACK_SENT: nothing is in the way
    uint64_t sent;                // media packets, without retransmissions
    uint64_t holes;    // sequence numbers never sent: lost on the way in. Late packets close them
    uint64_t reported; // numbers that the subscriber's reports have covered
    int64_t lost;      // of them, as it says: our holes are among them
};
void down_track_get_totals(const struct down_track *dt, struct down_track_totals *ret);

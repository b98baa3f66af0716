// SPDX-License-Identifier: Apache-2.0
#pragma once
// The data tracks of a room_client: what it publishes and what it receives by which handle, and what
// it must never be told.

#include "common/lk/livekit.h"

struct room_client;

#define ROOM_DATA_TRACKS 160

struct room_data_track {
    uint32_t handle; // published: its own; received: the server's
    char sid[24];
    char publisher_sid[24];
    unsigned packets;
    uint32_t last_sequence;
};

struct room_data_tracks {
    struct room_data_track published[ROOM_DATA_TRACKS]; // that the server confirmed
    size_t published_count;
    struct room_data_track received[ROOM_DATA_TRACKS]; // the last map of handles
    size_t received_count;
    unsigned maps;    // how often it was told
    unsigned packets; // of all received
    unsigned strays;  // with a handle that it does not know (any more)
    unsigned refused;
    int reason; // of the last refusal
    char text[96];
    uint32_t refused_handle;
};

void room_data_track_publish(struct room_client *c, uint32_t handle, const char *name);
void room_data_track_unpublish(struct room_client *c, uint32_t handle);
void room_data_track_subscribe(struct room_client *c, const char *sid, bool subscribe);
// One packet with a payload of n bytes.
int room_data_track_send(struct room_client *c, uint32_t handle, uint32_t sequence, size_t n);

// What it knows of a track it publishes, by handle; of one it receives, by sid. NULL: nothing.
const struct room_data_track *room_data_track_mine(const struct room_client *c, uint32_t handle);
const struct room_data_track *room_data_track_of(const struct room_client *c, const char *sid);

// ---- for room_client_signal.c and room_data.c -----------------------------------------------

// True if the message is about data tracks.
bool room_data_track_response(struct room_client *c, const Livekit__SignalResponse *m);
void room_data_track_refusal(struct room_client *c, const Livekit__RequestResponse *m);
void room_data_track_packet(struct room_client *c, struct bytes message);
// Fills publish_data_tracks; what it points to lives until the next call.
void room_data_track_sync(const struct room_client *c, Livekit__SyncState *s);

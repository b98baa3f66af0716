// SPDX-License-Identifier: Apache-2.0
#pragma once
// Memory of connections that left HTTP. libmicrohttpd keeps the pool of an upgraded connection
// until it ends, and zeroes the whole of it when the request is over (MHD_pool_reset): with room
// for long request lines, that is a quarter of a megabyte of resident zeros for each WebSocket
// (measured with 0.9.75: 130 KB of 230 KB a participant). Owner thread of the daemon.

#include "common/base/macros.h"

// Gives the pages of [start, start + size) back that hold nothing but zeros: an anonymous mapping
// reads as zeros afterwards as well, so nobody can tell. start: where libmicrohttpd put the request
// line, which is the beginning of its pool. Does nothing if that is no page boundary (a pool from
// malloc) or if the range is not mapped. Returns the bytes given back.
size_t httpd_pool_trim(void *start, size_t size);

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The settings about webhooks: where events go, which of them, and who signs. Each URL may have its
// own choice of events behind it, in the part of a URL that is never sent:
//
//   webhook.urls: https://a.example/hook, https://b.example/hook#include=room_started+room_finished,
//                 https://c.example/hook#exclude=track_published+track_unpublished
//
// A URL without one has that of webhook.include_events and webhook.exclude_events. (LiveKit's filters
// are those of a URL in its library and of all URLs in its configuration file.)
//
// Start-up, one thread.

#include "sfu/sfu_config.h"

// Fills c->webhooks from the settings, whose keys are loaded. -EINVAL with the line for the operator in
// err, -ENOMEM.
int sfu_webhooks_load(struct sfu_config *c, char err[static CONF_ERROR_MAX]) NODISCARD;
void sfu_webhooks_done(struct sfu_config *c);

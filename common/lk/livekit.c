// SPDX-License-Identifier: Apache-2.0
#include "common/lk/livekit.h"

int lk_unpack_signal_request(struct bytes in, struct pbuf **ret)
{
    return pbuf_unpack(&livekit__signal_request__descriptor, in, PBUF_CAP_DEFAULT, ret);
}

int lk_unpack_signal_response(struct bytes in, struct pbuf **ret)
{
    return pbuf_unpack(&livekit__signal_response__descriptor, in, PBUF_CAP_DEFAULT, ret);
}

// SPDX-License-Identifier: Apache-2.0
// The server API by livekit-server-sdk; lib/native.mjs says how it is spoken to. What it gives is
// protobuf's JSON; errors of the server are {code, status}.
import { webcrypto } from 'node:crypto';
import { serve } from './lines.mjs';

// The SDK asks for Node 19, for this alone; Debian 12 has 18.
globalThis.crypto ??= webcrypto;
const sdk = await import('livekit-server-sdk');

// livekit.DataPacket.Kind
const RELIABLE = 0;

const json = (message) => message?.toJson?.() ?? null;

class Api {
    constructor() {
        this.room = null;
    }

    async ready() {}

    open({ url, key, secret }) {
        const host = url.replace(/^ws/, 'http');
        this.keys = [key, secret];
        this.room = new sdk.RoomServiceClient(host, key, secret);
        this.dispatch = new sdk.AgentDispatchClient(host, key, secret);
        this.egress = new sdk.EgressClient(host, key, secret);
        this.receiver = new sdk.WebhookReceiver(key, secret);
    }

    /** `run`'s value, or {code, status} of the error that the server answered with. */
    async asked(run) {
        try {
            return await run();
        } catch (error) {
            if (error.status === undefined) throw error;
            return { code: error.code ?? null, status: error.status };
        }
    }

    token({ identity, room, name, metadata, attributes, grants }) {
        const token = new sdk.AccessToken(...this.keys, { identity, name, metadata, attributes });
        token.addGrant({ roomJoin: true, room, ...grants });
        return token.toJwt();
    }

    /** Claims of a token that the server gave to a client. */
    verify({ token }) {
        return new sdk.TokenVerifier(...this.keys).verify(token);
    }

    async receive({ body, authorization }) {
        try {
            return json(await this.receiver.receive(body, authorization));
        } catch (error) {
            return { refused: error.message };
        }
    }

    createRoom(options) {
        return this.asked(async () => json(await this.room.createRoom(options)));
    }

    listRooms({ names }) {
        return this.asked(async () => (await this.room.listRooms(names)).map(json));
    }

    deleteRoom({ room }) {
        return this.asked(() => this.room.deleteRoom(room));
    }

    updateRoomMetadata({ room, metadata }) {
        return this.asked(async () => json(await this.room.updateRoomMetadata(room, metadata)));
    }

    listParticipants({ room }) {
        return this.asked(async () => (await this.room.listParticipants(room)).map(json));
    }

    getParticipant({ room, identity }) {
        return this.asked(async () => json(await this.room.getParticipant(room, identity)));
    }

    removeParticipant({ room, identity }) {
        return this.asked(() => this.room.removeParticipant(room, identity));
    }

    forwardParticipant({ room, identity, destinationRoom }) {
        return this.asked(() => this.room.forwardParticipant(room, identity, destinationRoom));
    }

    moveParticipant({ room, identity, destinationRoom }) {
        return this.asked(() => this.room.moveParticipant(room, identity, destinationRoom));
    }

    mute({ room, identity, sid, muted }) {
        return this.asked(async () =>
            json(await this.room.mutePublishedTrack(room, identity, sid, muted)),
        );
    }

    updateParticipant({ room, identity, ...options }) {
        return this.asked(async () =>
            json(await this.room.updateParticipant(room, identity, options)),
        );
    }

    updateSubscriptions({ room, identity, sids, subscribe }) {
        return this.asked(() => this.room.updateSubscriptions(room, identity, sids, subscribe));
    }

    sendData({ room, text, topic, to }) {
        const options = { topic, destinationIdentities: to };
        return this.asked(() => this.room.sendData(room, Buffer.from(text), RELIABLE, options));
    }

    createDispatch({ room, agent, metadata }) {
        return this.asked(async () =>
            json(await this.dispatch.createDispatch(room, agent, { metadata })),
        );
    }

    listDispatch({ room }) {
        return this.asked(async () => (await this.dispatch.listDispatch(room)).map(json));
    }

    deleteDispatch({ room, id }) {
        return this.asked(() => this.dispatch.deleteDispatch(id, room));
    }

    listEgress() {
        return this.asked(async () => (await this.egress.listEgress()).map(json));
    }
}

serve(new Api(), async () => {});

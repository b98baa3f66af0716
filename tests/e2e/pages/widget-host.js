// SPDX-License-Identifier: Apache-2.0
// The smallest Matrix client that can host Element Call: signs in with a given access token, syncs,
// encrypts, and passes between the widget and the homeserver. The scenarios call `client.*`.
import {
    ClientEvent,
    MatrixEventEvent,
    RoomStateEvent,
    SyncState,
    createClient,
} from 'matrix-js-sdk';
import { ClientWidgetApi, Widget } from 'matrix-widget-api';
import { CallWidgetDriver } from './widget-driver.js';

// Actions of the widget that only need an answer: the host has no window chrome to change.
const ACKNOWLEDGED = [
    'io.element.join',
    'io.element.device_mute',
    'io.element.close',
    'im.vector.hangup',
    'set_always_on_screen',
];
const WIDGET_ID = 'element-call';
const HANGUP = 'im.vector.hangup';

function widgetUrl({ user, roomId, homeserver, path }) {
    const parameters = new URLSearchParams({
        widgetId: WIDGET_ID,
        parentUrl: location.href,
        roomId,
        userId: user.user_id,
        deviceId: user.device_id,
        baseUrl: homeserver,
        intent: 'start_call',
        confineToRoom: 'true',
        skipLobby: 'true',
        perParticipantE2EE: 'true',
        header: 'none',
        lang: 'en',
        theme: 'dark',
    });
    return `${location.origin}${path}index.html#?${parameters}`;
}

class Host {
    constructor() {
        this.actions = [];
        this.startedAt = 0;
    }

    now() {
        return performance.timeOrigin + performance.now();
    }

    /** Signs in and waits for the first complete sync. */
    async signIn({ user, homeserver }) {
        this.matrix = createClient({
            baseUrl: homeserver,
            userId: user.user_id,
            deviceId: user.device_id,
            accessToken: user.access_token,
        });
        await this.matrix.initRustCrypto({ useIndexedDB: false });
        const synced = new Promise((resolve) => {
            this.matrix.on(ClientEvent.Sync, (state) => state === SyncState.Prepared && resolve());
        });
        await this.matrix.startClient({ initialSyncLimit: 20 });
        await synced;
    }

    /** Loads Element Call from `path`; it joins the room's call by itself. */
    startCall({ user, roomId, homeserver, path }) {
        const url = widgetUrl({ user, roomId, homeserver, path });
        const widget = new Widget({
            id: WIDGET_ID,
            creatorUserId: user.user_id,
            type: 'm.call',
            url,
            waitForIframeLoad: false,
        });
        const frame = document.createElement('iframe');
        frame.allow = 'camera; microphone; display-capture; autoplay';
        frame.src = url;
        this.startedAt = this.now();
        document.body.append(frame);
        this.api = new ClientWidgetApi(widget, frame, new CallWidgetDriver(this.matrix, roomId));
        this.api.setViewedRoomId(roomId);
        this.acknowledgeActions();
        this.feed(roomId);
    }

    acknowledgeActions() {
        for (const action of ACKNOWLEDGED) {
            this.api.on(`action:${action}`, (event) => {
                event.preventDefault();
                this.actions.push(action);
                this.api.transport.reply(event.detail, { success: true });
            });
        }
    }

    /** Passes what the homeserver tells of the room, decrypted, on to the widget. */
    feed(roomId) {
        const swallow = (error) => console.log(`feeding the widget: ${error}`);
        const feedEvent = (event) => {
            const waits = event.isBeingDecrypted() || event.isDecryptionFailure();
            if (event.getRoomId() !== roomId || waits) return;
            this.api.feedEvent(event.getEffectiveEvent()).catch(swallow);
        };
        this.matrix.on(ClientEvent.Event, feedEvent);
        this.matrix.on(MatrixEventEvent.Decrypted, feedEvent);
        this.matrix.on(RoomStateEvent.Events, (event) => {
            if (event.getRoomId() !== roomId) return;
            this.api.feedStateUpdate(event.getEffectiveEvent()).catch(swallow);
        });
        this.matrix.on(ClientEvent.ReceivedToDeviceMessage, ({ message, encryptionInfo }) => {
            this.api.feedToDevice(message, encryptionInfo !== null).catch(swallow);
        });
    }

    async hangUp() {
        await this.api.transport.send(HANGUP, {});
    }

    report() {
        return { actions: this.actions, startedAt: this.startedAt };
    }
}

globalThis.client = new Host();

// SPDX-License-Identifier: Apache-2.0
// What a Matrix client does for a widget: its requests become requests to the homeserver, with the
// encryption of the room and of the devices applied here, as in Element.
import { Direction } from 'matrix-js-sdk';
import { OpenIDRequestState, WidgetDriver } from 'matrix-widget-api';

export class CallWidgetDriver extends WidgetDriver {
    constructor(client, roomId) {
        super();
        this.client = client;
        this.roomId = roomId;
    }

    get room() {
        return this.client.getRoom(this.roomId);
    }

    async validateCapabilities(requested) {
        return requested;
    }

    async sendEvent(type, content, stateKey = null, roomId = null) {
        const room = roomId ?? this.roomId;
        const { event_id: eventId } =
            stateKey === null
                ? await this.client.sendEvent(room, type, content)
                : await this.client.sendStateEvent(room, type, content, stateKey);
        return { roomId: room, eventId };
    }

    async sendStickyEvent(duration, type, content, roomId = null) {
        const room = roomId ?? this.roomId;
        const { event_id: eventId } = await this.client._unstable_sendStickyEvent(
            room,
            duration,
            null,
            type,
            content,
        );
        return { roomId: room, eventId };
    }

    async sendDelayedEvent(delay, type, content, stateKey = null, roomId = null) {
        const room = roomId ?? this.roomId;
        const { delay_id: delayId } =
            stateKey === null
                ? await this.client._unstable_sendDelayedEvent(room, { delay }, null, type, content)
                : await this.client._unstable_sendDelayedStateEvent(
                      room,
                      { delay },
                      type,
                      content,
                      stateKey,
                  );
        return { roomId: room, delayId };
    }

    async sendDelayedStickyEvent(delay, duration, type, content, roomId = null) {
        const room = roomId ?? this.roomId;
        const { delay_id: delayId } = await this.client._unstable_sendStickyDelayedEvent(
            room,
            duration,
            { delay },
            null,
            type,
            content,
        );
        return { roomId: room, delayId };
    }

    async cancelScheduledDelayedEvent(delayId) {
        await this.client._unstable_cancelScheduledDelayedEvent(delayId);
    }

    async restartScheduledDelayedEvent(delayId) {
        await this.client._unstable_restartScheduledDelayedEvent(delayId);
    }

    async sendScheduledDelayedEvent(delayId) {
        await this.client._unstable_sendScheduledDelayedEvent(delayId);
    }

    async sendToDevice(eventType, encrypted, contentMap) {
        const messages = Object.entries(contentMap).flatMap(([userId, devices]) =>
            Object.entries(devices).map(([deviceId, payload]) => ({ userId, deviceId, payload })),
        );
        if (!encrypted) {
            await this.client.queueToDevice({ eventType, batch: messages });
            return;
        }
        const crypto = this.client.getCrypto();
        for (const { payload, ...device } of messages) {
            const batch = await crypto.encryptToDeviceMessages(eventType, [device], payload);
            await this.client.queueToDevice(batch);
        }
    }

    async readRoomState(roomId, eventType, stateKey) {
        const state = this.client.getRoom(roomId)?.getLiveTimeline().getState(Direction.Forward);
        const found = state?.getStateEvents(eventType, stateKey) ?? [];
        return [found]
            .flat()
            .filter(Boolean)
            .map((event) => event.getEffectiveEvent());
    }

    async readRoomTimeline(roomId, eventType, msgtype, stateKey, limit) {
        const events = this.client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
        const wanted = events.filter(
            (event) =>
                event.getType() === eventType &&
                (stateKey === undefined || event.getStateKey() === stateKey) &&
                (msgtype === undefined || event.getContent().msgtype === msgtype),
        );
        return wanted.slice(limit > 0 ? -limit : 0).map((event) => event.getEffectiveEvent());
    }

    async readStickyEvents(roomId) {
        const events = this.client.getRoom(roomId)?._unstable_getStickyEvents() ?? [];
        return [...events].map((event) => event.getEffectiveEvent());
    }

    askOpenID(observer) {
        this.client.getOpenIdToken().then(
            (token) => observer.update({ state: OpenIDRequestState.Allowed, token }),
            () => observer.update({ state: OpenIDRequestState.Blocked }),
        );
    }

    async getRtcTransports() {
        return { rtc_transports: await this.client._unstable_getRTCTransports() };
    }

    getKnownRooms() {
        return this.client.getRooms().map((room) => room.roomId);
    }

    processError(error) {
        return typeof error?.asWidgetApiErrorData === 'function'
            ? { matrix_api_error: error.asWidgetApiErrorData() }
            : undefined;
    }
}

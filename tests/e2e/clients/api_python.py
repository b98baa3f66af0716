# SPDX-License-Identifier: Apache-2.0
"""The server API by PyPI's livekit-api, with the methods of clients/api_node.mjs."""
import asyncio
import uuid

import lines
from google.protobuf.json_format import MessageToDict, ParseDict
from livekit import api


def json_of(message):
    return MessageToDict(message)


class Api:
    def __init__(self):
        self.keys = self.client = self.receiver = None

    async def ready(self):
        """Answers when everything is loaded."""

    async def open(self, *, url, key, secret):
        self.keys = (key, secret)
        if self.client:
            await self.client.aclose()
        self.client = api.LiveKitAPI(url.replace("ws", "http", 1), key, secret)
        self.receiver = api.WebhookReceiver(api.TokenVerifier(key, secret))

    async def asked(self, call, take=json_of):
        """What `take` makes of the answer, or {code, status} of the error that the server answered with."""
        try:
            answer = await call
        except api.TwirpError as error:
            return {"code": error.code, "status": error.status}
        return take(answer) if answer is not None else None

    # pylint: disable-next=too-many-arguments
    def token(self, *, identity, room, name="", metadata="", attributes=None, grants=None):
        token = api.AccessToken(*self.keys).with_identity(identity).with_name(name)
        token = token.with_metadata(metadata).with_attributes(attributes or {})
        snake = {"canPublish": "can_publish", "canUpdateOwnMetadata": "can_update_own_metadata"}
        more = {snake[k]: v for k, v in (grants or {}).items()}
        return token.with_grants(api.VideoGrants(room_join=True, room=room, **more)).to_jwt()

    def verify(self, *, token):
        claims = api.TokenVerifier(*self.keys).verify(token)
        return {
            "name": claims.name,
            "metadata": claims.metadata,
            "attributes": claims.attributes,
            "video": {"room": claims.video.room, "roomJoin": claims.video.room_join},
        }

    def receive(self, *, body, authorization):
        try:
            return json_of(self.receiver.receive(body, authorization))
        except Exception as error:  # pylint: disable=broad-except
            return {"refused": str(error)}

    async def createRoom(self, **options):
        request = ParseDict(options, api.CreateRoomRequest())
        return await self.asked(self.client.room.create_room(request))

    async def listRooms(self, *, names=None):
        request = api.ListRoomsRequest(names=names or [])
        return await self.asked(
            self.client.room.list_rooms(request), lambda a: [json_of(r) for r in a.rooms]
        )

    async def deleteRoom(self, *, room):
        return await self.asked(self.client.room.delete_room(api.DeleteRoomRequest(room=room)))

    async def updateRoomMetadata(self, *, room, metadata):
        request = api.UpdateRoomMetadataRequest(room=room, metadata=metadata)
        return await self.asked(self.client.room.update_room_metadata(request))

    async def listParticipants(self, *, room):
        request = api.ListParticipantsRequest(room=room)
        return await self.asked(
            self.client.room.list_participants(request), lambda a: [json_of(p) for p in a.participants]
        )

    async def getParticipant(self, *, room, identity):
        request = api.RoomParticipantIdentity(room=room, identity=identity)
        return await self.asked(self.client.room.get_participant(request))

    async def removeParticipant(self, *, room, identity):
        request = api.RoomParticipantIdentity(room=room, identity=identity)
        return await self.asked(self.client.room.remove_participant(request))

    async def forwardParticipant(self, *, room, identity, destinationRoom):
        request = api.ForwardParticipantRequest(
            room=room, identity=identity, destination_room=destinationRoom
        )
        return await self.asked(self.client.room.forward_participant(request))

    async def moveParticipant(self, *, room, identity, destinationRoom):
        request = api.MoveParticipantRequest(
            room=room, identity=identity, destination_room=destinationRoom
        )
        return await self.asked(self.client.room.move_participant(request))

    async def mute(self, *, room, identity, sid, muted):
        request = api.MuteRoomTrackRequest(room=room, identity=identity, track_sid=sid, muted=muted)
        return await self.asked(
            self.client.room.mute_published_track(request), lambda a: json_of(getattr(a, "track", a))
        )

    async def updateParticipant(self, **options):
        request = ParseDict(options, api.UpdateParticipantRequest())
        return await self.asked(self.client.room.update_participant(request))

    async def updateSubscriptions(self, *, room, identity, sids, subscribe):
        request = api.UpdateSubscriptionsRequest(
            room=room, identity=identity, track_sids=sids, subscribe=subscribe
        )
        return await self.asked(self.client.room.update_subscriptions(request))

    async def sendData(self, *, room, text, topic=None, to=None):
        request = api.SendDataRequest(
            room=room,
            data=text.encode(),
            topic=topic,
            destination_identities=to or [],
            nonce=uuid.uuid4().bytes,
        )
        return await self.asked(self.client.room.send_data(request))

    async def createDispatch(self, *, room, agent, metadata):
        request = api.CreateAgentDispatchRequest(room=room, agent_name=agent, metadata=metadata)
        return await self.asked(self.client.agent_dispatch.create_dispatch(request))

    async def listDispatch(self, *, room):
        call = self.client.agent_dispatch.list_dispatch(room)
        return await self.asked(call, lambda a: [json_of(d) for d in a])

    async def deleteDispatch(self, *, room, id):  # pylint: disable=redefined-builtin
        return await self.asked(self.client.agent_dispatch.delete_dispatch(id, room))

    async def listEgress(self, **_):
        call = self.client.egress.list_egress(api.ListEgressRequest())
        return await self.asked(call, lambda a: [json_of(e) for e in a.items])


async def main():
    client = Api()
    await lines.serve(client)
    if client.client:
        await client.client.aclose()


asyncio.run(main())

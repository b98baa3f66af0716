// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/webrtc/v4"
)

// Fields of DataPacket and UserPacket.
const (
	packetKind       = 1
	packetUser       = 2
	packetIdentity   = 4
	packetFor        = 5
	packetSequence   = 16
	packetSid        = 17
	userPayload      = 2
	userTopic        = 4
	userDestinations = 6
	kindLossy        = 1
)

func (s *session) sendCandidate(target uint64, candidate webrtc.ICECandidateInit) {
	text, _ := json.Marshal(candidate)
	s.send(reqTrickle, built(nil).text(1, string(text)).number(2, target))
}

func (s *session) listenData(channel *webrtc.DataChannel) {
	channel.OnMessage(func(m webrtc.DataChannelMessage) {
		packet, err := parse(m.Data)
		if err != nil {
			s.note("error", event{"text": err.Error()})
			return
		}
		if sequence := uint32(packet.number(packetSequence)); sequence != 0 {
			s.mutex.Lock()
			last := s.lastSeq[packet.text(packetSid)]
			s.lastSeq[packet.text(packetSid)] = max(last, sequence)
			s.mutex.Unlock()
			if sequence <= last {
				return // sent again after a resume
			}
		}
		if packet.has(packetUser) {
			s.takeUser(packet, channel.Label())
		}
	})
}

func (s *session) takeUser(packet message, label string) {
	user := packet.one(packetUser)
	parts := strings.SplitN(user.text(userPayload), "|", 3)
	if len(parts) < 3 {
		return
	}
	number, _ := strconv.Atoi(parts[1])
	e := event{"kind": "packet", "from": packet.text(packetIdentity), "tag": parts[0], "number": number,
		"size": len(user.raw(userPayload)), "lossy": label == "_lossy"}
	if user.has(userTopic) {
		e["topic"] = user.text(userTopic)
	}
	s.keep(e)
}

func (s *session) sendPackets(a argument) error {
	for i := 0; i < a.Count; i++ {
		text := fmt.Sprintf("%s|%d|", a.Tag, i)
		text += strings.Repeat(".", max(0, a.Size-len(text)))
		user := built(nil).text(userPayload, text).text(userTopic, a.Topic)
		b := built(nil).flag(packetKind, !a.Reliable)
		for _, to := range a.To {
			user = user.text(userDestinations, to)
			b = b.text(packetFor, to)
		}
		b = b.with(packetUser, user)
		channel := s.lossy
		if a.Reliable {
			channel = s.reliable
			s.mutex.Lock()
			s.sequence++
			b = b.number(packetSequence, uint64(s.sequence))
			s.mutex.Unlock()
		}
		if err := channel.Send(b); err != nil {
			return err
		}
	}
	return nil
}

// find gives the participant and the track that somebody publishes from a source.
func (s *session) find(identity, source string) (string, string, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for sid, person := range s.people_ {
		if person.text(2) != identity {
			continue
		}
		for _, track := range person.all(4) {
			if sources[track.number(9)] == source {
				return sid, track.text(1), nil
			}
		}
	}
	return "", "", fmt.Errorf("%s publishes no %s", identity, source)
}

// subscribe names the track by its participant alone, as the Go SDK does.
func (s *session) subscribe(a argument) error {
	publisher, sid, err := s.find(a.From, a.Source)
	if err != nil {
		return err
	}
	tracks := built(nil).text(1, publisher).text(2, sid)
	return s.send(reqSubscription, built(nil).flag(2, a.Subscribed).with(3, tracks))
}

func (s *session) want(a argument) error {
	_, sid, err := s.find(a.From, a.Source)
	if err != nil {
		return err
	}
	size := layers[a.Quality]
	setting := built(nil).text(1, sid).number(4, a.Quality)
	return s.send(reqTrackSetting, setting.number(5, uint64(size.columns*16)).number(6, uint64(size.rows*16)))
}

func (s *session) mute(a argument) error {
	s.mutex.Lock()
	track := s.own[a.Source]
	s.mutex.Unlock()
	return s.send(reqMute, built(nil).text(1, track.sid).flag(2, a.Muted))
}

func (s *session) received() []event {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]event{}, s.inbox...)
}

func (s *session) people() event {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	all := map[string]event{}
	for _, person := range append([]message{s.me}, values(s.people_)...) {
		attributes := map[string]string{}
		for _, entry := range person.all(15) {
			attributes[entry.text(1)] = entry.text(2)
		}
		all[person.text(2)] = event{"sid": person.text(1), "name": person.text(9),
			"metadata": person.text(5), "attributes": attributes}
	}
	return event{"room": event{}, "everybody": all}
}

func values(m map[string]message) []message {
	var list []message
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// report has the shape of the pages' reports; a frame counts when its last packet has come.
func (s *session) report() event {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	remotes := map[string]event{}
	for _, person := range s.people_ {
		tracks := event{}
		for _, info := range person.all(4) {
			entry := event{"sid": info.text(1), "muted": info.number(4) != 0, "mime": info.text(11), "inbound": nil}
			if track := s.tracks[info.text(1)]; track != nil && !track.gone {
				entry["inbound"] = event{"packetsReceived": track.packets, "bytesReceived": track.bytes,
					"framesDecoded": track.frames, "mime": track.mime, "rids": track.rids}
			}
			tracks[sources[info.number(9)]] = entry
		}
		remotes[person.text(2)] = tracks
	}
	sent := []event{}
	for _, track := range s.own {
		if track.kind == "audio" {
			sent = append(sent, event{"kind": "audio", "packetsSent": track.packets})
		}
		for _, l := range track.layers {
			sent = append(sent, event{"kind": "video", "rid": l.rid, "packetsSent": l.packets,
				"framesEncoded": l.frames, "active": l.enabled, "keyFramesAskedFor": l.keys})
		}
	}
	state := "connected"
	if s.left {
		state = "disconnected"
	}
	return event{"state": state, "sid": s.me.text(1), "firstFrames": s.first, "events": s.events,
		"connectedMs": s.connected.Milliseconds(), "remotes": remotes, "sent": sent}
}

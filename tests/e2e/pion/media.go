// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand"
	"strings"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const (
	mtu       = 1200
	clock     = 90000
	frameTime = 66 * time.Millisecond
	keyEvery  = 10 // frames
	opusTime  = 20 * time.Millisecond
	opusClock = 960 // samples in it
	// RFC 6716, section 3.1: CELT, fullband, 20 ms, mono, one frame. What follows is any noise.
	opusTOC   = 0xf8
	opusBytes = 100

	kindVideo        = 1
	sourceCamera     = 1
	sourceMicrophone = 2
)

var sources = map[uint64]string{0: "unknown", 1: "camera", 2: "microphone", 3: "screen_share", 4: "screen_share_audio"}

// layers in the order of VideoQuality: LOW, MEDIUM, HIGH. Sizes in macroblocks.
var layers = []struct {
	rid           string
	columns, rows int
	bitrate       uint64
}{{"q", 12, 7, 120000}, {"h", 20, 12, 400000}, {"f", 40, 23, 1500000}}

// ownTrack is one that is published.
type ownTrack struct {
	cid     string
	sid     string
	info    []byte
	source  string
	kind    string
	sender  *webrtc.RTPSender
	layers  []*layer
	packets uint64
	stop    chan struct{}
}

type layer struct {
	rid     string
	track   *webrtc.TrackLocalStaticRTP
	picture *picture
	enabled bool
	wantKey bool
	packets uint64
	frames  uint64
	keys    uint64 // asked for by RTCP
}

// received is a track of somebody else.
type received struct {
	kind, mime     string
	packets, bytes uint64
	frames         uint64 // ends of frames seen
	rids           bool
	gone           bool
}

// makeConnections makes both; as in the Go SDK the sdes extensions are for video alone.
func (s *session) makeConnections() error {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return err
	}
	registry := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(media, registry); err != nil {
		return err
	}
	for _, uri := range []string{sdp.SDESMidURI, sdp.SDESRTPStreamIDURI} {
		extension := webrtc.RTPHeaderExtensionCapability{URI: uri}
		if err := media.RegisterHeaderExtension(extension, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	setting := webrtc.SettingEngine{}
	setting.SetIncludeLoopbackCandidate(true)
	s.api = webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry),
		webrtc.WithSettingEngine(setting))
	var err error
	if s.publisher, err = s.connection(targetPublisher, s.pubConnected); err != nil {
		return err
	}
	if s.subscriber, err = s.connection(targetSubscriber, s.subConnected); err != nil {
		return err
	}
	s.subscriber.OnTrack(s.attach)
	s.subscriber.OnDataChannel(s.listenData)
	yes, no, once := true, false, uint16(1)
	if s.reliable, err = s.publisher.CreateDataChannel("_reliable", &webrtc.DataChannelInit{Ordered: &yes}); err != nil {
		return err
	}
	s.lossy, err = s.publisher.CreateDataChannel("_lossy",
		&webrtc.DataChannelInit{Ordered: &no, MaxRetransmits: &once})
	return err
}

func (s *session) connection(target uint64, connected chan struct{}) (*webrtc.PeerConnection, error) {
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	pc.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		if candidate != nil {
			s.sendCandidate(target, candidate.ToJSON())
		}
	})
	done := false
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		s.note("connection", event{"target": target, "state": state.String()})
		if state == webrtc.PeerConnectionStateConnected && !done {
			done = true
			close(connected)
		}
	})
	return pc, nil
}

// attach counts what comes of a track until it ends; the server names it in its stream's id.
func (s *session) attach(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	publisher, sid, _ := strings.Cut(remote.StreamID(), "|")
	if sid == "" {
		sid = remote.ID()
	}
	track := &received{kind: remote.Kind().String(), mime: remote.Codec().MimeType, rids: remote.RID() != ""}
	s.mutex.Lock()
	s.tracks[sid] = track
	identity := s.people_[publisher].text(2)
	s.mutex.Unlock()
	s.note("subscribed", event{"who": identity, "sid": sid, "mime": track.mime})
	for {
		packet, _, err := remote.ReadRTP()
		if err != nil {
			break
		}
		s.mutex.Lock()
		if len(packet.Payload) > 0 {
			track.packets++
			track.bytes += uint64(len(packet.Payload))
			if packet.Marker || track.kind == "audio" {
				track.frames++
				if _, seen := s.first[identity]; !seen && track.kind == "video" {
					s.first[identity] = float64(time.Since(s.joined).Microseconds()) / 1000
				}
			}
		}
		s.mutex.Unlock()
	}
	s.mutex.Lock()
	track.gone = true
	s.mutex.Unlock()
	s.note("unsubscribed", event{"who": identity, "sid": sid})
}

// publish asks for a track, adds it by `add`, and offers it.
func (s *session) publish(track *ownTrack, request built, add func() error) error {
	published := make(chan message, 1)
	s.mutex.Lock()
	s.published[track.cid] = published
	s.mutex.Unlock()
	if err := s.send(reqAddTrack, request); err != nil {
		return err
	}
	select {
	case info := <-published:
		track.sid = info.text(1)
		track.info = trackInfo(track, info)
	case <-time.After(publishTime):
		return fmt.Errorf("%s is not published", track.cid)
	}
	if err := add(); err != nil {
		return err
	}
	s.mutex.Lock()
	s.own[track.source] = track
	s.mutex.Unlock()
	return s.negotiate(false)
}

// trackInfo is what a resume tells of a track.
func trackInfo(track *ownTrack, info message) []byte {
	return built(nil).text(1, track.sid).number(2, info.number(2)).text(3, info.text(3)).number(9, info.number(9))
}

func (s *session) publishSound() error {
	capability := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	local, err := webrtc.NewTrackLocalStaticRTP(capability, "go-audio", "go")
	if err != nil {
		return err
	}
	track := &ownTrack{cid: "go-audio", source: "microphone", kind: "audio", stop: make(chan struct{})}
	request := built(nil).text(1, track.cid).text(2, "audio").number(8, sourceMicrophone)
	err = s.publish(track, request, func() error {
		track.sender, err = s.publisher.AddTrack(local)
		return err
	})
	if err == nil {
		go s.play(track, local)
	}
	return err
}

func (s *session) play(track *ownTrack, local *webrtc.TrackLocalStaticRTP) {
	noise := rand.New(rand.NewSource(1))
	packet := &rtp.Packet{Header: rtp.Header{Version: 2}}
	for range time.Tick(opusTime) {
		payload := make([]byte, opusBytes)
		noise.Read(payload)
		payload[0] = opusTOC
		packet.Payload = payload
		packet.SequenceNumber++
		packet.Timestamp += opusClock
		if local.WriteRTP(packet) != nil {
			return
		}
		s.mutex.Lock()
		track.packets++
		s.mutex.Unlock()
	}
}

func (s *session) publishPicture() error {
	track := &ownTrack{cid: "go-video", source: "camera", kind: "video"}
	top := layers[len(layers)-1]
	size := func(b built, columns, rows int) built {
		return b.number(4, uint64(columns*16)).number(5, uint64(rows*16))
	}
	request := size(built(nil).text(1, track.cid).text(2, "video").number(3, kindVideo), top.columns, top.rows)
	request = request.number(8, sourceCamera)
	// The Go SDK names the codec by its whole MIME type and one layer for each rid.
	codec := built(nil).text(1, webrtc.MimeTypeH264).text(2, track.cid)
	for quality, l := range layers {
		info := built(nil).number(1, uint64(quality)).number(2, uint64(l.columns*16))
		info = info.number(3, uint64(l.rows*16)).number(4, l.bitrate)
		request = request.with(9, info)
		codec = codec.with(4, info)
	}
	request = request.with(10, codec.number(5, 1)) // ONE_SPATIAL_LAYER_PER_STREAM
	err := s.publish(track, request, func() error { return s.addLayers(track) })
	if err == nil {
		go s.film(track)
	}
	return err
}

func (s *session) addLayers(track *ownTrack) error {
	capability := webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, ClockRate: clock,
		SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
	}
	for i, l := range layers {
		local, err := webrtc.NewTrackLocalStaticRTP(capability, track.cid, "go", webrtc.WithRTPStreamID(l.rid))
		if err != nil {
			return err
		}
		if i == 0 {
			track.sender, err = s.publisher.AddTrack(local)
		} else {
			err = track.sender.AddEncoding(local)
		}
		if err != nil {
			return err
		}
		made := &layer{rid: l.rid, track: local, enabled: true, picture: &picture{columns: l.columns, rows: l.rows}}
		track.layers = append(track.layers, made)
		go s.listenFeedback(track.sender, made)
	}
	return nil
}

// listenFeedback notes when a layer is asked for a frame that needs no earlier one.
func (s *session) listenFeedback(sender *webrtc.RTPSender, l *layer) {
	for {
		packets, _, err := sender.ReadSimulcastRTCP(l.rid)
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				s.mutex.Lock()
				l.wantKey = true
				l.keys++
				s.mutex.Unlock()
			}
		}
	}
}

// film sends each layer's frames with the extensions that tell which layer they are of.
func (s *session) film(track *ownTrack) {
	var mid string
	for _, transceiver := range s.publisher.GetTransceivers() {
		if transceiver.Sender() == track.sender {
			mid = transceiver.Mid()
		}
	}
	var midID, ridID uint8
	for _, extension := range track.sender.GetParameters().HeaderExtensions {
		switch extension.URI {
		case sdp.SDESMidURI:
			midID = uint8(extension.ID)
		case sdp.SDESRTPStreamIDURI:
			ridID = uint8(extension.ID)
		}
	}
	packetizers := make([]rtp.Packetizer, len(track.layers))
	for i := range packetizers {
		packetizers[i] = rtp.NewPacketizer(mtu, 0, 0, &codecs.H264Payloader{}, rtp.NewRandomSequencer(), clock)
	}
	number := 0
	for range time.Tick(frameTime) {
		for i, l := range track.layers {
			s.mutex.Lock()
			enabled, key := l.enabled, l.wantKey || number%keyEvery == 0
			l.wantKey = l.wantKey && !enabled
			s.mutex.Unlock()
			if !enabled {
				continue
			}
			frame := l.picture.again
			if key {
				frame = func() []byte { return l.picture.key(number / keyEvery) }
			}
			packets := packetizers[i].Packetize(frame(), uint32(clock*frameTime/time.Second))
			for _, packet := range packets {
				packet.SetExtension(midID, []byte(mid))
				packet.SetExtension(ridID, []byte(l.rid))
				if l.track.WriteRTP(packet) != nil {
					return
				}
			}
			s.mutex.Lock()
			l.packets += uint64(len(packets))
			l.frames++
			s.mutex.Unlock()
		}
		number++
	}
}

// takeQuality stops the layers that nobody is subscribed to.
func (s *session) takeQuality(update message) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, codec := range update.all(3) {
		wanted := []bool{false, false, false}
		for _, q := range codec.all(2) {
			if n := q.number(1); n < uint64(len(wanted)) {
				wanted[n] = q.number(2) != 0
			}
		}
		s.inbox = append(s.inbox, event{"kind": "dynacast", "codec": codec.text(1), "wanted": wanted})
		for _, track := range s.own {
			if track.sid != update.text(1) {
				continue
			}
			for i, l := range track.layers {
				l.wantKey = l.wantKey || wanted[i] && !l.enabled
				l.enabled = wanted[i]
			}
		}
	}
}

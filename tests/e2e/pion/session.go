// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of SignalRequest.
const (
	reqOffer        = 1
	reqAnswer       = 2
	reqTrickle      = 3
	reqAddTrack     = 4
	reqMute         = 5
	reqSubscription = 6
	reqTrackSetting = 7
	reqLeave        = 8
	reqSyncState    = 12
)

// Fields of SignalResponse.
const (
	resJoin         = 1
	resAnswer       = 2
	resOffer        = 3
	resTrickle      = 4
	resUpdate       = 5
	resPublished    = 6
	resLeave        = 8
	resSpeakers     = 10
	resQuality      = 14
	resRefreshToken = 16
	resReconnect    = 19
)

const (
	targetPublisher  = 0
	targetSubscriber = 1

	stateDisconnected = 3

	// The Go SDK gives up after these.
	connectTime = 5 * time.Second
	publishTime = 10 * time.Second
	// Pause before it tries to resume.
	resumePause = 300 * time.Millisecond
)

type event map[string]any

// session is one participant. What follows the mutex is guarded by it; messages of the server are
// handled one after the other by the goroutine that reads them.
type session struct {
	api          *webrtc.API
	publisher    *webrtc.PeerConnection
	subscriber   *webrtc.PeerConnection
	reliable     *webrtc.DataChannel
	lossy        *webrtc.DataChannel
	base, token  string
	auto         bool
	writing      sync.Mutex
	negotiating  sync.Mutex
	subConnected chan struct{}
	pubConnected chan struct{}

	mutex      sync.Mutex
	socket     *websocket.Conn
	left       bool
	me         message
	people_    map[string]message // by sid, without those who left
	published  map[string]chan message
	own        map[string]*ownTrack // by source
	tracks     map[string]*received // by track sid
	events     []event
	inbox      []event
	first      map[string]float64
	joined     time.Time
	connected  time.Duration
	answers    chan webrtc.SessionDescription
	early      map[uint64][]webrtc.ICECandidateInit
	sequence   uint32
	lastSeq    map[string]uint32
	newToken   string
	subscribes built
}

func newSession() *session {
	return &session{
		people_:      map[string]message{},
		published:    map[string]chan message{},
		own:          map[string]*ownTrack{},
		tracks:       map[string]*received{},
		first:        map[string]float64{},
		answers:      make(chan webrtc.SessionDescription, 1),
		early:        map[uint64][]webrtc.ICECandidateInit{},
		lastSeq:      map[string]uint32{},
		subConnected: make(chan struct{}),
		pubConnected: make(chan struct{}),
	}
}

func now() float64 { return float64(time.Now().UnixMicro()) / 1000 }

func (s *session) note(kind string, detail event) {
	e := event{"at": now(), "type": kind}
	for k, v := range detail {
		e[k] = v
	}
	s.mutex.Lock()
	s.events = append(s.events, e)
	s.mutex.Unlock()
	fmt.Fprintln(os.Stderr, "event", kind, detail)
}

func (s *session) keep(e event) {
	e["at"] = now()
	s.mutex.Lock()
	s.inbox = append(s.inbox, e)
	s.mutex.Unlock()
}

// dial opens the signalling as the Go SDK does, the doubled & included; `more` is of a resume.
func (s *session) dial(more string) (*websocket.Conn, error) {
	auto := 0
	if s.auto {
		auto = 1
	}
	address := fmt.Sprintf("%s/rtc?version=2.18.1&protocol=17&&auto_subscribe=%d&sdk=go&os=linux%s",
		s.base, auto, more)
	header := http.Header{"Authorization": {"Bearer " + s.token}}
	socket, response, err := websocket.DefaultDialer.Dial(address, header)
	if err != nil && response != nil {
		return nil, fmt.Errorf("%w: %s", err, response.Status)
	}
	return socket, err
}

func (s *session) join(a argument) error {
	s.base, s.token = strings.TrimSuffix(a.URL, "/"), a.Token
	s.auto = a.AutoSubscribe == nil || *a.AutoSubscribe
	s.joined = time.Now()
	socket, err := s.dial("")
	if err != nil {
		return err
	}
	response, err := read(socket)
	if err != nil {
		return err
	}
	if !response.has(resJoin) {
		return errors.New("the first message is not a JoinResponse")
	}
	join := response.one(resJoin)
	if err := s.makeConnections(); err != nil {
		return err
	}
	s.mutex.Lock()
	s.socket, s.me = socket, join.one(2)
	s.mutex.Unlock()
	s.takePeople(join.all(3))
	go s.listen(socket)
	if err := wait(s.subConnected, connectTime, "subscriber connection"); err != nil {
		return err
	}
	s.connected = time.Since(s.joined)
	if err := s.negotiate(false); err != nil {
		return err
	}
	if err := wait(s.pubConnected, connectTime, "publisher connection"); err != nil {
		return err
	}
	if a.Publish == nil || *a.Publish {
		if err := s.publishSound(); err != nil {
			return err
		}
		return s.publishPicture()
	}
	return nil
}

func wait(done chan struct{}, limit time.Duration, what string) error {
	select {
	case <-done:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("no %s in %v", what, limit)
	}
}

func read(socket *websocket.Conn) (message, error) {
	_, frame, err := socket.ReadMessage()
	if err != nil {
		return nil, err
	}
	return parse(frame)
}

func (s *session) send(num protowire.Number, b built) error {
	s.mutex.Lock()
	socket := s.socket
	s.mutex.Unlock()
	if socket == nil {
		return errors.New("no signalling")
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return socket.WriteMessage(websocket.BinaryMessage, built(nil).with(num, b))
}

// listen handles what the server says until the socket ends; then it resumes.
func (s *session) listen(socket *websocket.Conn) {
	for {
		response, err := read(socket)
		if err != nil {
			break
		}
		if err := s.take(response); err != nil {
			s.note("error", event{"text": err.Error()})
		}
	}
	s.mutex.Lock()
	again := !s.left && s.socket == socket
	s.mutex.Unlock()
	if again {
		s.resume()
	}
}

func (s *session) take(r message) error {
	switch {
	case r.has(resAnswer):
		s.answers <- webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: r.one(resAnswer).text(2)}
	case r.has(resOffer):
		return s.takeOffer(r.one(resOffer))
	case r.has(resTrickle):
		return s.takeCandidate(r.one(resTrickle))
	case r.has(resUpdate):
		s.takePeople(r.one(resUpdate).all(1))
	case r.has(resPublished):
		published := r.one(resPublished)
		s.mutex.Lock()
		waiting := s.published[published.text(1)]
		s.mutex.Unlock()
		if waiting != nil {
			waiting <- published.one(2)
		}
	case r.has(resQuality):
		s.takeQuality(r.one(resQuality))
	case r.has(resSpeakers):
		for _, speaker := range r.one(resSpeakers).all(1) {
			s.keep(event{"kind": "speaker", "sid": speaker.text(1), "active": speaker.number(3) != 0})
		}
	case r.has(resRefreshToken):
		s.mutex.Lock()
		s.newToken = r.text(resRefreshToken)
		s.mutex.Unlock()
	case r.has(resLeave):
		leave := r.one(resLeave)
		s.mutex.Lock()
		s.left = s.left || leave.number(3) == 0
		s.mutex.Unlock()
		s.note("disconnected", event{"reason": leave.number(2), "action": leave.number(3)})
	}
	return nil
}

// takeOffer answers as the Go SDK does: without an id.
func (s *session) takeOffer(offer message) error {
	err := s.subscriber.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer.text(2)})
	if err != nil {
		return err
	}
	if err := s.addEarly(targetSubscriber, s.subscriber); err != nil {
		return err
	}
	answer, err := s.subscriber.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := s.subscriber.SetLocalDescription(answer); err != nil {
		return err
	}
	return s.send(reqAnswer, description(s.subscriber.LocalDescription()))
}

func description(d *webrtc.SessionDescription) built {
	return built(nil).text(1, d.Type.String()).text(2, d.SDP)
}

// negotiate offers what is published and waits for the answer. One at a time.
func (s *session) negotiate(restart bool) error {
	s.negotiating.Lock()
	defer s.negotiating.Unlock()
	offer, err := s.publisher.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		return err
	}
	if err := s.publisher.SetLocalDescription(offer); err != nil {
		return err
	}
	if err := s.send(reqOffer, description(s.publisher.LocalDescription())); err != nil {
		return err
	}
	select {
	case answer := <-s.answers:
		if err := s.publisher.SetRemoteDescription(answer); err != nil {
			return err
		}
		return s.addEarly(targetPublisher, s.publisher)
	case <-time.After(publishTime):
		return errors.New("an offer is not answered")
	}
}

func (s *session) takeCandidate(trickle message) error {
	var candidate webrtc.ICECandidateInit
	if err := json.Unmarshal(trickle.raw(1), &candidate); err != nil {
		return err
	}
	target := trickle.number(2)
	pc := s.publisher
	if target == targetSubscriber {
		pc = s.subscriber
	}
	if pc.RemoteDescription() == nil {
		s.mutex.Lock()
		s.early[target] = append(s.early[target], candidate)
		s.mutex.Unlock()
		return nil
	}
	return pc.AddICECandidate(candidate)
}

func (s *session) addEarly(target uint64, pc *webrtc.PeerConnection) error {
	s.mutex.Lock()
	list := s.early[target]
	s.early[target] = nil
	s.mutex.Unlock()
	for _, candidate := range list {
		if err := pc.AddICECandidate(candidate); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) takePeople(list []message) {
	for _, person := range list {
		sid, identity := person.text(1), person.text(2)
		s.mutex.Lock()
		own := sid == s.me.text(1)
		_, known := s.people_[sid]
		gone := person.number(3) == stateDisconnected
		switch {
		case own:
			s.me = person
		case gone:
			delete(s.people_, sid)
		default:
			s.people_[sid] = person
		}
		s.mutex.Unlock()
		if own {
			continue
		}
		if gone && known {
			s.note("left", event{"who": identity})
		} else if !gone && !known {
			s.note("joined", event{"who": identity})
		}
	}
}

// cut ends the socket as a network does; the session comes back by itself.
func (s *session) cut() {
	s.mutex.Lock()
	socket := s.socket
	s.mutex.Unlock()
	socket.NetConn().Close()
}

func (s *session) resume() {
	s.note("reconnecting", nil)
	time.Sleep(resumePause)
	s.mutex.Lock()
	sid := s.me.text(1)
	if s.newToken != "" {
		s.token = s.newToken
	}
	s.mutex.Unlock()
	socket, err := s.dial("&reconnect=1&sid=" + url.QueryEscape(sid))
	if err == nil {
		var response message
		if response, err = read(socket); err == nil && !response.has(resReconnect) {
			err = errors.New("the first message is not a ReconnectResponse")
		}
	}
	if err != nil {
		s.note("disconnected", event{"text": err.Error()})
		return
	}
	s.mutex.Lock()
	s.socket = socket
	s.mutex.Unlock()
	go s.listen(socket)
	if err := s.send(reqSyncState, s.syncState()); err == nil {
		err = s.negotiate(true)
	}
	if err != nil {
		s.note("disconnected", event{"text": err.Error()})
		return
	}
	s.note("reconnected", nil)
}

// syncState tells what this side holds of the session.
func (s *session) syncState() built {
	var b built
	if answer := s.subscriber.CurrentLocalDescription(); answer != nil {
		b = b.with(1, description(answer))
	}
	if offer := s.subscriber.CurrentRemoteDescription(); offer != nil {
		b = b.with(5, description(offer))
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var subscription built
	for sid, track := range s.tracks {
		if !s.auto && !track.gone {
			subscription = subscription.text(1, sid)
		}
	}
	b = b.with(2, subscription.flag(2, !s.auto))
	for _, track := range s.own {
		b = b.with(3, built(nil).text(1, track.cid).with(2, track.info))
	}
	for _, channel := range []*webrtc.DataChannel{s.reliable, s.lossy} {
		info := built(nil).text(1, channel.Label()).number(2, uint64(*channel.ID()))
		b = b.with(4, info.number(3, targetPublisher))
	}
	for sid, last := range s.lastSeq {
		b = b.with(7, built(nil).text(1, sid).number(2, uint64(last)))
	}
	return b
}

func (s *session) leave() {
	s.mutex.Lock()
	over := s.left || s.socket == nil
	s.left = true
	s.mutex.Unlock()
	if over {
		return
	}
	s.send(reqLeave, built(nil).number(2, 1)) // CLIENT_INITIATED
	s.publisher.Close()
	s.subscriber.Close()
}

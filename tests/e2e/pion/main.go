// SPDX-License-Identifier: Apache-2.0

// A participant made of Pion that speaks LiveKit's protocol with two peer connections (v0) as its Go
// SDK does; ../lib/native.mjs says how it is spoken to. Its methods are those of ../pages/client.js.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

type request struct {
	ID       int             `json:"id"`
	Method   string          `json:"method"`
	Argument json.RawMessage `json:"argument"`
}

// argument has what any method may be given.
type argument struct {
	URL           string   `json:"url"`
	Token         string   `json:"token"`
	Publish       *bool    `json:"publish"`
	AutoSubscribe *bool    `json:"autoSubscribe"`
	Tag           string   `json:"tag"`
	Count         int      `json:"count"`
	Size          int      `json:"size"`
	Reliable      bool     `json:"reliable"`
	Topic         string   `json:"topic"`
	To            []string `json:"to"`
	From          string   `json:"from"`
	Source        string   `json:"source"`
	Subscribed    bool     `json:"subscribed"`
	Muted         bool     `json:"muted"`
	Quality       uint64   `json:"quality"`
}

func call(s *session, r request) (any, error) {
	var a argument
	if err := json.Unmarshal(r.Argument, &a); err != nil {
		return nil, err
	}
	switch r.Method {
	case "ready":
		return nil, nil
	case "join":
		return nil, s.join(a)
	case "report":
		return s.report(), nil
	case "received":
		return s.received(), nil
	case "people":
		return s.people(), nil
	case "sendPackets":
		return nil, s.sendPackets(a)
	case "subscribe":
		return nil, s.subscribe(a)
	case "want":
		return nil, s.want(a)
	case "mute":
		return nil, s.mute(a)
	case "cut":
		s.cut()
		return nil, nil
	case "leave":
		s.leave()
		return nil, nil
	}
	return nil, fmt.Errorf("no method %s", r.Method)
}

func main() {
	s := newSession()
	var writing sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			continue
		}
		go func() {
			value, err := call(s, r)
			answer := map[string]any{"answer": r.ID, "value": value}
			if err != nil {
				answer["error"] = err.Error()
			}
			out, _ := json.Marshal(answer)
			writing.Lock()
			defer writing.Unlock()
			os.Stdout.Write(append(out, '\n'))
		}()
	}
	s.leave()
}

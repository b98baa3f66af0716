// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Messages of LiveKit's signalling are read and written field by field: what this client needs of
// them is little, and their generated code would bring a hundred modules along.

// message is one that was read: the values of each field, in their order.
type message map[protowire.Number][]value

type value struct {
	number uint64
	bytes  []byte
}

func parse(b []byte) (message, error) {
	m := message{}
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		var v value
		switch kind {
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		m[num] = append(m[num], v)
	}
	return m, nil
}

func (m message) has(num protowire.Number) bool { return len(m[num]) > 0 }

func (m message) raw(num protowire.Number) []byte {
	if !m.has(num) {
		return nil
	}
	return m[num][len(m[num])-1].bytes
}

func (m message) text(num protowire.Number) string { return string(m.raw(num)) }

func (m message) number(num protowire.Number) uint64 {
	if !m.has(num) {
		return 0
	}
	return m[num][len(m[num])-1].number
}

// all gives a repeated field of messages; what cannot be read is an error of the server.
func (m message) all(num protowire.Number) []message {
	var list []message
	for _, v := range m[num] {
		sub, err := parse(v.bytes)
		if err != nil {
			panic(fmt.Sprintf("field %d: %v", num, err))
		}
		list = append(list, sub)
	}
	return list
}

func (m message) one(num protowire.Number) message {
	list := m.all(num)
	if len(list) == 0 {
		return message{}
	}
	return list[len(list)-1]
}

// built is a message to send. Fields with their default values are left out, as protobuf does.
type built []byte

func (b built) text(num protowire.Number, s string) built {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func (b built) number(num protowire.Number, n uint64) built {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), n)
}

func (b built) flag(num protowire.Number, on bool) built {
	return b.number(num, protowire.EncodeBool(on))
}

func (b built) with(num protowire.Number, sub []byte) built {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), sub)
}

// SPDX-License-Identifier: Apache-2.0

package main

// An H.264 encoder for one kind of picture: a dark ground and a bright bar, one macroblock wide,
// that moves. The bar and the first column are sent as samples (I_PCM); every other macroblock is
// predicted from its neighbours without a residual, so that a picture takes few bytes at any size.
// The frames between are "as before" (P_Skip). Numbers of tables and clauses are those of ITU-T H.264.

const (
	nalSlice    = 0x41 // nal_ref_idc 2, nal_unit_type 1
	nalIDR      = 0x65 // nal_ref_idc 3, nal_unit_type 5
	nalSPS      = 0x67
	nalPPS      = 0x68
	profileByte = 66   // Baseline
	constraints = 0xe0 // constrained, as profile-level-id 42e01f
	levelByte   = 31

	typeI    = 7 // all slices of the picture are I
	typeP    = 5
	mbIntra  = 3  // I_16x16_2_0_0, Table 7-11: DC prediction, no residual but (none of) the DC levels
	mbPCM    = 25 // I_PCM
	pcmCount = 16 // clause 9.2.1: an I_PCM macroblock counts as having all its coefficients

	ground = 40
	bright = 220
	grey   = 128
)

type bits struct {
	out  []byte
	free uint // unused bits of the last byte
}

func (w *bits) u(count uint, v uint32) {
	for count > 0 {
		if w.free == 0 {
			w.out = append(w.out, 0)
			w.free = 8
		}
		count--
		w.free--
		w.out[len(w.out)-1] |= byte(v>>count&1) << w.free
	}
}

// ue writes an Exp-Golomb code, clause 9.1; se(0) is the same as ue(0).
func (w *bits) ue(v uint32) {
	var length uint
	for (v+1)>>(length+1) != 0 {
		length++
	}
	w.u(length, 0)
	w.u(length+1, v+1)
}

func (w *bits) align() { w.u(w.free, 0) }

// nal ends the payload and protects it from looking like a start code, clause 7.4.1.
func (w *bits) nal(header byte) []byte {
	w.u(1, 1)
	w.align()
	out := []byte{0, 0, 0, 1, header}
	zeros := 0
	for _, b := range w.out {
		if zeros == 2 && b <= 3 {
			out = append(out, 3)
			zeros = 0
		}
		out = append(out, b)
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}

// picture makes the frames of one layer; its size is in macroblocks of 16 x 16.
type picture struct {
	columns, rows int
	frame         uint32 // frame_num
	idr           uint32 // idr_pic_id
}

func (p *picture) parameters() []byte {
	sps := &bits{}
	sps.u(8, profileByte)
	sps.u(8, constraints)
	sps.u(8, levelByte)
	sps.ue(0) // seq_parameter_set_id
	sps.ue(0) // log2_max_frame_num_minus4
	sps.ue(2) // pic_order_cnt_type: output order is decoding order
	sps.ue(1) // max_num_ref_frames
	sps.u(1, 0)
	sps.ue(uint32(p.columns - 1))
	sps.ue(uint32(p.rows - 1))
	sps.u(1, 1) // frame_mbs_only_flag
	sps.u(1, 1) // direct_8x8_inference_flag
	sps.u(1, 0) // frame_cropping_flag
	sps.u(1, 0) // vui_parameters_present_flag
	pps := &bits{}
	pps.ue(0)
	pps.ue(0)
	pps.u(2, 0) // CAVLC; no field order
	pps.ue(0)   // one slice group
	pps.ue(0)   // num_ref_idx_l0_default_active_minus1
	pps.ue(0)
	pps.u(3, 0) // no weighted prediction
	pps.ue(0)   // pic_init_qp_minus26
	pps.ue(0)
	pps.ue(0)
	pps.u(1, 1) // deblocking_filter_control_present_flag
	pps.u(2, 0)
	return append(sps.nal(nalSPS), pps.nal(nalPPS)...)
}

// key gives the picture number n as Annex B bytes that need no earlier ones.
func (p *picture) key(n int) []byte {
	w := &bits{}
	w.ue(0)
	w.ue(typeI)
	w.ue(0)
	w.u(4, 0) // frame_num
	w.ue(p.idr)
	w.u(2, 0) // no_output_of_prior_pics_flag, long_term_reference_flag
	w.ue(0)   // slice_qp_delta
	w.ue(1)   // disable_deblocking_filter_idc
	p.frame, p.idr = 0, p.idr^1
	bar := 1 + n%(p.columns-2)
	counts := make([]int, p.columns*p.rows)
	for mb := range counts {
		switch mb % p.columns {
		case bar:
			pcm(w, bright)
			counts[mb] = pcmCount
		case 0, bar + 1:
			pcm(w, ground)
			counts[mb] = pcmCount
		default:
			w.ue(mbIntra)
			w.ue(0) // intra_chroma_pred_mode: DC
			w.ue(0) // mb_qp_delta
			noLevels(w, counts, mb, p.columns)
		}
	}
	return append(p.parameters(), w.nal(nalIDR)...)
}

// again gives a picture that is the one before it.
func (p *picture) again() []byte {
	p.frame = (p.frame + 1) & 15
	w := &bits{}
	w.ue(0)
	w.ue(typeP)
	w.ue(0)
	w.u(4, p.frame)
	w.u(3, 0) // no override, no list modification, sliding window
	w.ue(0)
	w.ue(1)
	w.ue(uint32(p.columns * p.rows)) // mb_skip_run
	return w.nal(nalSlice)
}

func pcm(w *bits, luma uint32) {
	w.ue(mbPCM)
	w.align()
	for i := 0; i < 256; i++ {
		w.u(8, luma)
	}
	for i := 0; i < 128; i++ {
		w.u(8, grey)
	}
}

// noLevels writes coeff_token for no coefficients, whose code depends on the neighbours, Table 9-5.
func noLevels(w *bits, counts []int, mb, columns int) {
	left, above, known := 0, 0, 0
	if mb%columns > 0 {
		left = counts[mb-1]
		known++
	}
	if mb >= columns {
		above = counts[mb-columns]
		known++
	}
	n := left + above
	if known == 2 {
		n = (n + 1) / 2
	}
	switch {
	case n < 2:
		w.u(1, 1)
	case n < 4:
		w.u(2, 3)
	case n < 8:
		w.u(4, 15)
	default:
		w.u(6, 3)
	}
}

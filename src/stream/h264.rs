//! The little of H.264 (ITU-T H.264) that the capture side must read: NAL units of a byte stream,
//! the sequence parameter set, and whether slices are bidirectional. Pure.

use super::ProfileLevelId;

const NAL_SLICE: u8 = 1;
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;

/// The NAL units of an Annex B byte stream, without their start codes.
pub fn nals(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(data);
    std::iter::from_fn(move || {
        let nal = rest?;
        let end = find_start_code(nal);
        rest = end.and_then(|at| after_start_code(&nal[at..]));
        let mut body = &nal[..end.unwrap_or(nal.len())];
        // A four-byte start code leaves its first zero at the end of the NAL before it.
        while let [head @ .., 0] = body {
            body = head;
        }
        Some(body)
    })
    .filter(|nal| !nal.is_empty())
}

fn find_start_code(data: &[u8]) -> Option<usize> {
    data.windows(3).position(|three| three == [0, 0, 1])
}

fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    find_start_code(data).map(|at| &data[at + 3..])
}

/// What the fan-out and the senders must know of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureKind {
    /// Whether a decoder can start here: an IDR picture with its parameter sets.
    pub key_frame: bool,
    /// Whether nothing refers to it: its slices have a `nal_ref_idc` of 0, and then all of them have (ITU-T H.264
    /// section 7.4.1). A decoder can do without it.
    pub disposable: bool,
}

/// Reads an access unit up to its first slice, so the bulk of the data is not looked at.
pub fn picture_kind(data: &[u8]) -> PictureKind {
    let (mut sps, mut pps) = (false, false);
    for nal in nals_until_slice(data) {
        match nal[0] & 0x1f {
            NAL_SPS => sps = true,
            NAL_PPS => pps = true,
            kind @ NAL_SLICE..=NAL_IDR => {
                let key_frame = kind == NAL_IDR && sps && pps;
                return PictureKind { key_frame, disposable: nal[0] & 0x60 == 0 };
            }
            _ => {}
        }
    }
    PictureKind::default()
}

/// Whether a decoder can start at this access unit.
pub fn is_key_frame(data: &[u8]) -> bool {
    picture_kind(data).key_frame
}

/// Like [`nals`], but a slice is yielded without searching for its end: only its head counts.
fn nals_until_slice(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(data);
    std::iter::from_fn(move || {
        let nal = rest.take().filter(|nal| !nal.is_empty())?;
        if (NAL_SLICE..=NAL_IDR).contains(&(nal[0] & 0x1f)) {
            return Some(nal);
        }
        let end = find_start_code(nal).unwrap_or(nal.len());
        rest = after_start_code(&nal[end..]);
        Some(&nal[..end])
    })
    .filter(|nal| !nal.is_empty())
}

/// Whether any slice of the access unit is bidirectional (a B slice).
pub fn has_b_slice(data: &[u8]) -> bool {
    nals(data).filter(|nal| matches!(nal[0] & 0x1f, NAL_SLICE | NAL_IDR)).any(|nal| {
        let head = unescape(&nal[1..nal.len().min(16)]);
        let mut bits = Bits::new(&head);
        let slice_type = bits.ue().and_then(|_first_macroblock| bits.ue());
        slice_type.is_some_and(|kind| kind % 5 == 1)
    })
}

/// What a sequence parameter set says of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// Profile, constraint flags and level.
    pub profile: ProfileLevelId,
    /// Pixels, cropping applied.
    pub width: u32,
    /// Pixels, cropping applied.
    pub height: u32,
    /// 1 is 4:2:0, the only one browsers take.
    pub chroma_format_idc: u32,
    /// Bits per luma sample.
    pub bit_depth: u32,
    /// Pictures a decoder may have to hold back for reordering; `None` when the stream leaves
    /// it open.
    pub reorder_frames: Option<u32>,
    /// Whether all pictures are whole frames.
    pub progressive: bool,
}

/// The first sequence parameter set of an access unit, if it can be read.
pub fn find_sps(data: &[u8]) -> Option<Sps> {
    nals(data).find(|nal| nal[0] & 0x1f == NAL_SPS).and_then(parse_sps)
}

/// Reads one SPS NAL unit (section 7.3.2.1). `None` when it is cut short or absurd.
pub fn parse_sps(nal: &[u8]) -> Option<Sps> {
    let body = unescape(nal.get(1..)?);
    let mut bits = Bits::new(&body);
    let profile = ProfileLevelId {
        profile_idc: u8::try_from(bits.take(8)?).ok()?,
        profile_iop: u8::try_from(bits.take(8)?).ok()?,
        level_idc: u8::try_from(bits.take(8)?).ok()?,
    };
    bits.ue()?; // seq_parameter_set_id
    let (chroma_format_idc, bit_depth) = chroma_and_depth(&mut bits, profile.profile_idc)?;
    bits.ue()?; // log2_max_frame_num_minus4
    let poc_type = bits.ue()?;
    skip_picture_order(&mut bits, poc_type)?;
    bits.ue()?; // max_num_ref_frames
    bits.take(1)?; // gaps_in_frame_num_value_allowed_flag
    let width_mbs = bits.ue()?.checked_add(1)?;
    let height_units = bits.ue()?.checked_add(1)?;
    let progressive = bits.take(1)? == 1;
    if !progressive {
        bits.take(1)?; // mb_adaptive_frame_field_flag
    }
    bits.take(1)?; // direct_8x8_inference_flag
    let field_factor = if progressive { 1 } else { 2 };
    let crop = crop_pixels(&mut bits, chroma_format_idc, field_factor)?;
    let width = width_mbs.checked_mul(16)?.checked_sub(crop.0)?;
    let height = height_units.checked_mul(16 * field_factor)?.checked_sub(crop.1)?;
    let vui_present = bits.take(1)? == 1;
    let from_vui = if vui_present { reorder_from_vui(&mut bits) } else { None };
    // Baseline has no B slices, and order type 2 means output order is decoding order.
    let reorder_frames = if profile.profile_idc == 66 || poc_type == 2 { Some(0) } else { from_vui };
    Some(Sps { profile, width, height, chroma_format_idc, bit_depth, reorder_frames, progressive })
}

fn chroma_and_depth(bits: &mut Bits, profile_idc: u8) -> Option<(u32, u32)> {
    if !matches!(profile_idc, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244) {
        return Some((1, 8));
    }
    let chroma = bits.ue()?;
    if chroma == 3 {
        bits.take(1)?; // separate_colour_plane_flag
    }
    let depth = bits.ue()?.checked_add(8)?;
    bits.ue()?; // bit_depth_chroma_minus8
    bits.take(1)?; // qpprime_y_zero_transform_bypass_flag
    if bits.take(1)? == 1 {
        for list in 0..if chroma == 3 { 12 } else { 8 } {
            if bits.take(1)? == 1 {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some((chroma, depth))
}

fn skip_scaling_list(bits: &mut Bits, size: u32) -> Option<()> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + i64::from(bits.se()?)).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn skip_picture_order(bits: &mut Bits, poc_type: u32) -> Option<()> {
    match poc_type {
        0 => bits.ue().map(|_| ()),
        1 => {
            bits.take(1)?;
            bits.se()?;
            bits.se()?;
            for _ in 0..bits.ue()?.min(255) {
                bits.se()?;
            }
            Some(())
        }
        _ => Some(()),
    }
}

fn crop_pixels(bits: &mut Bits, chroma_format_idc: u32, field_factor: u32) -> Option<(u32, u32)> {
    if bits.take(1)? == 0 {
        return Some((0, 0));
    }
    let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
    let unit_x = if matches!(chroma_format_idc, 1 | 2) { 2 } else { 1 };
    let unit_y = field_factor * if chroma_format_idc == 1 { 2 } else { 1 };
    let x = left.checked_add(right)?.checked_mul(unit_x)?;
    let y = top.checked_add(bottom)?.checked_mul(unit_y)?;
    Some((x, y))
}

/// `max_num_reorder_frames` of the video usability information (annex E), if it is there.
fn reorder_from_vui(bits: &mut Bits) -> Option<u32> {
    if bits.take(1)? == 1 && bits.take(8)? == 255 {
        bits.take(32)?; // sample aspect ratio
    }
    if bits.take(1)? == 1 {
        bits.take(1)?; // overscan
    }
    if bits.take(1)? == 1 {
        bits.take(4)?; // video_format, full range
        if bits.take(1)? == 1 {
            bits.take(24)?; // colour description
        }
    }
    if bits.take(1)? == 1 {
        bits.ue()?;
        bits.ue()?; // chroma location
    }
    if bits.take(1)? == 1 {
        bits.take(32)?;
        bits.take(32)?;
        bits.take(1)?; // timing
    }
    let nal_hrd = bits.take(1)? == 1;
    if nal_hrd {
        skip_hrd(bits)?;
    }
    let vcl_hrd = bits.take(1)? == 1;
    if vcl_hrd {
        skip_hrd(bits)?;
    }
    if nal_hrd || vcl_hrd {
        bits.take(1)?; // low_delay_hrd_flag
    }
    bits.take(1)?; // pic_struct_present_flag
    if bits.take(1)? == 0 {
        return None;
    }
    bits.take(1)?; // motion_vectors_over_pic_boundaries_flag
    for _ in 0..4 {
        bits.ue()?;
    }
    bits.ue()
}

fn skip_hrd(bits: &mut Bits) -> Option<()> {
    let count = bits.ue()?.min(31) + 1;
    bits.take(8)?;
    for _ in 0..count {
        bits.ue()?;
        bits.ue()?;
        bits.take(1)?;
    }
    bits.take(20).map(|_| ())
}

/// Removes the emulation prevention bytes (00 00 03 becomes 00 00).
fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0_u32;
        for _ in 0..count {
            let byte = *self.data.get(self.at / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// Unsigned Exp-Golomb code (section 9.1).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let tail = self.take(zeros)?;
        Some((1_u32 << zeros) - 1 + tail)
    }

    fn se(&mut self) -> Option<i32> {
        let code = i64::from(self.ue()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { magnitude } else { -magnitude }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPS of x264enc (640x480, 30 fps, constrained baseline).
    const X264_VGA: &[u8] = &[
        0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xf6, 0xc0, 0x5a, 0x83, 0x03, 0x03, 0x52, 0x80, 0x00, 0x03,
        0x00, 0x80, 0x00, 0x00, 0x1e, 0x47, 0x8b, 0x17, 0x50,
    ];
    /// SPS of x264enc (640x360, high profile, two B frames).
    const X264_HIGH_B: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x16, 0xa0, 0xc0, 0xc0, 0xd4, 0xa0,
        0x00, 0x00, 0x03, 0x00, 0x20, 0x00, 0x00, 0x07, 0x91, 0xe2, 0xc5, 0xb2, 0xc0,
    ];
    /// SPS of openh264enc (1280x720).
    const OPENH264_HD: &[u8] =
        &[0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x28, 0x02, 0xdd, 0x00, 0xf0, 0x88, 0x46, 0xa0];

    #[test]
    fn parameter_sets_of_real_encoders_are_read() {
        let vga = parse_sps(X264_VGA).unwrap();
        assert_eq!(vga.profile.to_string(), "42c01e");
        assert_eq!((vga.width, vga.height), (640, 480));
        assert_eq!((vga.chroma_format_idc, vga.bit_depth), (1, 8));
        assert_eq!(vga.reorder_frames, Some(0));
        assert!(vga.progressive);
        let high = parse_sps(X264_HIGH_B).unwrap();
        assert_eq!(high.profile.to_string(), "64001e");
        assert_eq!((high.width, high.height), (640, 360));
        assert_eq!(high.reorder_frames, Some(2));
        let hd = parse_sps(OPENH264_HD).unwrap();
        assert_eq!((hd.width, hd.height), (1280, 720));
    }

    #[test]
    fn a_parameter_set_cut_short_anywhere_is_refused_without_panic() {
        for sps in [X264_VGA, X264_HIGH_B, OPENH264_HD] {
            for end in 0..8 {
                assert_eq!(parse_sps(&sps[..end]), None, "{end} bytes");
            }
            for end in 8..sps.len() {
                let _ = parse_sps(&sps[..end]);
            }
        }
        let noise: Vec<u8> = (0..64_u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
        for start in 0..64 {
            let _ = parse_sps(&noise[start..]);
            let _ = has_b_slice(&noise[start..]);
            let _ = is_key_frame(&noise[start..]);
        }
        assert_eq!(parse_sps(&[0x67, 0x42, 0xc0, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn nal_units_are_found_behind_short_and_long_start_codes() {
        let data = [0, 0, 0, 1, 9, 16, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x65, 3];
        let found: Vec<&[u8]> = nals(&data).collect();
        assert_eq!(found, [&[9, 16][..], &[0x67, 1, 2], &[0x65, 3]]);
        assert_eq!(nals(&[]).count(), 0);
        assert_eq!(nals(&[1, 2, 3]).count(), 0);
        assert_eq!(nals(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn a_key_frame_is_an_idr_with_both_parameter_sets() {
        let sps = [0, 0, 0, 1, 0x67, 1];
        let pps = [0, 0, 0, 1, 0x68, 1];
        let idr = [0, 0, 1, 0x65, 0x88];
        let slice = [0, 0, 1, 0x41, 0x9a];
        assert!(is_key_frame(&[&sps[..], &pps, &idr].concat()));
        assert!(!is_key_frame(&[&sps[..], &idr].concat()));
        assert!(!is_key_frame(&idr));
        assert!(!is_key_frame(&slice));
        assert!(!is_key_frame(&[]));
    }

    #[test]
    fn a_picture_is_disposable_where_its_slices_say_so() {
        let aud = [0, 0, 0, 1, 0x09, 0x10];
        let (disposable, reference) = ([0, 0, 1, 0x01, 0x9a], [0, 0, 1, 0x21, 0x9a]);
        assert!(picture_kind(&[&aud[..], &disposable].concat()).disposable);
        assert!(!picture_kind(&[&aud[..], &reference].concat()).disposable);
        assert!(!picture_kind(&[0, 0, 1, 0x65, 0x88]).disposable);
        assert!(!picture_kind(&aud).disposable && !picture_kind(&[]).disposable);
    }

    #[test]
    fn b_slices_are_told_from_others() {
        // first_mb 0 ('1'), slice_type 5 = P ('00110'), 6 = B ('00111'), 7 = I ('0001000').
        assert!(!has_b_slice(&[0, 0, 1, 0x41, 0b1001_1000, 0xff]));
        assert!(has_b_slice(&[0, 0, 1, 0x01, 0b1001_1100, 0xff]));
        assert!(!has_b_slice(&[0, 0, 1, 0x65, 0b1000_1000, 0xff]));
    }
}

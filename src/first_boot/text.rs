//! The text of a file that was written on somebody's PC: whatever Notepad, TextEdit and their like leave.

use super::refusal::{CardRefusal, line_at};

/// More than any configuration or certificate has. What is larger is something else.
pub(super) const LONGEST_BYTES: u64 = 256 * 1024;

/// The file's text with line feeds alone and without a byte order mark, or what the file is instead.
///
/// # Errors
/// A [`CardRefusal`] that says how to save the file as text.
pub(super) fn decode(file: &str, bytes: &[u8]) -> Result<String, Box<CardRefusal>> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(file, rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(file, rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(file, rest)?,
        _ => utf8(file, bytes)?,
    };
    if let Some(at) = text.find('\0') {
        let refusal = CardRefusal::of_file(file, "this is not plain text: it holds zero bytes", SAVE_AS);
        return Err(refusal.at_line(line_at(&text, at)).into());
    }
    if text.starts_with("{\\rtf") {
        return Err(CardRefusal::of_file(
            file,
            "this is a formatted document (RTF)",
            "in TextEdit choose Format, Make Plain Text, and save it again",
        )
        .into());
    }
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

const SAVE_AS: &str = "save it as plain text; in Notepad: File, Save As, Encoding: UTF-8";

fn utf8(file: &str, bytes: &[u8]) -> Result<String, Box<CardRefusal>> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        CardRefusal::of_file(file, "this line has a letter in an encoding that is not UTF-8", SAVE_AS)
            .at_line(line_at(&before, before.len()))
            .into()
    })
}

fn utf16(file: &str, bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Box<CardRefusal>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let text: Result<String, _> = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect();
    match text {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => Err(CardRefusal::of_file(file, "this begins as UTF-16 text, but is damaged", SAVE_AS).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16_bytes(text: &str, mark: [u8; 2], bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.into_iter().chain(text.encode_utf16().flat_map(bytes)).collect()
    }

    #[test]
    fn what_editors_save_is_one_text() {
        let text = "name = \"Küche\"\nfps = 5\n";
        let windows = text.replace('\n', "\r\n");
        for bytes in [
            text.as_bytes().to_vec(),
            windows.as_bytes().to_vec(),
            text.replace('\n', "\r").into_bytes(),
            [b"\xef\xbb\xbf", windows.as_bytes()].concat(),
            utf16_bytes(&windows, [0xff, 0xfe], u16::to_le_bytes),
            utf16_bytes(&windows, [0xfe, 0xff], u16::to_be_bytes),
        ] {
            assert_eq!(decode("porthole.toml", &bytes).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_text_says_how_to_save_it() {
        for (bytes, words, line) in [
            (&b"a = 1\r\nname = \"K\xfcche\"\r\n"[..], "not UTF-8", "Line 2"),
            (b"a\0=\0", "zero bytes", "Line 1"),
            (b"\xff\xfea", "UTF-16", ""),
            (b"\xff\xfe\x00\xd8a\0", "UTF-16", ""),
            (b"{\\rtf1\\ansi a = 1}", "RTF", ""),
        ] {
            let refusal = decode("porthole.toml", bytes).unwrap_err().to_string();
            assert!(refusal.contains(words) && refusal.contains(line), "{refusal}");
            assert!(refusal.contains("save it"), "{refusal}");
        }
    }

    #[test]
    fn nothing_from_outside_panics() {
        for length in 0..6_u32 {
            for seed in 0..2000_u32 {
                let byte = |at| seed.wrapping_mul(2_654_435_761).rotate_right(at * 5).to_le_bytes()[0];
                let bytes: Vec<u8> = (0..length).map(byte).collect();
                let _ = decode("x", &bytes);
                let _ = decode("x", &[&[0xff, 0xfe], bytes.as_slice()].concat());
            }
        }
    }
}

//! Bytes as text on one line, and back. Printable UTF-8 stands for itself; a backslash is `\\`, tab `\t`, newline `\n`,
//! carriage return `\r`, and every other byte `\xNN`. The text has no tab and no line end in it.

use std::fmt::Write;

/// Bytes as text.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    escape_into(bytes, &mut text);
    text
}

/// Appends bytes as text.
pub(crate) fn escape_into(bytes: &[u8], text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                c if is_printable(c) => text.push(c),
                c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| hex(byte, text)),
            }
        }
        chunk.invalid().iter().for_each(|&byte| hex(byte, text));
    }
}

fn hex(byte: u8, text: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// Controls, line separators, and what turns or hides the text around it are not.
fn is_printable(c: char) -> bool {
    let hides =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !hides
}

/// The bytes that [`escape`] made the text of. The error says what is wrong.
pub(crate) fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&b| b == b'\\') {
        bytes.extend_from_slice(&rest[..at]);
        let (byte, used) = escape_sequence(&rest[at + 1..])?;
        bytes.push(byte);
        rest = &rest[at + 1 + used..];
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

/// What follows a backslash: the byte it stands for, and its length.
fn escape_sequence(after: &[u8]) -> Result<(u8, usize), String> {
    match after {
        [b'\\', ..] => Ok((b'\\', 1)),
        [b't', ..] => Ok((b'\t', 1)),
        [b'n', ..] => Ok((b'\n', 1)),
        [b'r', ..] => Ok((b'\r', 1)),
        [b'x', high, low, ..] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Ok((high * 16 + low, 3)),
            _ => Err(format!("\"\\x{}\" is not two hex digits", escape(&after[1..3]))),
        },
        _ => Err(format!("\"\\{}\" is not an escape", escape(&after[..after.len().min(1)]))),
    }
}

fn digit(c: u8) -> Option<u8> {
    char::from(c).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_there_and_back_on_one_line() {
        let all: Vec<u8> = (0..=255).chain("é\u{202e}\\x41".bytes()).collect();
        let text = escape(&all);
        assert!(!text.contains(['\n', '\t', '\r', '\0', '\u{202e}']));
        assert!(text.contains('é'));
        assert_eq!(unescape(text.as_bytes()).unwrap(), all);
    }

    #[test]
    fn broken_escapes_are_named() {
        assert_eq!(unescape(b"a\\q").unwrap_err(), "\"\\q\" is not an escape");
        assert_eq!(unescape(b"a\\").unwrap_err(), "\"\\\" is not an escape");
        assert_eq!(unescape(b"\\x4").unwrap_err(), "\"\\x\" is not an escape");
        assert_eq!(unescape(b"\\x4g").unwrap_err(), "\"\\x4g\" is not two hex digits");
    }
}

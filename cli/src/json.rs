//! JSON for programs.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::{Map, Value};

/// Adds bytes to an object: as a string under `name` if they are UTF-8, else in hex under `name_hex`.
pub(crate) fn add_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), hex(bytes).into()),
    };
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes one object on a line.
pub(crate) fn line(out: &mut impl Write, object: Map<String, Value>) -> std::io::Result<()> {
    writeln!(out, "{}", Value::Object(object))
}

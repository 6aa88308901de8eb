//! What stands in a configuration and what should, without the names of types.

use figment::error::Actual;

/// What was written.
pub(super) fn found(actual: &Actual) -> String {
    match actual {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Char(value) => format!("\"{value}\""),
        Actual::Str(value) => format!("\"{value}\""),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table of keys".to_owned(),
        _ => "something else".to_owned(),
    }
}

/// What is right, of how the library calls it.
pub(super) fn wanted(expected: &str) -> &'static str {
    match expected {
        "bool" | "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, not below 0",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list in brackets: [ … ]",
        "string" | "a string" | "text" | "char" => "text in quotes",
        other if other.contains("sequence") || other.contains("tuple") => "a list in brackets: [ … ]",
        other if other.starts_with("struct ") || other.contains("map") => {
            "keys with values, as [section] or { key = value }"
        }
        _ => "a value of another kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_type_reaches_people() {
        let kinds = "bool u8 u16 u32 u64 i32 i64 f32 f64 string text";
        for kind in kinds.split(' ').chain([
            "a sequence",
            "a map",
            "struct RawVideo",
            "a tuple of size 2",
            "enum Mode",
        ]) {
            let words = wanted(kind);
            assert!(
                !words.contains("u32") && !words.contains("struct") && words.len() > 5,
                "{kind}: {words}"
            );
        }
        assert_eq!(found(&Actual::Str("many".into())), "\"many\"");
        assert_eq!(found(&Actual::Signed(-1)), "-1");
    }
}

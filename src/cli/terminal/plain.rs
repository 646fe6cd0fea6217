//! Removes control characters from texts of other people and programs before anything reads them. A reason, a message
//! or a name with an escape sequence could change what the terminal shows. Each control character becomes a space. This
//! is done in the answers of the API server, so no command can forget it. Belay adds its own colours later.

/// Filters an answer as it arrives, piece by piece.
#[derive(Default)]
pub struct Plain {
    /// The beginning of a possible control character, kept from one piece to the next.
    begun: Vec<u8>,
}

impl Plain {
    /// Returns the piece without control characters. In JSON, texts contain them as escape sequences. Line ends between
    /// JSON tokens stay.
    pub fn piece(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut plain = Vec::with_capacity(piece.len() + self.begun.len());
        for byte in piece {
            self.begun.push(*byte);
            match judge(&self.begun) {
                Judgement::Unknown => {}
                Judgement::Text => plain.append(&mut self.begun),
                Judgement::Control => {
                    self.begun.clear();
                    plain.push(b' ');
                }
                // The two bytes aren't one character: each is judged separately.
                Judgement::Apart => {
                    let last = self.begun.pop();
                    plain.append(&mut self.begun);
                    plain.extend(self.piece(last.as_slice()));
                }
            }
        }
        plain
    }
}

enum Judgement {
    Unknown,
    Text,
    Control,
    Apart,
}

fn judge(begun: &[u8]) -> Judgement {
    match begun {
        [b'\\'] | [b'\\', b'u', ..] if begun.len() < 6 => Judgement::Unknown,
        [b'\\', b'u', digits @ ..] => {
            let digits = str::from_utf8(digits).ok();
            let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            match code.and_then(char::from_u32) {
                Some(character) if character.is_control() => Judgement::Control,
                _ => Judgement::Text,
            }
        }
        [0xc2] => Judgement::Unknown,
        // As escape sequences, and from U+0080 to U+009F.
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f'] | [0xc2, 0x80..=0x9f] => Judgement::Control,
        [0xc2, last] if !(0xa0..=0xbf).contains(last) => Judgement::Apart,
        [byte] if byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t') => Judgement::Control,
        _ => Judgement::Text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const RED: &str = "\u{1b}[31m\u{9b}2J\u{7f}\r\n\t\u{8}";

    fn in_pieces(text: &[u8], size: usize) -> Vec<u8> {
        let mut plain = Plain::default();
        text.chunks(size)
            .flat_map(|piece| plain.piece(piece))
            .collect()
    }

    fn texts(value: &Value) -> Vec<&str> {
        match value {
            Value::String(text) => vec![text],
            Value::Array(values) => values.iter().flat_map(texts).collect(),
            Value::Object(fields) => fields.values().flat_map(texts).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn control_characters_are_removed_however_an_answer_is_split() {
        let answer = json!({
            "metadata": {"annotations": {"belay.dev/abort": format!("enough{RED}")}},
            "status": {
                "blocked": {"reason": "PodDisruptionBudget", "message": format!("{RED}evicting")},
                "steps": [{"name": format!("node/np1-{RED}x")}],
            },
        });
        let compact = serde_json::to_vec(&answer).expect("JSON");
        let pretty = serde_json::to_vec_pretty(&answer).expect("JSON");
        for text in [compact, pretty] {
            for size in 1..9 {
                let plain = in_pieces(&text, size);
                let plain: Value = serde_json::from_slice(&plain).expect("JSON still");
                let all = texts(&plain);
                assert_eq!(all.len(), 4);
                assert!(
                    all.iter().all(|text| !text.contains(char::is_control)),
                    "{all:?}"
                );
                assert_eq!(
                    plain["metadata"]["annotations"]["belay.dev/abort"],
                    "enough [31m 2J     "
                );
            }
        }
    }

    #[test]
    fn other_characters_are_kept() {
        let answer =
            json!({"a": "C:\\new\\u001b \"quoted\" µ£é 🚀 \u{2028}", "b": [1, true, null]});
        let escaped = br#"{"c": "\u00e9\ud83d\ude80\/\\\\n"}"#;
        for text in [serde_json::to_vec(&answer).expect("JSON"), escaped.to_vec()] {
            for size in 1..9 {
                assert_eq!(in_pieces(&text, size), text);
            }
        }
    }

    #[test]
    fn control_characters_are_removed_from_answers_without_json() {
        let text = b"bad gateway\x1b[2J\xc2\x1b\n";
        assert_eq!(in_pieces(text, 1), b"bad gateway [2J\xc2 \n");
    }
}

//! Sentences with placeholders, `{like this}`. They are filled with values if Belay writes the sentence, or with CEL
//! expressions if the API server does. So both use the same words.

use std::fmt::Display;

/// A sentence with placeholders.
#[derive(Clone, Copy, Debug)]
pub struct Template(pub(super) &'static str);

enum Part {
    Text(&'static str),
    Place(&'static str),
}

impl Template {
    /// Returns the sentence with these values in its placeholders.
    pub fn fill(self, values: &[(&str, &dyn Display)]) -> String {
        self.parts()
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => text.to_owned(),
                Part::Place(place) => find(values, place)
                    .map_or_else(|| format!("{{{place}}}"), |value| format!("{value}")),
            })
            .collect()
    }

    /// Returns the sentence as a CEL expression, with these expressions, of type string, in its placeholders.
    pub fn cel(self, expressions: &[(&str, &str)]) -> String {
        let parts = self.parts().into_iter().map(|part| match part {
            Part::Text(text) => literal(text),
            Part::Place(place) => {
                find(expressions, place).map_or_else(|| literal(place), |of| (*of).to_owned())
            }
        });
        parts.collect::<Vec<_>>().join(" + ")
    }

    fn parts(self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut rest = self.0;
        while let Some((text, after)) = rest.split_once('{') {
            let Some((place, after)) = after.split_once('}') else {
                break;
            };
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
            parts.push(Part::Place(place));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest));
        }
        parts
    }
}

fn find<'a, T>(values: &'a [(&str, T)], place: &str) -> Option<&'a T> {
    let found = values.iter().find(|(name, _)| *name == place);
    found.map(|(_, value)| value)
}

/// Returns a text as a CEL string literal.
fn literal(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_values_and_cel_expressions_in_the_same_places() {
        let template = Template("{kind} \"{name}\" waits");
        assert_eq!(
            template.fill(&[("name", &"np1"), ("kind", &"AgentPool")]),
            "AgentPool \"np1\" waits"
        );
        assert_eq!(
            template.cel(&[("name", "object.metadata.name"), ("kind", "variables.kind")]),
            r#"variables.kind + " \"" + object.metadata.name + "\" waits""#
        );
    }
}

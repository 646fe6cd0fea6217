//! A Kubernetes version, as specs contain it.

use std::{fmt, str::FromStr};

/// `MAJOR.MINOR.PATCH` of a Kubernetes release. Versions are ordered by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesVersion {
    /// The first number.
    pub major: u32,
    /// The second number. It goes up by one at a time.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

/// A text that isn't a Kubernetes version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Kubernetes version: write MAJOR.MINOR.PATCH, for example 1.36.3")]
pub struct InvalidVersion(String);

impl FromStr for KubernetesVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidVersion(text.to_owned());
        let mut numbers = text.split('.').map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).ok_or_else(invalid);
        let version = Self {
            major: next()?,
            minor: next()?,
            patch: next()?,
        };
        if numbers.next().is_some() {
            Err(invalid())
        } else {
            Ok(version)
        }
    }
}

impl serde::Serialize for KubernetesVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for KubernetesVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number_and_not_by_text() {
        let version = |text: &str| text.parse::<KubernetesVersion>().expect("a version");
        assert!(version("1.9.10") < version("1.10.2"));
        assert!(version("1.36.10") > version("1.36.9"));
        assert_eq!(version("1.36.3").to_string(), "1.36.3");
    }

    #[test]
    fn an_invalid_version_is_refused_with_an_example() {
        for text in ["", "1", "1.36", "v1.36.3", "1.36.3.1", "1.36.x"] {
            let error = text.parse::<KubernetesVersion>().expect_err(text);
            assert!(error.to_string().ends_with("for example 1.36.3"), "{error}");
        }
    }
}

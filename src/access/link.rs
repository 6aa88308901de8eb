//! Viewing links: what a viewer has to know, in a URL's fragment, which browsers send to nobody. Pure.

use std::fmt;
use std::str::FromStr;

use super::proof::{PublicKey, Seed};
use crate::signaling::topic::Id;

/// `PAGE#broker=URL&device=ID&key=DEVICEKEY&grant=NAME&secret=SEED`, and `root` where it is not `porthole`.
#[derive(Clone, Debug)]
pub struct ViewingLink {
    /// The page, without a fragment; empty where only the fragment is wanted.
    pub page: String,
    /// The broker's URL; a page of the device may know it by itself.
    pub broker: Option<String>,
    /// The device.
    pub device: Id,
    /// First level of all topics, where it is not the usual one.
    pub root: Option<String>,
    /// The device's key.
    pub key: Option<PublicKey>,
    /// The invitation.
    pub grant: Option<(Id, Seed)>,
}

/// The text is no viewing link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no viewing link: {0}")]
pub struct InvalidLink(&'static str);

impl fmt::Display for ViewingLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = Vec::new();
        if let Some(broker) = &self.broker {
            fields.push(format!("broker={}", escaped(broker)));
        }
        fields.push(format!("device={}", self.device));
        if let Some(root) = &self.root {
            fields.push(format!("root={}", escaped(root)));
        }
        if let Some(key) = &self.key {
            fields.push(format!("key={}", key.encode()));
        }
        if let Some((name, seed)) = &self.grant {
            fields.push(format!("grant={name}&secret={}", seed.encode()));
        }
        write!(f, "{}#{}", self.page, fields.join("&"))
    }
}

/// Only what a form's field cannot hold, so that people can still read the link.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '%' => escaped.push_str("%25"),
            '&' => escaped.push_str("%26"),
            '+' => escaped.push_str("%2B"),
            '#' => escaped.push_str("%23"),
            ' ' => escaped.push_str("%20"),
            other => escaped.push(other),
        }
    }
    escaped
}

impl FromStr for ViewingLink {
    type Err = InvalidLink;

    fn from_str(text: &str) -> Result<Self, InvalidLink> {
        let (page, fragment) = text.trim().split_once('#').ok_or(InvalidLink("there is no # in it"))?;
        let mut fields = std::collections::HashMap::new();
        for (name, value) in url::form_urlencoded::parse(fragment.as_bytes()) {
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(InvalidLink(
                    "it names several cameras, or is two links in one: give that of one camera",
                ));
            }
        }
        let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_empty());
        let id = |value: String, wrong| Id::new(&value).map_err(|_| InvalidLink(wrong));
        let device = id(take("device").ok_or(InvalidLink("it names no device"))?, "its device is no id")?;
        let key = match take("key") {
            Some(key) => Some(PublicKey::parse(&key).ok_or(InvalidLink("its key is incomplete"))?),
            None => None,
        };
        let grant = match (take("grant"), take("secret")) {
            (Some(name), Some(seed)) => {
                let seed = Seed::parse(&seed).ok_or(InvalidLink("its secret is incomplete"))?;
                Some((id(name, "its grant is no name")?, seed))
            }
            (None, None) => None,
            _ => return Err(InvalidLink("grant and secret belong together")),
        };
        if grant.is_some() && key.is_none() {
            return Err(InvalidLink("it has a grant, but not the device's key"));
        }
        Ok(Self { page: page.to_owned(), broker: take("broker"), device, root: take("root"), key, grant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_link_is_read_and_written() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/access.json")).unwrap();
        let text = vectors["link"].as_str().unwrap();
        let link: ViewingLink = text.parse().unwrap();
        assert_eq!(link.to_string(), text);
        assert_eq!(link.broker.as_deref(), Some("ws://192.0.2.7:9001/mqtt"));
        let (name, seed) = link.grant.unwrap();
        assert_eq!(
            (name.as_str(), seed.encode()),
            ("anna", vectors["keys"][1]["seed"].as_str().unwrap().to_owned())
        );
        assert_eq!(link.key.unwrap().encode(), vectors["keys"][0]["key"]);
    }

    #[test]
    fn what_is_cut_off_is_noticed() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/access.json")).unwrap();
        let text = vectors["link"].as_str().unwrap();
        assert!(text[..text.len() - 1].parse::<ViewingLink>().is_err());
        for bad in [
            "http://page/",
            "http://page/#",
            "#device=a/b",
            "#device=a&grant=b",
            "#device=a&key=short",
            "#device=a&device=b",
        ] {
            assert!(bad.parse::<ViewingLink>().is_err(), "{bad}");
        }
        let plain: ViewingLink = "#device=a&broker=ws://user:a%26b@host".parse().unwrap();
        assert_eq!(plain.broker.as_deref(), Some("ws://user:a&b@host"));
        assert_eq!(plain.to_string(), "#broker=ws://user:a%26b@host&device=a");
    }
}

//! How the picture is turned.

use serde::{Deserialize, Serialize};

use super::area::Area;

/// How far, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum Rotation {
    /// Not at all.
    #[default]
    None,
    /// A quarter.
    Quarter,
    /// Upside down.
    Half,
    /// Three quarters.
    ThreeQuarters,
}

impl Rotation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Quarter, Self::Half, Self::ThreeQuarters];
    /// What may be written.
    pub const ALLOWED: &'static str = "0, 90, 180 or 270";

    /// In degrees.
    pub fn degrees(self) -> u16 {
        u16::from(self.quarters()) * 90
    }

    /// In quarters.
    pub fn quarters(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Quarter => 1,
            Self::Half => 2,
            Self::ThreeQuarters => 3,
        }
    }

    /// Whether width and height change places.
    pub fn swaps_sides(self) -> bool {
        self.quarters() % 2 == 1
    }
}

impl TryFrom<u16> for Rotation {
    type Error = String;

    fn try_from(degrees: u16) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|rotation| rotation.degrees() == degrees);
        found.ok_or_else(|| format!("write {}: degrees, clockwise", Self::ALLOWED))
    }
}

impl From<Rotation> for u16 {
    fn from(rotation: Rotation) -> Self {
        rotation.degrees()
    }
}

/// A rotation, and then perhaps a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// How far it is rotated.
    pub rotation: Rotation,
    /// Whether left and right change places after that.
    pub mirror: bool,
}

impl Turn {
    /// Whether nothing changes.
    pub fn is_identity(self) -> bool {
        self == Self::default()
    }

    /// The picture's size in pixels once it is turned.
    pub fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.rotation.swaps_sides() { (height, width) } else { (width, height) }
    }

    /// Where in the camera's picture `seen` lies, a part of the turned one.
    pub fn to_camera(self, seen: Area) -> Area {
        let rotated = if self.mirror { seen.mirrored() } else { seen };
        rotated.turned((4 - self.rotation.quarters()) % 4)
    }

    /// Where in the turned picture a part of the camera's lies.
    pub fn to_seen(self, area: Area) -> Area {
        let rotated = area.turned(self.rotation.quarters());
        if self.mirror { rotated.mirrored() } else { rotated }
    }

    /// Horizontal and vertical flip that do the same, where two flips can.
    pub fn as_flips(self) -> Option<(bool, bool)> {
        let upside_down = match self.rotation {
            Rotation::None => false,
            Rotation::Half => true,
            Rotation::Quarter | Rotation::ThreeQuarters => return None,
        };
        Some((upside_down != self.mirror, upside_down))
    }

    /// As `videoflip` calls it (`GstVideoOrientationMethod`).
    pub fn direction(self) -> &'static str {
        match (self.rotation, self.mirror) {
            (Rotation::None, false) => "identity",
            (Rotation::Quarter, false) => "90r",
            (Rotation::Half, false) => "180",
            (Rotation::ThreeQuarters, false) => "90l",
            (Rotation::None, true) => "horiz",
            (Rotation::Half, true) => "vert",
            // A quarter clockwise and then mirrored is a flip across the diagonal from the upper left.
            (Rotation::Quarter, true) => "ul-lr",
            (Rotation::ThreeQuarters, true) => "ur-ll",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Turn> {
        Rotation::ALL.into_iter().flat_map(|rotation| [false, true].map(|mirror| Turn { rotation, mirror }))
    }

    #[test]
    fn a_part_stays_on_what_it_covers() {
        let corner = Area::try_from([0.1, 0.2, 0.3, 0.05]).unwrap();
        for turn in all() {
            assert_eq!(turn.to_camera(turn.to_seen(corner)), corner, "{turn:?}");
            assert_eq!(turn.to_seen(turn.to_camera(corner)), corner, "{turn:?}");
        }
        let upper_left = Area::try_from([0.0, 0.0, 0.25, 0.125]).unwrap();
        let quarter = Turn { rotation: Rotation::Quarter, mirror: false };
        let area = |numbers: [f64; 4]| Area::try_from(numbers).unwrap();
        let seen = quarter.to_seen(upper_left);
        assert_eq!(seen, area([0.875, 0.0, 0.125, 0.25]), "the upper left corner comes to the upper right");
        let mirrored = Turn { rotation: Rotation::Quarter, mirror: true };
        let seen = mirrored.to_seen(upper_left);
        assert_eq!(seen, area([0.0, 0.0, 0.125, 0.25]), "and mirrored back: across the diagonal");
    }

    #[test]
    fn two_flips_do_what_they_can() {
        let flips: Vec<_> = all().map(Turn::as_flips).collect();
        let none = None;
        assert_eq!(
            flips,
            [
                Some((false, false)),
                Some((true, false)),
                none,
                none,
                Some((true, true)),
                Some((false, true)),
                none,
                none
            ]
        );
        for turn in all() {
            assert_eq!(turn.size((4, 3)) == (3, 4), turn.as_flips().is_none());
        }
    }

    #[test]
    fn only_quarters_are_rotations() {
        for degrees in [0, 90, 180, 270] {
            assert_eq!(Rotation::try_from(degrees).unwrap().degrees(), degrees);
        }
        for degrees in [1, 45, 89, 360, u16::MAX] {
            assert!(Rotation::try_from(degrees).unwrap_err().contains("0, 90, 180 or 270"));
        }
        assert_eq!(serde_json::to_string(&Rotation::Quarter).unwrap(), "90");
    }
}

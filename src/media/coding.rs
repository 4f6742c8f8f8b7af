//! How a leg's voice is written into packets.

use super::g711::Law;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    G711(Law),
    Opus,
}

impl Coding {
    /// The law the leg's voice has inside the house.
    #[must_use]
    pub fn law(self) -> Law {
        match self {
            Coding::G711(law) => law,
            Coding::Opus => Law::A,
        }
    }
}

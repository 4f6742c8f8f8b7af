//! Names of things. Every id is a newtype, so that none can stand where another is meant.

use std::fmt;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub uuid::Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                uuid::Uuid::parse_str(text).map($name)
            }
        }
    )*};
}

macro_rules! name_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub std::sync::Arc<str>);

        impl $name {
            pub fn new(text: &str) -> Self {
                Self(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

macro_rules! number_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

uuid_id! {
    /// A call: the SIP and WebRTC legs of one attempt. UUIDv7; names its recording as well.
    CallId,
    /// One decision to dial. UUIDv7.
    AttemptId,
    /// A far leg of a third party that an agent brings into her call. UUIDv7.
    ThirdId,
}

name_id! {
    /// An agent's sign-in name, as configured.
    AgentId,
    /// A campaign's name, as configured.
    CampaignId,
    /// A trunk's name, as configured.
    TrunkId,
    /// The name of a list of leads, as given at import.
    ListId,
}

number_id! {
    /// One leg of one call, unique in the life of the process.
    LegId,
    /// A lead: a contact in one campaign. The store's row.
    LeadId,
    /// A phone of a contact. The store's row.
    PhoneId,
    /// A reservation's fencing token. Only grows; a larger one has overtaken a smaller one.
    FenceToken,
}

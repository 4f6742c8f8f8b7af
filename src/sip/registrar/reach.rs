//! How a phone is reached: the door of the registrar for those who call phones.

use super::super::event::Flow;
use super::super::message::Uri;
use super::binding::{Binding, bare, escaped};

/// One way to a phone: send to `flow` a request for `request_uri` with `route` as its Route values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where the phone's REGISTER came from (NAT, connections), except for a phone that is plainly
    /// not behind a NAT and names another port of its own address.
    pub flow: Flow,
    /// Its Contact.
    pub request_uri: String,
    /// From Path (RFC 3327), first hop first.
    pub route: Vec<String>,
    /// Preference in thousandths; equal ones may ring at once.
    pub q_permille: u16,
    /// Ways with the same instance lead to one device (RFC 5626): the second is tried only when
    /// the first has failed with 430, 408 or silence.
    pub instance: Option<String>,
}

/// The best first: by q, and of equal ones the one heard of last. `gr` picks one device.
pub(super) fn ordered(list: &[Binding], gr: Option<&str>) -> Vec<Reach> {
    let chosen = |one: &&Binding| match (gr, &one.instance) {
        (None, _) => true,
        (Some(gr), Some(instance)) => escaped(bare(instance)).eq_ignore_ascii_case(gr),
        (Some(_), None) => false,
    };
    // Stored in the order of refreshing; the sort keeps it among equals.
    let mut ways: Vec<Reach> = list.iter().rev().filter(chosen).map(Reach::of).collect();
    ways.sort_by_key(|way| std::cmp::Reverse(way.q_permille));
    ways
}

impl Reach {
    fn of(binding: &Binding) -> Reach {
        let request_uri = binding.uri();
        let mut flow = binding.flow;
        let named = Uri::parse(&request_uri).ok().and_then(|uri| uri.address());
        if let Some(named) = named.filter(|_| binding.direct && !flow.transport.is_reliable()) {
            flow.remote = named;
        }
        Reach {
            flow,
            request_uri,
            route: binding.path.iter().map(ToString::to_string).collect(),
            q_permille: binding.q_permille,
            instance: binding.instance.as_deref().map(str::to_owned),
        }
    }
}

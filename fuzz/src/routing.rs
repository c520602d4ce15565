//! What routing reads from neighbours: advertisements, and the messages that carry them.

use std::time::Instant;

use itu_y3803::{KmId, LinkId};
use relay_core::routing::{
    Config, FillMetric, Input, Limits, LinkStates, LinkStatus, Lsa, LsaAuth, Misbehaviour, Output, Version,
};

use crate::Outcome;
use crate::check::holds_no_text;

/// Advertisements. One that is read has but one form, and keeps to the limits.
pub fn lsa(input: &[u8]) -> Outcome {
    let limits = Limits { links: 4, labels: 2, applications: 4, ..Limits::default() };
    let read = Lsa::from_octets(input, &limits);
    match &read {
        Ok(lsa) => {
            assert!(lsa.to_octets() == input, "another form");
            assert!(lsa.links.len() <= limits.links && lsa.applications.len() <= limits.applications);
            assert!(lsa.links.iter().all(|link| link.labels.len() <= limits.labels && link.neighbour != lsa.origin));
            assert!(lsa.links.iter().all(|link| lsa.link(&link.neighbour, &link.link) == Some(link)), "cannot be found");
        }
        Err(error) => holds_no_text(error, input),
    }
    Outcome::of(&read)
}

/// A message of a neighbour, to a node that has another one. It is taken or noticed as misbehaviour; what the node says then, the
/// other one understands; timers go on; and nothing is kept beyond the limits or under the node's own name.
pub fn routing_message(input: &[u8]) -> Outcome {
    let mut now = Instant::now();
    let (mut here, mut far) = (node("here", now), node("far", now));
    for peer in ["near", "far"] {
        here.handle_input(now, Input::PeerUp { peer: km(peer) });
        let link = LinkId::new("1").expect("an identifier");
        here.handle_input(now, Input::Link { neighbour: km(peer), link, status: FULL, labels: Vec::new() });
    }
    far.handle_input(now, Input::PeerUp { peer: km("here") });
    let mut outcome = Outcome::Accepted;
    let mut relay = |here: &mut Node, now: Instant| {
        while let Some(output) = here.poll_output() {
            match output {
                Output::Send { to, octets } if to == km("far") => {
                    far.handle_input(now, Input::Message { from: km("here"), octets });
                }
                Output::Send { to, .. } => assert_eq!(to, km("near"), "a message to no neighbour"),
                Output::Misbehaved { from, .. } => {
                    assert_eq!(from, km("near"));
                    outcome = Outcome::Refused;
                }
                _ => {}
            }
        }
        while let Some(output) = far.poll_output() {
            let not_understood = |what: &Misbehaviour| *what == Misbehaviour::Malformed;
            assert!(!matches!(output, Output::Misbehaved { what, .. } if not_understood(&what)), "not understood");
        }
    };
    relay(&mut here, now);
    here.handle_input(now, Input::Message { from: km("near"), octets: input.to_vec() });
    relay(&mut here, now);
    for _ in 0..20 {
        let next = here.poll_timeout().expect("connected");
        assert!(next > now, "a timer that does nothing");
        now = next;
        here.handle_input(now, Input::Timeout);
        relay(&mut here, now);
    }
    let own = here.advertisements().find(|lsa| lsa.origin == km("here")).expect("made at the start");
    assert!(own.links.len() == 2 && own.version < Version { boot: u64::MAX, sequence: u32::MAX });
    assert!(here.advertisements().count() <= LIMITS.originators);
    outcome
}

const LIMITS: Limits = Limits { originators: 8, links: 4, labels: 2, applications: 4, message_octets: 1 << 14 };

const FULL: LinkStatus =
    LinkStatus { up: true, stored: 1 << 20, target: 1 << 20, floor: 0, rate: 1_000, consumption: 0, authentication: true };

/// Everybody can make this tag, so that what comes after it is reached.
struct Auth;

impl LsaAuth for Auth {
    fn tag(&mut self, _: &[u8]) -> Vec<u8> {
        vec![7]
    }

    fn verify(&mut self, _: &KmId, _: &[u8], tag: &[u8]) -> bool {
        tag == [7]
    }
}

type Node = LinkStates<FillMetric, Auth, fn(&mut [u8])>;

fn node(id: &str, now: Instant) -> Node {
    let config = Config { limits: LIMITS, ..Config::new(km(id)) };
    LinkStates::new(config, FillMetric::default(), Auth, (|out| out.fill(0)) as fn(&mut [u8]), now)
}

fn km(id: &str) -> KmId {
    KmId::new(id).expect("an identifier")
}

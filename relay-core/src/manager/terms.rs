//! What policy says where orders come in and where blocks are made.

use std::sync::Arc;
use std::time::Duration;

use itu_y3803::{KeySize, Parties, RandomSource};

use super::{Event, KeyManager, Refusal};
use crate::policy::{Breach, Decision, Shortage, Ways};
use crate::store::KeyStore;

/// What an order was refused for by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ruling {
    /// What was asked for is not as the rule demands.
    Breach(Breach),
    /// There was too little key, also after the wait that the rule grants.
    Short(Duration),
    /// There was too little key, and the rule allows a hybrid key instead.
    Hybrid,
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    /// How long an order may wait, or why it is refused at once.
    pub(super) fn grant(&mut self, parties: &Parties, size: KeySize) -> Result<Duration, Refusal> {
        let Some(policy) = &self.config.policy else { return Ok(self.config.patience) };
        let apart = self.ways(parties).is_none();
        let check = |decision: &Decision<'_>| {
            decision.check_size(size)?;
            if apart { Err(Breach::Apart) } else { Ok(()) }
        };
        let breach = |decision: Decision<'_>| Some(ruling(&decision, Ruling::Breach(check(&decision).err()?)));
        let breached = policy.decide_each(parties).find_map(breach);
        if let Some(event) = breached {
            self.event(event);
            return Err(Refusal::NotAllowed);
        }
        // Every slave's terms hold.
        Ok(policy.decide_each(parties).map(|decision| wait(&decision)).min().unwrap_or_default())
    }

    /// Says which rule an order that waited in vain falls under, and why it is refused.
    pub(super) fn short_by_rule(&mut self, parties: &Parties) -> Refusal {
        let Some(policy) = &self.config.policy else { return Refusal::NotEnoughKeys };
        let decisions = || policy.decide_each(parties);
        let hybrid = decisions().all(|decision| decision.when_short(Duration::ZERO) == Shortage::Hybrid);
        let shortest = decisions().map(|decision| wait(&decision)).min().unwrap_or_default();
        let why = if hybrid { Ruling::Hybrid } else { Ruling::Short(shortest) };
        // Those that would have waited for longer refused nothing.
        let fired = decisions().filter(|decision| wait(decision) == shortest);
        let events: Vec<_> = fired.map(|decision| ruling(&decision, why.clone())).collect();
        events.into_iter().for_each(|event| self.event(event));
        if hybrid { Refusal::HybridInstead } else { Refusal::NotEnoughKeys }
    }

    /// How long a block for these parties is kept.
    pub(super) fn block_life(&self, parties: &Parties) -> Duration {
        let policy = self.config.policy.iter();
        let lives = policy.flat_map(|policy| policy.decide_each(parties)).map(|decision| decision.terms().life);
        lives.chain([self.config.block_life]).min().unwrap_or_default()
    }

    /// Which ways key for these parties may take: those that keep to the rules of all slaves, as it is the same for all of them, if it
    /// travels at all. `None` when there are none.
    pub(super) fn ways<'a>(&'a self, parties: &'a Parties) -> Option<&'a Ways> {
        static ANY: Ways = Ways::ANY;
        let Some(policy) = &self.config.policy else { return Some(&ANY) };
        let home = self.home(parties.master());
        if parties.slaves().iter().all(|slave| self.home(slave) == home) {
            return Some(&ANY);
        }
        let demanded: Vec<&Ways> = policy.decide_each(parties).map(|decision| &decision.terms().ways).collect();
        demanded.iter().find(|ways| demanded.iter().all(|other| ways.cover(other))).copied()
    }
}

/// How long an order may wait by this decision.
fn wait(decision: &Decision<'_>) -> Duration {
    match decision.when_short(Duration::ZERO) {
        Shortage::Wait(wait) => wait,
        Shortage::Refuse | Shortage::Hybrid => Duration::ZERO,
    }
}

fn ruling(decision: &Decision<'_>, ruling: Ruling) -> Event {
    Event::Ruled { rule: Arc::from(decision.rule()), master: decision.master().clone(), slave: decision.slave().clone(), ruling }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Instant;

    use itu_y3803::message::{Body, Hello, KeyOffer, OfferAnswer, SupplyResponse};
    use itu_y3803::{ApplicationId, Incarnation, KeyId, KeyMaterial, KmId, KmMessage, LinkId, QkdKey, WallTime};

    use super::super::{Config, Input, LinkAuthentication, LinkConfig, Now, OrderId, Output};
    use super::*;
    use crate::policy::{Allowed, Authentication, Pattern, Policy, Rule, Terms, WhenShort};
    use crate::routing::Label;
    use crate::shares::Sharing;
    use crate::store::MemoryStore;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn km(id: &str) -> KmId {
        KmId::new(id).expect("valid")
    }

    fn app(id: &str) -> ApplicationId {
        ApplicationId::new(id).expect("valid")
    }

    fn label(text: &str) -> Label {
        Label::new(text).expect("valid")
    }

    fn two_of_two() -> Sharing {
        Sharing::new(2, 2).expect("possible")
    }

    /// Red and grey are here, blue is at a neighbour, and far two hops away.
    fn config(policy: Policy) -> Config {
        let mut config = Config::new(km("here"));
        config.links = vec![LinkConfig {
            labels: vec![label("leased")],
            authentication: LinkAuthentication::Hmac,
            ..LinkConfig::new(LinkId::new("to east").expect("valid"), km("east"))
        }];
        config.distant = vec![km("far")];
        config.applications = [("red", "here"), ("grey", "here"), ("blue", "east"), ("far", "far"), ("farther", "far")]
            .map(|(id, at)| (app(id), km(at)))
            .into();
        config.qkd_keys_per_link_key = 9;
        config.policy = Some(policy);
        config
    }

    struct Node<R> {
        manager: KeyManager<MemoryStore, R>,
        now: Now,
    }

    fn node(policy: Policy) -> Node<impl RandomSource> {
        let now = Now { instant: Instant::now(), wall: WallTime::from_millis(0) };
        let mut state = 0_u8;
        let random = move |out: &mut [u8]| {
            out.fill_with(|| {
                state = state.wrapping_add(1);
                state
            });
        };
        let manager = KeyManager::open(config(policy), MemoryStore::default(), random, now).expect("settings that make sense");
        let mut node = Node { manager, now };
        for (life, peer) in [(1, "east"), (2, "far")] {
            node.input(Input::PeerUp { peer: km(peer) });
            let id_secret = KeyMaterial::from_octets(vec![7; 32]).expect("whole octets");
            node.hear(peer, life, Body::Hello(Hello { id_secret }));
        }
        node
    }

    impl<R: RandomSource> Node<R> {
        fn input(&mut self, input: Input) -> Vec<Output> {
            self.manager.handle_input(self.now, input).expect("a store in memory does not fail");
            std::iter::from_fn(|| self.manager.poll_output().expect("a store in memory does not fail")).collect()
        }

        fn hear(&mut self, from: &str, life: u8, body: Body) -> Vec<Output> {
            let message = KmMessage { sender: Incarnation::from_octets([life; 8]), body };
            self.input(Input::Message { from: km(from), message })
        }

        fn order(&mut self, slaves: &[&str], bits: u32) -> Vec<Output> {
            let parties = Parties::new(app("red"), slaves.iter().map(|slave| app(slave)).collect()).expect("distinct");
            let size = KeySize::from_bits(bits).expect("not zero");
            self.input(Input::Supply { order: OrderId(1), parties, number: NonZeroU32::MIN, size })
        }

        fn after(&mut self, time: Duration) -> Vec<Output> {
            self.now = Now { instant: self.now.instant + time, wall: self.now.wall.after(time) };
            self.input(Input::Timeout)
        }

        /// A link key with east, and what this node says once it has it.
        fn link_key(&mut self) -> Vec<Output> {
            let link = LinkId::new("to east").expect("valid");
            let key = |number: u8| QkdKey {
                id: KeyId::from_octets([number; 16]),
                material: KeyMaterial::from_octets(vec![number; 32]).expect("whole octets"),
            };
            let outputs = self.input(Input::Drawn { link: link.clone(), keys: (1..10).map(key).collect() });
            let offered = outputs.iter().find_map(|output| match output {
                Output::Send { message: KmMessage { body: Body::Offer(KeyOffer { key, .. }), .. }, .. } => Some(*key),
                _ => None,
            });
            let key = offered.expect("nine keys make a link key");
            self.hear("east", 1, Body::OfferAnswer(OfferAnswer { link, key, accepted: true }))
        }
    }

    fn refusal(outputs: &[Output]) -> Option<Refusal> {
        outputs.iter().find_map(|output| if let Output::Refused { reason, .. } = output { Some(reason.clone()) } else { None })
    }

    fn rulings(outputs: &[Output]) -> Vec<(String, Ruling)> {
        let ruled = |output: &Output| match output {
            Output::Event(Event::Ruled { rule, ruling, .. }) => Some((rule.to_string(), ruling.clone())),
            _ => None,
        };
        outputs.iter().filter_map(ruled).collect()
    }

    fn rule(name: &str, slave: &str, terms: Terms) -> Rule {
        Rule::new(name, Pattern::any(), Pattern::new(slave).expect("valid"), terms).expect("no contradiction")
    }

    fn policy(rules: Vec<Rule>) -> Policy {
        Policy::new(rules, Terms::default()).expect("distinct names")
    }

    #[test]
    fn sizes_that_a_rule_does_not_allow_to_one_of_the_slaves_are_refused_in_its_name() {
        let strict = rule("strict", "blue", Terms { smallest: KeySize::BITS_256, ..Terms::default() });
        let mut node = node(policy(vec![strict]));
        assert_eq!(refusal(&node.order(&["grey"], 128)), None);
        let outputs = node.order(&["blue", "grey"], 128);
        assert_eq!(refusal(&outputs), Some(Refusal::NotAllowed));
        let size = KeySize::from_bits(128).expect("not zero");
        assert_eq!(rulings(&outputs), [("strict".to_owned(), Ruling::Breach(Breach::Size(size)))]);
    }

    #[test]
    fn an_order_waits_as_long_as_its_rule_grants_and_is_refused_in_its_name() {
        let wait = Duration::from_secs(5);
        for (short, waits, reason, ruling) in [
            (WhenShort::Refuse, Duration::ZERO, Refusal::NotEnoughKeys, Ruling::Short(Duration::ZERO)),
            (WhenShort::Wait(wait), wait, Refusal::NotEnoughKeys, Ruling::Short(wait)),
            (WhenShort::Hybrid, Duration::ZERO, Refusal::HybridInstead, Ruling::Hybrid),
        ] {
            let secrecy = itu_y3803::SecrecyLabel::Hybrid;
            let mut node = node(policy(vec![rule("this", "blue", Terms { short, secrecy, ..Terms::default() })]));
            assert_eq!(refusal(&node.order(&["blue"], 256)), None);
            assert_eq!(node.manager.poll_timeout().map(|due| due <= node.now.instant), Some(waits.is_zero()), "{short:?}");
            if let Some(before) = waits.checked_sub(Duration::from_millis(1)) {
                assert_eq!(refusal(&node.after(before)), None);
            }
            let outputs = node.after(Duration::from_millis(1));
            assert_eq!(refusal(&outputs), Some(reason), "{short:?}");
            assert_eq!(rulings(&outputs), [("this".to_owned(), ruling)]);
        }
    }

    #[test]
    fn blocks_live_no_longer_than_a_rule_says() {
        let life = Duration::from_secs(2 * 3600);
        let mut node = node(policy(vec![rule("short", "blue", Terms { life, short: WhenShort::Wait(DAY), ..Terms::default() })]));
        node.order(&["blue"], 256);
        let mut outputs = node.link_key();
        let block = outputs.iter().find_map(|output| match output {
            Output::Send { message: KmMessage { body: Body::SupplyNotification(told), .. }, .. } => Some(told.clone()),
            _ => None,
        });
        let block = block.expect("there is key to bind one");
        assert_eq!(block.expires, node.now.wall.after(life));
        outputs = node.hear("east", 1, Body::SupplyResponse(SupplyResponse { block: block.block, accepted: true }));
        let expires = outputs.iter().find_map(|output| match output {
            Output::Supplied { keys, .. } => Some(keys[0].expires),
            _ => None,
        });
        assert_eq!(expires, Some(block.expires));
    }

    #[test]
    fn key_is_relayed_over_the_ways_that_a_rule_demands_and_no_others() {
        let wait = WhenShort::Wait(DAY);
        for (ways, paths, taken) in [
            (Ways::default(), &[&["here", "east", "far"][..]][..], true),
            (Ways::shared(two_of_two()), &[&["here", "east", "far"]], false),
            (Ways::shared(two_of_two()), &[&["here", "east", "far"], &["here", "west", "far"]], true),
            (Ways { max_hops: Some(2), ..Ways::default() }, &[&["here", "east", "west", "far"]], false),
            (Ways { nodes: Allowed::Except([km("west")].into()), ..Ways::default() }, &[&["here", "west", "far"]], false),
            (Ways { nodes: Allowed::Except([km("west")].into()), ..Ways::default() }, &[&["here", "east", "far"]], true),
            (Ways { required_nodes: [km("east")].into(), ..Ways::default() }, &[&["here", "west", "far"]], false),
        ] {
            let terms = Terms { ways: ways.clone(), short: wait, ..Terms::default() };
            let mut node = node(policy(vec![rule("apart", "far", terms)]));
            let mut outputs = node.order(&["far"], 256);
            outputs.extend(node.after(Duration::from_millis(1)));
            let asked = outputs
                .iter()
                .find_map(|output| if let Output::RouteWanted { pool, ways, .. } = output { Some((pool, ways)) } else { None });
            let (pool, asked) = asked.expect("there is no key");
            assert_eq!(**asked, ways);
            let paths = paths.iter().map(|path| path.iter().map(|node| km(node)).collect()).collect();
            node.input(Input::Route { pool: pool.clone(), paths });
            let unreachable = node.manager.links[pool].is_unreachable();
            assert_eq!(unreachable, !taken, "{ways:?}");
        }
    }

    #[test]
    fn a_link_that_is_not_as_a_rule_demands_is_left_to_others() {
        let any = Ways::default;
        for (ways, serves) in [
            (any(), true),
            (Ways { labels: Allowed::Only([label("leased")].into()), ..any() }, true),
            (Ways { labels: Allowed::Except([label("leased")].into()), ..any() }, false),
            (Ways { authentication: Authentication::Its, ..any() }, false),
            (Ways { required_nodes: [km("west")].into(), ..any() }, false),
            (Ways { nodes: Allowed::Only([].into()), max_hops: Some(1), ..any() }, true),
        ] {
            let terms = Terms { ways: ways.clone(), short: WhenShort::Wait(Duration::from_secs(1)), ..Terms::default() };
            let mut node = node(policy(vec![rule("this", "blue", terms)]));
            node.link_key();
            let sends_block = |output: &Output| {
                matches!(output, Output::Send { message: KmMessage { body: Body::SupplyNotification(_), .. }, .. })
            };
            assert_eq!(node.order(&["blue"], 256).iter().any(sends_block), serves, "{ways:?}");
            // Nobody answers.
            let refused = refusal(&node.after(Duration::from_secs(1)));
            assert_eq!(refused, Some(if serves { Refusal::NotEnoughKeys } else { Refusal::Unreachable }), "{ways:?}");
        }
    }

    #[test]
    fn slaves_whose_rules_go_different_ways_get_no_key_in_common() {
        let except = |node: &str| Ways { nodes: Allowed::Except([km(node)].into()), ..Ways::default() };
        let two = Ways { sharing: two_of_two(), ..except("west") };
        let strictest = Ways { sharing: two_of_two(), ..except("north") };
        for (ways, asked) in [
            (except("west"), None),
            (except("north"), Some(except("north"))),
            (two, None),
            (Ways::default(), Some(except("north"))),
            (strictest.clone(), Some(strictest)),
        ] {
            let apart = asked.is_none();
            // At the same node, at another one, and at the master's: the key is the same.
            for other in ["farther", "blue", "grey"] {
                let terms = |ways| Terms { ways, short: WhenShort::Wait(DAY), ..Terms::default() };
                let rules = vec![rule("far", "far", terms(except("north"))), rule("other", other, terms(ways.clone()))];
                let mut node = node(policy(rules));
                node.link_key();
                let mut outputs = node.order(&["far", other], 256);
                outputs.extend(node.after(Duration::from_millis(1)));
                let wanted =
                    |output: &Output| if let Output::RouteWanted { ways, .. } = output { Some((**ways).clone()) } else { None };
                assert_eq!(outputs.iter().find_map(wanted), asked, "{ways:?}");
                assert_eq!(refusal(&outputs), apart.then_some(Refusal::NotAllowed), "{ways:?}");
                let rulings = rulings(&outputs);
                assert_eq!(rulings.first().map(|(_, ruling)| ruling), apart.then_some(&Ruling::Breach(Breach::Apart)));
                // By itself it is given key.
                assert_eq!(refusal(&node.order(&[other], 256)), None);
            }
        }
    }

    #[test]
    fn rules_that_could_not_be_kept_are_no_settings() {
        for (terms, fits) in [
            (Terms::default(), true),
            (Terms { ways: Ways::shared(two_of_two()), ..Terms::default() }, true),
            (Terms { life: Duration::from_secs(3600), ..Terms::default() }, false),
        ] {
            let config = config(policy(vec![rule("this", "*", terms.clone())]));
            assert_eq!(config.check().is_ok(), fits, "{terms:?}: {:?}", config.check());
        }
    }
}
